"""From a gateway file to what is signed about it: the descriptor, and the requests that each device needs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from agent.config import DeviceConfig, GatewayConfig
from agent.models import Ratio, SeriesModel, Side, load_template
from agent.planner import Block, Value, plan
from wire.descriptor import Descriptor, Device, Series


def software() -> str:
    """Return name and version of this software, as descriptors state it."""
    try:
        return f"shopfloor-agent {version('shopfloor-evidence')}"
    except PackageNotFoundError:
        return "shopfloor-agent"


def describe(config: GatewayConfig) -> Descriptor:
    """Return the descriptor of a gateway; devices stand in the order of the file."""
    devices = []
    for connection, device in config.devices():
        template = load_template(device.model)
        secondary = template.model.side is Side.SECONDARY
        series = tuple(
            _series(name, model, transformer_factor(device, model.ratio) if secondary else 1.0)
            for name, model in device.effective_series().items()
        )
        devices.append(
            Device(
                id=device.id,
                model=device.model,
                template_hash=template.hash,
                serial_number=device.serial_number,
                protocol=connection.protocol,
                unit=device.unit,
                ct_ratio=device.ct_ratio,
                pt_ratio=device.pt_ratio,
                primary=not secondary,
                interval_ms=device.interval,
                series=series,
            )
        )
    return Descriptor(config.gateway, software(), config.timezone, tuple(devices))


def requests_of(device: DeviceConfig) -> tuple[Block, ...]:
    """Return the requests that one poll of ``device`` makes; raise `PlanError` when its limits forbid a value."""
    values = [Value(s.function, s.address, s.type.words) for s in device.effective_series().values()]
    return plan(values, device.effective_limits())


def transformer_factor(device: DeviceConfig, ratio: Ratio) -> float:
    """Return what a value stated on the secondary side is multiplied by to stand on the primary side."""
    factor = device.ct_ratio if ratio in (Ratio.CT, Ratio.CT_PT) else 1.0
    return factor * device.pt_ratio if ratio in (Ratio.PT, Ratio.CT_PT) else factor


def _series(name: str, model: SeriesModel, factor: float) -> Series:
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
        maximum_rate=model.maximum_rate,
    )
