"""From a gateway file to what is signed about it: the descriptor, and the requests that each device needs."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from agent.config import DeviceConfig, GatewayConfig
from agent.models import Ratio, SeriesModel, Side, load_template
from agent.planner import Block, Value, plan
from agent.queries import Query
from wire.descriptor import AnswerPlace, Descriptor, Device, NodePlace, Series
from wire.limits import MAXIMUM_SERIES

_ENERGY_UNITS = {
    "Wh": 1000.0, "kWh": 1.0, "MWh": 0.001, "varh": 1000.0, "kvarh": 1.0, "Mvarh": 0.001, "VAh": 1000.0, "kVAh": 1.0,
    "MVAh": 0.001,
}  # fmt: skip
"""How much of the unit an hour of 1 kW (1 kvar, 1 kVA) makes."""


def software() -> str:
    """Return name and version of this software, as descriptors state it."""
    try:
        return f"shopfloor-agent {version('shopfloor-evidence')}"
    except PackageNotFoundError:
        return "shopfloor-agent"


def describe(config: GatewayConfig) -> Descriptor:
    """Return the descriptor of a gateway; devices stand in the order of the file, what they have alike is held once."""
    devices = []
    held: dict[Series, Series] = {}
    for connection, device in config.devices():
        template = load_template(device.model)
        secondary = template.model.side is Side.SECONDARY
        polled = (
            _series(name, model, transformer_factor(device, model.ratio) if secondary else 1.0, device)
            for name, model in device.effective_series().items()
        )
        daily = (
            _series(name, model, transformer_factor(device, model.ratio), device)
            for name, model in device.daily_series().items()
        )
        series = tuple(held.setdefault(one, one) for one in (*polled, *daily))
        devices.append(
            Device(
                id=device.id,
                model=device.model,
                template_hash=template.hash,
                serial_number=device.serial_number or _number(device.address),
                protocol=connection.protocol,
                unit=device.unit,
                ct_ratio=device.current_ratio,
                pt_ratio=device.voltage_ratio,
                primary=not secondary,
                interval_ms=device.interval,
                series=series,
            )
        )
    return Descriptor(config.gateway, software(), config.timezone, tuple(devices))


def _number(address: str) -> str:
    """Return the number of a meter that is its address, nothing when it stands for any meter on the line."""
    return "" if "A" in address.upper() else address


def requests_of(device: DeviceConfig) -> tuple[Block, ...]:
    """Return the requests that one poll of ``device`` makes; raise `PlanError` when its limits forbid a value."""
    series = device.effective_series().values()
    values = [_value(s.function, s.address, s.words) for s in series if s.function]
    return plan(values, device.effective_limits())


@lru_cache(maxsize=MAXIMUM_SERIES)
def _value(function: int, address: int, words: int) -> Value:
    """Devices alike have their values at the same places: those are held once."""
    return Value(function, address, words)


def queries_of(device: DeviceConfig) -> tuple[Query, ...]:
    """Return what one poll of ``device`` asks by identifier, in the order in which its series name it first."""
    fields: dict[bytes, list[tuple[int, int]]] = {}
    for series in device.effective_series().values():
        if series.request:
            fields.setdefault(series.request, []).append((series.start, series.length))
    return tuple(Query(device.address, request, tuple(places)) for request, places in fields.items())


def transformer_factor(device: DeviceConfig, ratio: Ratio) -> float:
    """Return what a value stated on the secondary side is multiplied by to stand on the primary side."""
    factor = device.current_ratio if ratio in (Ratio.CT, Ratio.CT_PT) else 1.0
    return factor * device.voltage_ratio if ratio in (Ratio.PT, Ratio.CT_PT) else factor


def maximum_rate(device: DeviceConfig, series: SeriesModel) -> float | None:
    """Return the most that ``series`` can rise an hour, in its unit; ``None`` where nothing is known.

    A bound of the series itself goes first, then for energy the power that the gateway file states, then what the meter
    can measure at most at its terminals. Those may be behind transformers: while the gateway file does not state both
    ratios of a meter whose values already contain them (1 where there are none), nothing is known.
    """
    units = _ENERGY_UNITS.get(series.unit) if series.kind == "counter" else None
    if series.maximum_rate is not None or units is None:
        return series.maximum_rate
    if device.maximum_power is not None:
        return device.maximum_power * units
    model = load_template(device.model).model
    if model.rating is None:
        return None
    if model.side is Side.PRIMARY and (device.ct_ratio is None or device.pt_ratio is None):
        return None
    return model.rating.power * units * transformer_factor(device, Ratio.CT_PT)


def _place(model: SeriesModel) -> AnswerPlace | NodePlace | None:
    if model.node:
        return NodePlace(model.node)
    return AnswerPlace(model.request, model.start, model.length) if model.request else None


def _series(name: str, model: SeriesModel, factor: float, device: DeviceConfig) -> Series:
    scale = model.scale * factor
    return Series(
        name=name,
        quantity=model.quantity,
        unit=model.unit,
        kind=model.kind,
        function=model.function,
        address=model.address,
        type=model.type,
        order=model.order,
        scale=scale,
        offset=model.offset * factor,
        invalid=model.invalid,
        modulus=None if model.modulus is None else model.modulus * abs(scale),
        maximum_rate=maximum_rate(device, model),
        bit=model.bit,
        length=0 if model.request else model.length,
        place=_place(model),
    )
