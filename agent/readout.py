"""Reads every device of a gateway file a few times, for people who commission it: raw values beside what they mean.

Nothing of it goes on record. Connections are read beside each other, the devices of one connection in turn, with the
requests that the agent would make; what a device refuses is divided as the agent does it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from agent import drivers
from agent.clock import Clock, SystemClock
from agent.config import ConnectionConfig, DeviceConfig, GatewayConfig
from agent.connections import planned
from agent.daily import setting_requests
from agent.description import describe
from agent.devices import status_text
from agent.drivers import Connection, MeterConnection, Reading
from agent.planner import Block
from agent.queries import Query
from wire.descriptor import AnswerPlace, Device, NodePlace, Series
from wire.frame import STATUS_CONNECTION, STATUS_OK, STATUS_TIMEOUT
from wire.node import OPC_BAD
from wire.values import value_in_answer, value_in_words, value_of_node

if TYPE_CHECKING:
    from agent.drivers.opc_ua import Settings as OpcUaSettings
    from agent.opc_ua.session import OpcUaSession

_REFUSED = frozenset({1, 2, 3})
_SILENT = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, 10, 11})
_PAUSE_SECONDS = 1.0
_LAST_ERROR_CODE = 127


@dataclass(frozen=True, slots=True)
class ValueRead:
    """One reading of a series: ``raw`` as it came (hexadecimal words or bytes, an OPC UA value as text).

    ``value`` is in ``unit``, on the primary side, ``None`` when not available; ``time_ms`` when it was read.
    """

    time_ms: int
    raw: str
    value: float | int | None
    unit: str


@dataclass
class DeviceReadout:
    """What a device has answered: ``rounds`` of values by the name of their series, and every fault once.

    ``connection`` says where it is, ``described`` what the descriptor says of it.
    """

    connection: str
    config: DeviceConfig
    described: Device
    rounds: list[dict[str, ValueRead]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    round_trip_ms: int = 0

    @property
    def values(self) -> Mapping[str, ValueRead]:
        """The newest value of every series that was read."""
        found: dict[str, ValueRead] = {}
        for values in self.rounds:
            found |= values
        return found


class _Link(Protocol):
    async def read(self, device: DeviceReadout, *, first: bool) -> bool:
        """Read ``device`` once more, with its settings the ``first`` time; tell whether it answers at all."""
        ...


async def read_devices(
    config: GatewayConfig,
    *,
    devices: Collection[str] | None = None,
    seconds: float = 0.0,
    tell: Callable[[str], None] | None = None,
) -> list[DeviceReadout]:
    """Read the ``devices`` (all, when absent) once, and again every second until ``seconds`` have gone by.

    Those that do not answer the first time are not asked again. Returned in the order of the file; ``tell`` is called
    with the id of each device that was read. Nothing is raised for what devices do.
    """
    described = {device.id: device for device in describe(config).devices}
    found = {
        device.id: DeviceReadout(connection.address, device, described[device.id])
        for connection, device in config.devices()
        if devices is None or device.id in devices
    }
    clock = SystemClock()

    async def one(connection: ConnectionConfig) -> None:
        mine = [found[device.id] for device in connection.devices if device.id in found]
        if mine:
            await _read_connection(connection, mine, clock, seconds, tell)

    await asyncio.gather(*(one(connection) for connection in config.connections))
    return list(found.values())


async def _read_connection(
    connection: ConnectionConfig,
    devices: list[DeviceReadout],
    clock: Clock,
    seconds: float,
    tell: Callable[[str], None] | None,
) -> None:
    async with _opened(connection, clock) as link:
        if isinstance(link, str):
            for device in devices:
                device.faults.append(link)
            return
        end_ms = clock.elapsed_ms() + round(1000 * seconds)
        answering = []
        for device in devices:
            if await link.read(device, first=True):
                answering.append(device)
            if tell is not None:
                tell(device.config.id)
        while answering and (left := (end_ms - clock.elapsed_ms()) / 1000) > 0:
            await asyncio.sleep(min(left, _PAUSE_SECONDS))
            for device in answering:
                await link.read(device, first=False)
                if tell is not None:
                    tell(device.config.id)


@asynccontextmanager
async def _opened(connection: ConnectionConfig, clock: Clock) -> AsyncIterator[_Link | str]:
    """Yield the open connection, or what keeps it from opening."""
    if connection.protocol == "opc-ua":
        from agent.opc_ua.session import open_session, text_of  # noqa: PLC0415 - only OPC UA loads the stack

        try:
            session = await open_session(cast("OpcUaSettings", connection))
        except Exception as error:
            # What a server can do to the protocol stack is more than what the stack says it raises.
            yield f"no session: {text_of(error)}"
            return
        try:
            yield _Nodes(session, clock)
        finally:
            await session.close()
        return
    link = drivers.connect(connection, clock)
    try:
        yield _Requests(link, clock) if await link.open() else status_text(STATUS_CONNECTION)
    finally:
        link.close()


async def read_device(link: Connection | MeterConnection, device: DeviceReadout, clock: Clock) -> bool:
    """Read ``device`` once over a connection that is open already; tell whether it answers at all."""
    return await _Requests(link, clock).read(device, first=True)


class _Requests:
    """A connection on which registers are read, or meters asked by identifier."""

    def __init__(self, link: Connection | MeterConnection, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def read(self, device: DeviceReadout, *, first: bool) -> bool:
        """Read ``device`` once more; see `_Link`."""
        requests = planned(device.config)
        waiting: deque[Block | Query] = deque(requests.due(self._clock.elapsed_ms()))
        # A meter need not have the registers of its settings.
        optional = setting_requests(device.config) if first else ()
        waiting.extend(optional)
        answers = False
        values: dict[str, ValueRead] = {}
        while waiting:
            request = waiting.popleft()
            reading = await self._ask(device.config.unit, request)
            device.round_trip_ms = max(device.round_trip_ms, reading.round_trip_ms)
            if reading.status == STATUS_OK and reading.words is not None:
                answers = True
                values |= _values(device.described.series, request, reading)
                continue
            if reading.status in _REFUSED and request in optional:
                continue
            if reading.status in _REFUSED and isinstance(request, Block):
                parts = requests.refused(request, reading.status, self._clock.elapsed_ms())  # type: ignore[arg-type]
                if parts:
                    waiting.extendleft(reversed(parts))
                    continue
            _note(device, _said(request, reading.status))
            if reading.status in _SILENT:
                break
            answers = True
        device.rounds.append(values)
        return answers

    async def _ask(self, unit: int, request: Block | Query) -> Reading:
        if isinstance(request, Query):
            return await cast("MeterConnection", self._link).ask(request.address, request.request)
        return await cast("Connection", self._link).read(unit, request.function, request.address, request.count)


class _Nodes:
    """A session with an OPC UA server."""

    def __init__(self, session: OpcUaSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def read(self, device: DeviceReadout, *, first: bool) -> bool:  # noqa: ARG002 - no settings are read here
        """Read ``device`` once more; see `_Link`."""
        from agent.opc_ua.samples import sample_of  # noqa: PLC0415 - only OPC UA loads the stack
        from agent.opc_ua.session import text_of  # noqa: PLC0415

        places = {one.name: one.place.node for one in device.described.series if isinstance(one.place, NodePlace)}
        nodes = list(dict.fromkeys(places.values()))
        started = self._clock.elapsed_ms()
        try:
            answers = await self._session.read(nodes)
        except Exception as error:
            _note(device, f"a read was not answered: {text_of(error)}")
            device.rounds.append({})
            return False
        device.round_trip_ms = max(device.round_trip_ms, self._clock.elapsed_ms() - started)
        time_ms = self._clock.now_ms()
        samples = {node: sample_of(answer, time_ms)[0] for node, answer in zip(nodes, answers, strict=True)}
        values = {}
        for one in device.described.series:
            if one.name not in places:
                continue
            sample = samples[places[one.name]]
            if sample.status < OPC_BAD:
                value = value_of_node(one, sample.value)
                values[one.name] = ValueRead(time_ms, str(sample.value), value, one.unit)
            else:
                _note(device, f"{places[one.name]}: {status_text(sample.status >> 16)}")
        device.rounds.append(values)
        return True


def _values(series: Iterable[Series], request: Block | Query, reading: Reading) -> dict[str, ValueRead]:
    words = reading.words or ()
    found = {}
    for one in series:
        if isinstance(request, Query):
            if words and isinstance(one.place, AnswerPlace) and one.in_answer(request.request, len(words)):
                field_ = bytes(words)[one.place.start : one.place.start + one.place.length]
                value = value_in_answer(one, bytes(words))
                found[one.name] = ValueRead(reading.time_ms, field_.hex(" ").upper(), value, one.unit)
        elif one.in_registers(request.function, request.address, request.count):
            first = one.address - request.address
            raw = " ".join(f"{word:04X}" for word in words[first : first + one.words])
            value = value_in_words(one, words, request.address)
            found[one.name] = ValueRead(reading.time_ms, raw, value, one.unit)
    return found


def _said(request: Block | Query, status: int) -> str:
    if isinstance(request, Query):
        refused = status <= _LAST_ERROR_CODE
        return f"{request}: {f'refused with error {status:02X}' if refused else status_text(status)}"
    what = "registers" if request.function in (3, 4) else "bits"
    return f"function {request.function}, {what} {request.address} to {request.end - 1}: {status_text(status)}"


def _note(device: DeviceReadout, fault: str) -> None:
    if fault not in device.faults:
        device.faults.append(fault)
