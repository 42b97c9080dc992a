"""The descriptor: what the words of a gateway's records mean, signed and chained like every other record.

A record names the descriptor in force by the hash of the record that carried it. When configuration changes, a new
descriptor is written; when a template turns out to be wrong, the words stay and a new interpretation is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from wire import schema
from wire.limits import MAXIMUM_DEVICES, MAXIMUM_SERIES
from wire.words import WordOrder, WordType

SeriesKind = Literal["counter", "gauge", "state"]
_KINDS = ("counter", "gauge", "state")
_HASH_LENGTH = 32
_SERIES_KEYS = {
    "name", "quantity", "unit", "kind", "function", "address", "type", "order", "scale", "offset", "invalid",
    "modulus", "maximum_rate",
}  # fmt: skip
_DEVICE_KEYS = {
    "id", "model", "template", "serial", "protocol", "unit", "ct_ratio", "pt_ratio", "primary", "interval_ms", "series",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """One measured quantity of a device and where its words stand.

    ``kind``: a ``counter`` only rises (energy, pieces), a ``gauge`` moves freely (power), a ``state`` is a code. The
    value is ``raw * scale + offset`` in ``unit``. ``invalid``: bit patterns sent for "not available". ``modulus``:
    where a counter rolls over, in ``unit``; ``maximum_rate``: the most a counter can rise an hour, in ``unit``/h; both
    ``None`` when unknown.
    """

    name: str
    quantity: str
    unit: str
    kind: SeriesKind
    function: int
    address: int
    type: WordType
    order: WordOrder
    scale: float = 1.0
    offset: float = 0.0
    invalid: tuple[int, ...] = ()
    modulus: float | None = None
    maximum_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One meter or controller.

    ``template_hash``: SHA-256 of the device model file the series were made from (32 bytes). ``ct_ratio`` and
    ``pt_ratio``: the transformer ratios that the series' scales already contain when ``primary`` is false.
    ``interval_ms``: how often it is polled.
    """

    id: str
    model: str
    template_hash: bytes
    serial_number: str
    protocol: str
    unit: int
    ct_ratio: float
    pt_ratio: float
    primary: bool
    interval_ms: int
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What one gateway reads: its devices and their series. ``timezone`` is an IANA name, for people only."""

    gateway: str
    software: str
    timezone: str
    devices: tuple[Device, ...]

    def series_ids(self) -> list[str]:
        """Return every series as ``gateway/device/series``, in the order of the descriptor."""
        return [f"{self.gateway}/{device.id}/{series.name}" for device in self.devices for series in device.series]


def descriptor_to_cbor(descriptor: Descriptor) -> dict[str, Any]:
    """Return the descriptor as the CDDL's ``descriptor`` map."""
    return {
        "gateway": descriptor.gateway,
        "software": descriptor.software,
        "timezone": descriptor.timezone,
        "devices": [_device_to_cbor(device) for device in descriptor.devices],
    }


def descriptor_from_cbor(value: Any) -> Descriptor:
    """Read the CDDL's ``descriptor`` map; raise `RecordError` (``bad-payload``) naming the field that is off."""
    fields = schema.mapping(value, "descriptor", {"gateway", "software", "timezone", "devices"})
    devices = tuple(
        _device_from_cbor(item, f"descriptor.devices[{index}]")
        for index, item in enumerate(schema.array(fields["devices"], "descriptor.devices", maximum=MAXIMUM_DEVICES))
    )
    names = [device.id for device in devices]
    if len(set(names)) != len(names):
        raise schema.fault("descriptor.devices", "names one device twice")
    return Descriptor(
        gateway=schema.identifier(fields["gateway"], "descriptor.gateway"),
        software=schema.text(fields["software"], "descriptor.software"),
        timezone=schema.text(fields["timezone"], "descriptor.timezone"),
        devices=devices,
    )


