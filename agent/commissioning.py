"""What an integrator asks before a gateway runs: which requests, how many bytes, and does each device answer?"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.config import DeviceConfig, GatewayConfig
from agent.daily import setting_requests, stored_requests
from agent.description import describe, queries_of, requests_of
from agent.models import AnyStoredReadings, load_template
from agent.planner import Block
from agent.plausibility import Outcome, ratios
from agent.queries import Query
from agent.readout import DeviceReadout, read_devices
from wire.chain import ChainWriter
from wire.frame import (
    STATUS_OK,
    AnswerFrame,
    AnswerFrameBuilder,
    Frame,
    FrameBuilder,
    NodeFrame,
    NodeFrameBuilder,
    NodeSample,
    Variant,
)
from wire.keys import SigningKey
from wire.node import OPC_GOOD

_DAY_MS = 86_400_000
_DRIFT = 8
_POLLS_TRIED = 120


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """The requests one device is polled with, and every how many milliseconds.

    An OPC UA server has ``nodes`` instead; ``sends_every_ms`` is how often it sends changes when it is subscribed to.
    ``daily_requests`` are made besides after the start and once a day; ``stored`` says how many readings that the meter
    stored are among what they read, by name.
    """

    connection: str
    address: str
    device: str
    model: str
    unit: int
    meter: str
    interval_ms: int
    series: int
    requests: tuple[Block, ...] | tuple[Query, ...]
    nodes: tuple[str, ...] = ()
    sends_every_ms: int | None = None
    daily_requests: int = 0
    stored: Mapping[str, int] = field(default_factory=dict)


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
            address=f"{connection.protocol} {connection.address}",
            device=device.id,
            model=load_template(device.model).model.title,
            unit=device.unit,
            meter=device.address,
            interval_ms=device.interval,
            series=len(device.effective_series()),
            requests=queries_of(device) or requests_of(device),
            nodes=tuple(dict.fromkeys(one.node for one in device.effective_series().values() if one.node)),
            sends_every_ms=connection.sends_every_ms,
            daily_requests=len(setting_requests(device))
            + sum(1 for one in _stored(device).values() for _ in stored_requests(one, device.address)),
            stored={name: one.entries for name, one in _stored(device).items()},
        )
        for connection, device in config.devices()
    ]


def _stored(device: DeviceConfig) -> Mapping[str, AnyStoredReadings]:
    return load_template(device.model).model.history if device.history else {}


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
        interval_ms = plan.sends_every_ms or plan.interval_ms
        period_ms = max(config.flush, interval_ms)
        polls = min(period_ms // interval_ms, _POLLS_TRIED)
        nodes = tuple(_drifting_samples(index, interval_ms, node, polls, source) for node in plan.nodes)
        frames = nodes + tuple(
            _drifting(index, plan, block, polls, source)
            if isinstance(block, Block)
            else _drifting_answers(index, plan, block, polls, source)
            for block in plan.requests
        )
        size = len(writer.seal(frames, time_ms=_DAY_MS).data) - empty
        total += size * _DAY_MS / (polls * interval_ms)
    return round(total)


async def read_once(config: GatewayConfig) -> list[DeviceRead]:
    """Read every device once, as a poll would, and return values and faults in the order of the file."""
    return [
        DeviceRead(
            device=read.config.id,
            values={name: (one.value, one.unit) for name, one in read.values.items()},
            faults=(*read.faults, *_ratio_faults(read)),
            round_trip_ms=read.round_trip_ms,
        )
        for read in await read_devices(config)
    ]


def _ratio_faults(read: DeviceReadout) -> Iterator[str]:
    for check in ratios(read):
        if check.outcome is Outcome.FAIL:
            yield f"{check.name} is {check.text}; make them equal"


def notes(config: GatewayConfig) -> list[tuple[str, str]]:
    """Return what is good to know before evidence is built on a gateway: device and sentence."""
    found = []
    for (_, device), described in zip(config.devices(), describe(config).devices, strict=True):
        tariff = load_template(device.model).model.tariff
        for total, parts in ({} if tariff is None else tariff.sums).items():
            names = ", ".join(f"{config.gateway}/{device.id}/{part}" for part in parts)
            found.append((device.id, f"has no register for {total}; in an evidence plan write from: [{names}]"))
        unbounded = [one.name for one in described.series if one.kind == "counter" and one.maximum_rate is None]
        energies = [name for name in unbounded if "energy" in name]
        if energies:
            found.append(
                (
                    device.id,
                    f"nothing bounds how fast {', '.join(energies)} can rise; state ct_ratio and pt_ratio (1 where "
                    "there are no transformers) or maximum_power (kW)",
                )
            )
    return found


def _drifting(index: int, plan: DevicePlan, block: Block, polls: int, source: random.Random) -> Frame:
    builder = FrameBuilder(index, plan.unit, block.function, block.address, block.count)
    words = [0] * block.count
    for poll in range(polls):
        for value in block.values:
            last = value.end - 1 - block.address
            words[last] = (words[last] + source.randint(-_DRIFT, _DRIFT)) % 2**16
        builder.add(poll * plan.interval_ms, STATUS_OK, words, 0)
    return builder.build()


def _drifting_samples(index: int, interval_ms: int, node: str, polls: int, source: random.Random) -> NodeFrame:
    builder = NodeFrameBuilder(index, node)
    value = 0
    for poll in range(polls):
        value += source.randint(-_DRIFT, _DRIFT)
        time_ms = _DAY_MS + poll * interval_ms
        sample = NodeSample(time_ms, OPC_GOOD, value / 16, time_ms - source.randint(0, _DRIFT), time_ms)
        builder.add(sample, Variant.DOUBLE)
    return builder.build()


def _drifting_answers(index: int, plan: DevicePlan, query: Query, polls: int, source: random.Random) -> AnswerFrame:
    builder = AnswerFrameBuilder(index, query.request)
    answer = bytearray(max(start + length for start, length in query.fields))
    for poll in range(polls):
        for start, _ in query.fields:
            answer[start] = source.randint(0, _DRIFT)
        builder.add(poll * plan.interval_ms, STATUS_OK, bytes(answer), 0)
    return builder.build()
