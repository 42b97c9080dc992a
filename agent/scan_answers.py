"""From what a scan found to the answers that make a gateway file of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.gateway_file import one_line, wants_ratios
from agent.meter_scan import LineFound, MeterFound
from agent.models import load_template
from agent.scan import BusFound, UnitFound

_INTERVAL = "10s"


@dataclass(frozen=True, slots=True)
class Answers:
    """The ``text`` of a file of answers, and how many ``devices`` it names."""

    text: str
    devices: int


def scan_answers(found: Sequence[BusFound | LineFound]) -> Answers:
    """Return answers for every unit and meter that a model fits, the best model first, others named in a comment.

    Time-outs of the scan are left out: they were short so that a scan is.
    """
    lines = ["# What a scan found. Compare each model with the name plate, and state the ratios of transformers.",
             "gateway: gw-01", "connections:"]  # fmt: skip
    connections = devices = 0
    for bus in found:
        stations = [*_stations(bus)]
        if not stations:
            continue
        connections += 1
        settings = {"id": f"line-{connections}"} | {k: v for k, v in bus.connection.items() if k != "timeout"}
        lines += [f"  {'- ' if key == 'id' else '  '}{key}: {one_line(value)}" for key, value in settings.items()]
        lines.append("    devices:")
        for place, value, models in stations:
            devices += 1
            lines += _device(f"meter-{devices}", place, value, models)
    if not devices:
        lines[-1] = "connections: []"
    return Answers("\n".join(lines) + "\n", devices)


def _stations(bus: BusFound | LineFound) -> Iterator[tuple[str, Any, list[str]]]:
    """Yield ``unit`` or ``address``, its value, and the models that fit, of what any model fits."""
    stations: Sequence[UnitFound | MeterFound] = bus.units if isinstance(bus, BusFound) else bus.meters
    for one in stations:
        models = [fit.model for fit in one.fits if fit.plausible]
        if models:
            place = ("unit", one.unit) if isinstance(one, UnitFound) else ("address", one.address)
            yield (*place, models)


def _device(name: str, place: str, value: Any, models: Sequence[str]) -> Iterator[str]:
    others = f" # fits as well: {', '.join(models[1:])}" if models[1:] else ""
    yield f"      - id: {name}"
    yield f"        model: {models[0]}{others}"
    yield f"        {place}: {one_line(value)}"
    yield f"        interval: {_INTERVAL}"
    if wants_ratios(load_template(models[0]).model):
        yield "        # ct_ratio: 60 # 300/5 A; 1 without transformers"
        yield "        # pt_ratio: 1"