def _device_to_cbor(device: Device) -> dict[str, Any]:
    return {
        "id": device.id,
        "model": device.model,
        "template": device.template_hash,
        "serial": device.serial_number,
        "protocol": device.protocol,
        "unit": device.unit,
        "ct_ratio": float(device.ct_ratio),
        "pt_ratio": float(device.pt_ratio),
        "primary": device.primary,
        "interval_ms": device.interval_ms,
        "series": [_series_to_cbor(series) for series in device.series],
    }


def _device_from_cbor(value: Any, where: str) -> Device:
    fields = schema.mapping(value, where, _DEVICE_KEYS)
    series = tuple(
        _series_from_cbor(item, f"{where}.series[{index}]")
        for index, item in enumerate(schema.array(fields["series"], f"{where}.series", maximum=MAXIMUM_SERIES))
    )
    names = [one.name for one in series]
    if len(set(names)) != len(names):
        raise schema.fault(f"{where}.series", "names one series twice")
    return Device(
        id=schema.identifier(fields["id"], f"{where}.id"),
        model=schema.text(fields["model"], f"{where}.model"),
        template_hash=schema.octets(fields["template"], f"{where}.template", _HASH_LENGTH),
        serial_number=schema.text(fields["serial"], f"{where}.serial"),
        protocol=schema.text(fields["protocol"], f"{where}.protocol"),
        unit=schema.integer(fields["unit"], f"{where}.unit", 0, 255),
        ct_ratio=schema.number(fields["ct_ratio"], f"{where}.ct_ratio"),
        pt_ratio=schema.number(fields["pt_ratio"], f"{where}.pt_ratio"),
        primary=schema.boolean(fields["primary"], f"{where}.primary"),
        interval_ms=schema.integer(fields["interval_ms"], f"{where}.interval_ms", 1, 86_400_000),
        series=series,
    )


def _series_to_cbor(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "quantity": series.quantity,
        "unit": series.unit,
        "kind": series.kind,
        "function": series.function,
        "address": series.address,
        "type": series.type.value,
        "order": series.order.value,
        "scale": float(series.scale),
        "offset": float(series.offset),
        "invalid": list(series.invalid),
        "modulus": None if series.modulus is None else float(series.modulus),
        "maximum_rate": None if series.maximum_rate is None else float(series.maximum_rate),
    }


def _series_from_cbor(value: Any, where: str) -> Series:
    fields = schema.mapping(value, where, _SERIES_KEYS)
    if fields["kind"] not in _KINDS:
        raise schema.fault(f"{where}.kind", f"must be one of {', '.join(_KINDS)}")
    try:
        type_, order = WordType(fields["type"]), WordOrder(fields["order"])
    except ValueError as error:
        raise schema.fault(where, f"has an unknown type or word order: {error}") from error
    address = schema.integer(fields["address"], f"{where}.address", 0, 65_535)
    if address + type_.words > 65_536:
        raise schema.fault(f"{where}.address", f"{address} leaves no room for {type_.words} registers")
    return Series(
        name=schema.identifier(fields["name"], f"{where}.name"),
        quantity=schema.identifier(fields["quantity"], f"{where}.quantity"),
        unit=schema.text(fields["unit"], f"{where}.unit"),
        kind=cast("SeriesKind", fields["kind"]),
        function=schema.integer(fields["function"], f"{where}.function", 1, 4),
        address=address,
        type=type_,
        order=order,
        scale=schema.number(fields["scale"], f"{where}.scale"),
        offset=schema.number(fields["offset"], f"{where}.offset"),
        invalid=tuple(
            schema.integer(pattern, f"{where}.invalid", 0, 2**64 - 1)
            for pattern in schema.array(fields["invalid"], f"{where}.invalid", maximum=16)
        ),
        modulus=_positive(fields["modulus"], f"{where}.modulus"),
        maximum_rate=_positive(fields["maximum_rate"], f"{where}.maximum_rate"),
    )


def _positive(value: Any, where: str) -> float | None:
    if value is None:
        return None
    result = schema.number(value, where)
    if result <= 0:
        raise schema.fault(where, f"must be above zero, is {result}")
    return result
