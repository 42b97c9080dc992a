"""A meter is exchanged: the last reading of the old one and the first of the new one, signed into the chain.

Only a person sees both: the gateway notices another serial number at most. With both readings signed a counter goes on
across the exchange; without them what flowed in between is a gap and counts as no energy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.clock import Clock, SystemClock
from agent.config import GatewayConfig
from agent.description import describe
from agent.errors import ConfigurationError
from agent.key_rotation import open_journal
from agent.recorder import changes
from wire.descriptor import Descriptor, Device
from wire.document import suggestion
from wire.event import Event

STATED_WITHIN_MS = 3_600_000
"""A day is computed from the records around it: an exchange that is stated later than this is joined by nobody."""


@dataclass(frozen=True, slots=True)
class CounterReadings:
    """What a counter showed, in the unit of its series: the old meter at the end, the new one at the beginning."""

    series: str
    final: float
    first: float


@dataclass(frozen=True, slots=True)
class Replaced:
    """The records ``first_seq`` to ``last_seq`` that were written, and the counters that will have a gap."""

    first_seq: int
    last_seq: int
    without_readings: tuple[str, ...]


def record_replacement(
    config: GatewayConfig,
    device: str,
    readings: Sequence[CounterReadings],
    operator: str,
    *,
    at_ms: int | None = None,
    clock: Clock | None = None,
) -> Replaced:
    """Append the descriptor of ``config``, where it is not in force yet, and one event a counter.

    ``at_ms`` is when the new meter began to count (UTC), now when not given. Raises `ConfigurationError` for readings
    that cannot be of this device and a time that is too far away, `SpoolError` when an agent runs on the spool.
    """
    clock = SystemClock() if clock is None else clock
    now_ms = clock.now_ms()
    time_ms = now_ms if at_ms is None else at_ms
    if abs(now_ms - time_ms) > STATED_WITHIN_MS:
        raise ConfigurationError(
            "an exchange of meters has to be stated within an hour of it: later it joins nothing, and the time between "
            "is a gap"
        )
    descriptor = describe(config)
    without = _without_readings(_device(descriptor, device), readings)
    journal = open_journal(config, clock)
    try:
        first_seq = journal.state.seq + 1
        bodies: list[Descriptor | Event] = [*changes(journal.descriptor(), descriptor)]
        bodies.extend(_event(device, one, operator, time_ms) for one in readings)
        for body in bodies:
            journal.append(body)
        return Replaced(first_seq, journal.state.seq, without)
    finally:
        journal.close()


def _device(descriptor: Descriptor, name: str) -> Device:
    for device in descriptor.devices:
        if device.id == name:
            return device
    known = [device.id for device in descriptor.devices]
    raise ConfigurationError(f"the gateway file has no device '{name}'{suggestion(name, known)}")


def _without_readings(device: Device, readings: Sequence[CounterReadings]) -> tuple[str, ...]:
    counters = [series.name for series in device.series if series.kind == "counter"]
    told = [one.series for one in readings]
    for one in readings:
        if one.series not in counters:
            raise ConfigurationError(f"{device.id} has no counter '{one.series}'{suggestion(one.series, counters)}")
        if told.count(one.series) > 1:
            raise ConfigurationError(f"the readings of {one.series} stand twice; keep one")
        if not all(math.isfinite(value) and value >= 0 for value in (one.final, one.first)):
            raise ConfigurationError(f"{one.series}: a counter shows no {one.final:g} and no {one.first:g}")
    return tuple(name for name in counters if name not in told)


def _event(device: str, one: CounterReadings, operator: str, time_ms: int) -> Event:
    return Event(
        "meter_replaced",
        {
            "device": device,
            "series": one.series,
            "final_reading": one.final,
            "first_reading": one.first,
            "operator": operator,
            "time_ms": time_ms,
        },
    )
