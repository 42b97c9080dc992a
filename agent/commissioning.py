"""What an integrator asks before a gateway runs: which requests, how many bytes, and does each device answer?"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from agent import drivers
from agent.clock import SystemClock
from agent.config import ConnectionConfig, GatewayConfig
from agent.description import requests_of
from agent.drivers import Reading
from agent.models import load_template
from agent.planner import Block
from wire.chain import ChainWriter
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT, Frame, FrameBuilder
from wire.keys import SigningKey

_DAY_MS = 86_400_000
_DRIFT = 8
_POLLS_TRIED = 120
_STATUS_TEXTS = {
    STATUS_TIMEOUT: "no answer within the time-out",
    STATUS_CONNECTION: "no connection",
    STATUS_MALFORMED: "an answer that is not one to the request",
    1: "exception 1: illegal function",
    2: "exception 2: illegal data address",
    3: "exception 3: illegal data value",
    4: "exception 4: the device failed",
    6: "exception 6: the device is busy",
    10: "exception 10: the gateway has no path to the device",
    11: "exception 11: the device behind the gateway does not respond",
}


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """The requests one device is polled with, and every how many milliseconds."""

    connection: str
    address: str
    device: str
    model: str
    unit: int
    interval_ms: int
    series: int
    requests: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class DeviceRead:
    """One test read of a device: values by series in their unit (``None`` = not available), and what went wrong."""

    device: str
    values: dict[str, tuple[float | int | None, str]]
    faults: tuple[str, ...]
    round_trip_ms: int


def plans(config: GatewayConfig) -> list[DevicePlan]:
    """Return the plan of every device; raise `PlanError` when limits forbid a value."""
    return [
        DevicePlan(
            connection=connection.id,
            address=f"{connection.protocol} {connection.host}:{connection.port}",
            device=device.id,
            model=load_template(device.model).model.title,
            unit=device.unit,
            interval_ms=device.interval,
            series=len(device.effective_series()),
            requests=requests_of(device),
        )
        for connection, device in config.devices()
    ]


def estimated_bytes_a_day(config: GatewayConfig) -> int:
    """Return the bytes of records a day, MQTT overhead not included.

    Records are really made and signed, of reads in which the last register of every value drifts by up to 8 counts from
    poll to poll: steadier values take less, noisier ones more.
    """
    source = random.Random(0)  # noqa: S311 - a made-up process, not a secret
    writer = ChainWriter(config.gateway, SigningKey.generate(), seq=1, hash=os.urandom(32), descriptor=os.urandom(32))
    planned = plans(config)
    empty = len(writer.seal((), time_ms=_DAY_MS).data)
    total = empty * _DAY_MS / max(config.flush, min(plan.interval_ms for plan in planned))
    for index, plan in enumerate(planned):
        period_ms = max(config.flush, plan.interval_ms)
        polls = min(period_ms // plan.interval_ms, _POLLS_TRIED)
        frames = tuple(_drifting(index, plan, block, polls, source) for block in plan.requests)
        size = len(writer.seal(frames, time_ms=_DAY_MS).data) - empty
        total += size * _DAY_MS / (polls * plan.interval_ms)
    return round(total)


async def read_once(config: GatewayConfig) -> list[DeviceRead]:
    """Read every device once, as a poll would, and return values and faults in the order of the file."""
    reads: list[DeviceRead] = []
    for connection in config.connections:
        link = drivers.connect(connection.protocol, connection.host, connection.port, connection.timeout, SystemClock())
        try:
            opened = await link.open()
            for device in connection.devices:
                readings: list[tuple[Block, Reading]] = []
                for block in requests_of(device) if opened else ():
                    reading = await link.read(device.unit, block.function, block.address, block.count)
                    readings.append((block, reading))
                    if reading.status in (STATUS_TIMEOUT, STATUS_CONNECTION):
                        break
                faults = tuple(_faults(readings)) if opened else (_unreachable(connection),)
                series = device.effective_series()
                values = {}
                for name, one in series.items():
                    words = _words(readings, one.function, one.address, one.type.words)
                    if words is not None:
                        values[name] = (one.decode(words), one.unit)
                longest = max((reading.round_trip_ms for _, reading in readings), default=0)
                reads.append(DeviceRead(device.id, values, faults, longest))
        finally:
            link.close()
    return reads


def _unreachable(connection: ConnectionConfig) -> str:
    place = f"{connection.host}:{connection.port}"
    return f"{_STATUS_TEXTS[STATUS_CONNECTION]} to {place}: is the device on, and are host and port right?"


def _words(readings: list[tuple[Block, Reading]], function: int, address: int, count: int) -> tuple[int, ...] | None:
    for block, reading in readings:
        inside = block.function == function and block.address <= address and address + count <= block.end
        if inside and reading.words is not None:
            start = address - block.address
            return tuple(reading.words[start : start + count])
    return None


def _faults(readings: list[tuple[Block, Reading]]) -> Iterator[str]:
    for block, reading in readings:
        if reading.status != STATUS_OK:
            text = _STATUS_TEXTS.get(reading.status, f"exception {reading.status}")
            yield f"function {block.function}, registers {block.address} to {block.end - 1}: {text}"


def _drifting(index: int, plan: DevicePlan, block: Block, polls: int, source: random.Random) -> Frame:
    builder = FrameBuilder(index, plan.unit, block.function, block.address, block.count)
    words = [0] * block.count
    for poll in range(polls):
        for value in block.values:
            last = value.end - 1 - block.address
            words[last] = (words[last] + source.randint(-_DRIFT, _DRIFT)) % 2**16
        builder.add(poll * plan.interval_ms, STATUS_OK, words, 0)
    return builder.build()
