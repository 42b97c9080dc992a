"""The descriptor: what the words of a gateway's records mean, signed and chained like every other record.

A record names the descriptor in force by the hash of the record that carried it. When configuration changes, a new
descriptor is written; when a template turns out to be wrong, the words stay and a new interpretation is made of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from wire import schema
from wire.limits import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_DECIMAL_BYTES,
    MAXIMUM_DEVICES,
    MAXIMUM_REGISTERS,
    MAXIMUM_REQUEST_BYTES,
    MAXIMUM_SERIES,
)
from wire.node import node_id
from wire.words import WordOrder, WordType

SeriesKind = Literal["counter", "gauge", "state"]
_KINDS = ("counter", "gauge", "state")
_HASH_LENGTH = 32
_MEANING_KEYS = {"name", "quantity", "unit", "kind", "scale", "offset", "invalid", "modulus", "maximum_rate"}
_REGISTER_KEYS = _MEANING_KEYS | {"function", "address", "type", "order"}
_ANSWER_KEYS = _MEANING_KEYS | {"request", "start", "length", "type", "order"}
_NODE_KEYS = _MEANING_KEYS | {"node"}
_BYTE_ORDERS = (WordOrder.ABCD, WordOrder.DCBA)
_DECIMAL_FIELDS = (WordType.BCD, WordType.SIGNED_BCD)
_OF_ANSWERS_ONLY = frozenset({*_DECIMAL_FIELDS, WordType.VARIANT})
_OF_REGISTERS_ONLY = frozenset({WordType.BCD16, WordType.BCD32, WordType.BCD64, WordType.VARIANT})
_DEVICE_KEYS = {
    "id", "model", "template", "serial", "protocol", "unit", "ct_ratio", "pt_ratio", "primary", "interval_ms", "series",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """A field of an answer: ``length`` bytes from byte ``start`` (0 the first) of what is answered to ``request``."""

    request: bytes
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class NodePlace:
    """An OPC UA node: its NodeId in string form. Its values bring their type along: the series has type ``VARIANT``."""

    node: str


@dataclass(frozen=True, slots=True)
class Series:
    """One measured quantity of a device and where its value stands.

    In registers: ``function`` and ``address`` of the first, ``place`` ``None``. Elsewhere ``place`` says where, and
    function and address are 0. ``bit``: which bit a value of the type ``bit`` is, 0 the least significant. ``length``:
    how many registers a text takes, 0 for all else.

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
    bit: int = 0
    length: int = 0
    place: AnswerPlace | NodePlace | None = None

    @property
    def words(self) -> int:
        """Number of registers the value takes; 0 when it stands elsewhere."""
        if self.place is not None:
            return 0
        return self.length if self.type is WordType.STRING else self.type.words

    def in_registers(self, function: int, address: int, count: int) -> bool:
        """Whether a read of these registers holds the whole value."""
        if self.place is not None or self.function != function:
            return False
        return address <= self.address and self.address + self.words <= address + count

    def in_answer(self, request: bytes, length: int) -> bool:
        """Whether ``length`` bytes of an answer to ``request`` hold the whole value; 0 when no answer was good."""
        place = self.place
        if not isinstance(place, AnswerPlace) or place.request != request:
            return False
        return length == 0 or place.start + place.length <= length

    def in_node(self, node: str) -> bool:
        """Whether the values of ``node`` are those of the series."""
        return isinstance(self.place, NodePlace) and self.place.node == node


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
        "scale": float(series.scale),
        "offset": float(series.offset),
        "invalid": list(series.invalid),
        "modulus": None if series.modulus is None else float(series.modulus),
        "maximum_rate": None if series.maximum_rate is None else float(series.maximum_rate),
    } | _place_to_cbor(series)


def _place_to_cbor(series: Series) -> dict[str, Any]:
    if isinstance(series.place, NodePlace):
        return {"node": series.place.node}
    fields: dict[str, Any] = {"type": series.type.value, "order": series.order.value}
    if series.type is WordType.BIT:
        fields["bit"] = series.bit
    if isinstance(series.place, AnswerPlace):
        return fields | {
            "request": series.place.request, "start": series.place.start, "length": series.place.length
        }  # fmt: skip
    if series.type is WordType.STRING:
        fields["length"] = series.length
    return fields | {"function": series.function, "address": series.address}


