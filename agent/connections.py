"""The connections of a gateway while it runs: a task each, which can be started, ended and renumbered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent import drivers
from agent.clock import Clock, start
from agent.config import ConnectionConfig, DeviceConfig, GatewayConfig
from agent.daily import DailyReads, daily_reads
from agent.description import queries_of, requests_of
from agent.models import load_template
from agent.poller import PolledDevice, Poller
from agent.queries import Queries
from agent.recorder import Recorder
from agent.refusals import Requests

_CANCEL_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """Everything that decides how a connection is read.

    Two equal plans are read alike, whatever else has changed in the gateway file or in its device models. The places of
    its devices in the descriptor are not part of it.
    """

    connection: ConnectionConfig
    timezone: str
    templates: tuple[bytes, ...]


class Connections:
    """The tasks that read a gateway's connections, by the id of the connection."""

    def __init__(self, recorder: Recorder, clock: Clock, until_ms: int | None = None) -> None:
        self._recorder = recorder
        self._clock = clock
        self._until_ms = until_ms
        self._running: dict[str, _Running] = {}
        self._changing = False
        self._changed = asyncio.Event()

    def start(self, config: GatewayConfig) -> None:
        """Start every connection of ``config`` that does not run, and number the devices of the others as it does."""
        for plan, devices in plans(config):
            name = plan.connection.id
            running = self._running.get(name)
            if running is not None:
                for device, place in zip(running.devices, devices, strict=True):
                    device.index = place.index
                continue
            poller = connect(plan.connection, devices, self._recorder, self._clock)
            task = start(self._clock, poller.run(self._until_ms), name=name)
            self._running[name] = _Running(plan, devices, task)

    async def change(self, config: GatewayConfig, switch: Callable[[], None]) -> None:
        """End what ``config`` no longer has or reads in another way, call ``switch``, start what it has instead.

        Whatever reads on does so without a pause. Between ``switch`` and the new numbers of the devices no read comes.
        """
        wanted = {plan.connection.id: plan for plan, _ in plans(config)}
        ended = [name for name, running in self._running.items() if wanted.get(name) != running.plan]
        self._changing = True
        try:
            await cancel([self._running[name].task for name in ended])
            for name in ended:
                del self._running[name]
            switch()
            self.start(config)
        finally:
            self._changing = False
            self._changed.set()

    async def finished(self) -> None:
        """Return when every connection has come to its end; raise what one of them raised."""
        while True:
            self._changed.clear()
            tasks = {running.task for running in self._running.values()}
            for task in tasks:
                if task.done() and not self._changing:
                    task.result()
            pending = {task for task in tasks if not task.done()}
            if not pending and not self._changing:
                return
            change = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({*pending, change}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel([change])

    async def end(self) -> None:
        """End every connection."""
        await cancel([running.task for running in self._running.values()])


@dataclass(frozen=True, slots=True)
class _Running:
    plan: ConnectionPlan
    devices: Sequence[PolledDevice]
    task: asyncio.Task[None]


def plans(config: GatewayConfig) -> Iterator[tuple[ConnectionPlan, list[PolledDevice]]]:
    """Yield the plan of every connection with its devices as they are polled, numbered in the descriptor's order."""
    devices: dict[str, list[PolledDevice]] = {connection.id: [] for connection in config.connections}
    for index, (connection, device) in enumerate(config.devices()):
        devices[connection.id].append(polled_device(index, device, daily_reads(device, config)))
    for connection in config.connections:
        templates = tuple(load_template(device.model).hash for device in connection.devices)
        yield ConnectionPlan(connection, config.timezone, templates), devices[connection.id]


def polled_device(index: int, device: DeviceConfig, daily: DailyReads | None = None) -> PolledDevice:
    """Return ``device``, number ``index`` of the descriptor, as it is polled, and read ``daily`` besides."""
    return PolledDevice(
        index=index,
        name=device.id,
        unit=device.unit,
        interval_ms=device.interval,
        requests=planned(device),
        daily=daily,
    )


def planned(device: DeviceConfig) -> Requests | Queries:
    """Return what ``device`` is asked at every poll: registers, or data by identifier."""
    if queries := queries_of(device):
        return Queries(queries)
    values = [value for block in requests_of(device) for value in block.values]
    return Requests(values, device.effective_limits())


def connect(
    connection: ConnectionConfig, devices: list[PolledDevice], recorder: Recorder, clock: Clock
) -> drivers.Collector:
    """Return what reads ``connection``, not yet running."""
    collector = drivers.collect(connection, devices, recorder, clock)
    if collector is not None:
        return collector
    link = drivers.connect(connection, clock)
    return Poller(connection.id, link, devices, recorder, clock)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End ``tasks``. ``asyncio.wait_for`` of Python 3.11 loses a cancellation that meets the awaited result, and
    pymodbus waits that way: so ask again until nobody is left."""
    asked = list(tasks)
    pending = {task for task in asked if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*asked, return_exceptions=True)