def _series_from_cbor(value: Any, where: str) -> Series:
    if not isinstance(value, dict):
        raise schema.fault(where, "must be a map")
    if "node" in value:
        return _node_series_from_cbor(value, where)
    return (_answer_series_from_cbor if "request" in value else _register_series_from_cbor)(value, where)


def _register_series_from_cbor(value: dict[Any, Any], where: str) -> Series:
    type_, order = _layout(value, where)
    if type_ in _OF_ANSWERS_ONLY:
        raise schema.fault(f"{where}.type", f"{type_} does not stand in registers")
    keys = {WordType.BIT: {"bit"}, WordType.STRING: {"length"}}.get(type_, set())
    fields = schema.mapping(value, where, _REGISTER_KEYS | keys)
    text = type_ is WordType.STRING
    series = replace(
        _meaning(fields, where),
        function=schema.integer(fields["function"], f"{where}.function", 1, 4),
        address=schema.integer(fields["address"], f"{where}.address", 0, 65_535),
        type=type_,
        order=order,
        bit=schema.integer(fields["bit"], f"{where}.bit", 0, 15) if type_ is WordType.BIT else 0,
        length=schema.integer(fields["length"], f"{where}.length", 1, MAXIMUM_REGISTERS) if text else 0,
    )
    if series.address + series.words > 65_536:
        raise schema.fault(f"{where}.address", f"{series.address} leaves no room for {series.words} registers")
    return series


def _answer_series_from_cbor(value: dict[Any, Any], where: str) -> Series:
    type_, order = _layout(value, where)
    if type_ in _OF_REGISTERS_ONLY or order not in _BYTE_ORDERS:
        raise schema.fault(f"{where}.type", f"{type_} in the order {order} does not stand in bytes of an answer")
    fields = schema.mapping(value, where, _ANSWER_KEYS | ({"bit"} if type_ is WordType.BIT else set()))
    request = schema.octets(fields["request"], f"{where}.request")
    if not 0 < len(request) <= MAXIMUM_REQUEST_BYTES:
        raise schema.fault(f"{where}.request", f"has {len(request)} bytes, 1 to {MAXIMUM_REQUEST_BYTES} are accepted")
    length = schema.integer(fields["length"], f"{where}.length", 1, MAXIMUM_ANSWER_BYTES)
    start = schema.integer(fields["start"], f"{where}.start", 0, MAXIMUM_ANSWER_BYTES - length)
    if type_ in (*_DECIMAL_FIELDS, WordType.BIT):
        schema.integer(length, f"{where}.length", 1, MAXIMUM_DECIMAL_BYTES)
    elif type_.has_fixed_width:
        schema.integer(length, f"{where}.length", type_.bits // 8, type_.bits // 8)
    return replace(
        _meaning(fields, where),
        type=type_,
        order=order,
        bit=schema.integer(fields["bit"], f"{where}.bit", 0, 8 * length - 1) if type_ is WordType.BIT else 0,
        place=AnswerPlace(request, start, length),
    )


def _node_series_from_cbor(value: dict[Any, Any], where: str) -> Series:
    fields = schema.mapping(value, where, _NODE_KEYS)
    series = _meaning(fields, where)
    if series.invalid:
        raise schema.fault(f"{where}.invalid", "must be empty: a node says with its status what is not available")
    return replace(series, place=NodePlace(node_id(fields["node"], f"{where}.node")))


def _layout(value: dict[Any, Any], where: str) -> tuple[WordType, WordOrder]:
    try:
        return WordType(str(value.get("type"))), WordOrder(str(value.get("order")))
    except ValueError as error:
        raise schema.fault(where, f"has an unknown type or word order: {error}") from error


def _meaning(fields: dict[Any, Any], where: str) -> Series:
    """Return the series without its place."""
    if fields["kind"] not in _KINDS:
        raise schema.fault(f"{where}.kind", f"must be one of {', '.join(_KINDS)}")
    return Series(
        name=schema.identifier(fields["name"], f"{where}.name"),
        quantity=schema.identifier(fields["quantity"], f"{where}.quantity"),
        unit=schema.text(fields["unit"], f"{where}.unit"),
        kind=cast("SeriesKind", fields["kind"]),
        function=0,
        address=0,
        type=WordType.VARIANT,
        order=WordOrder.ABCD,
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
