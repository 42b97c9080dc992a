"""The whole agent: pollers, recorder, journal and uplink, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent import drivers
from agent.clock import Clock, SystemClock, start
from agent.config import ConnectionConfig, GatewayConfig
from agent.description import describe, requests_of
from agent.journal import Journal, JournalThread
from agent.keyfile import load_key
from agent.poller import PolledDevice, Poller
from agent.recorder import Recorder
from agent.uplink import Uplink

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0

_CANCEL_AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class AgentStatistics:
    """What one run of the agent did.

    ``records``, ``samples`` (reads, good or not), ``values`` (good values of series) and ``bytes`` (of records) were
    made in this run; ``last_seq`` is the end of the chain, ``acknowledged_seq`` how far the server has it.
    """

    records: int
    samples: int
    values: int
    bytes: int
    last_seq: int
    acknowledged_seq: int


async def run_agent(
    config: GatewayConfig,
    clock: Clock | None = None,
    until_ms: int | None = None,
    *,
    progress: Callable[[int, AgentStatistics], None] | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
    drain_seconds: float = DRAIN_SECONDS,
) -> AgentStatistics:
    """Run a gateway until ``until_ms`` (polls before it), until ``stop`` is set, or for ever.

    ``clock`` is the system's unless given; with a `DrivenClock` polls, flushes and record times follow it, while the
    uplink works beside in real time and is never waited for before the end. ``progress`` is called after each flush
    with the time and the statistics so far. ``handle_signals`` makes SIGTERM and SIGINT a clean stop: last flush, stop
    event, and up to ``drain_seconds`` of real time for the server's acknowledgement.

    Raises `ConfigurationError` for an unusable key, `SpoolError` when the disk fails.
    """
    clock = SystemClock() if clock is None else clock
    stop = asyncio.Event() if stop is None else stop
    key = load_key(config.key_file)
    journal = JournalThread(Journal(config.data_directory, config.gateway, key, config.spool_bytes, clock))
    try:
        run = _Run(config, clock, journal, progress)
        with _signals(stop) if handle_signals else contextlib.nullcontext():
            return await run.run(stop, until_ms, drain_seconds)
    finally:
        journal.close()


class _Run:
    def __init__(
        self,
        config: GatewayConfig,
        clock: Clock,
        journal: JournalThread,
        progress: Callable[[int, AgentStatistics], None] | None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._journal = journal
        self._progress = progress
        self._recorder = Recorder(journal, clock)
        self._uplink = None if config.uplink is None else Uplink(config.uplink, config.gateway, journal)

    async def run(self, stop: asyncio.Event, until_ms: int | None, drain_seconds: float) -> AgentStatistics:
        pollers = _pollers(self._config, self._recorder, self._clock)
        await self._recorder.begin(describe(self._config))
        uplink = None if self._uplink is None else asyncio.create_task(self._uplink.run(), name="uplink")
        work = [start(self._clock, poller.run(until_ms), name=name) for name, poller in pollers.items()]
        work.append(start(self._clock, self._flush(until_ms), name="flush"))
        try:
            await _until_stopped(work, uplink, stop)
            await self._recorder.end()
            await self._drain(drain_seconds)
        finally:
            await _cancel(work if uplink is None else [*work, uplink])
        return self._statistics()

    async def _flush(self, until_ms: int | None) -> None:
        interval_ms = self._config.flush
        while True:
            tick_ms = (self._clock.now_ms() // interval_ms + 1) * interval_ms
            if until_ms is not None and tick_ms >= until_ms:
                await self._clock.sleep_until(until_ms)
                return
            await self._clock.sleep_until(tick_ms)
            await self._recorder.flush()
            if self._uplink is not None:
                self._uplink.notify()
            if self._progress is not None:
                self._progress(self._clock.now_ms(), self._statistics())

    async def _drain(self, seconds: float) -> None:
        if self._uplink is None:
            return
        self._uplink.notify()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._uplink.wait_acknowledged(self._journal.state.seq), seconds)

    def _statistics(self) -> AgentStatistics:
        made, state = self._journal.statistics, self._journal.state
        return AgentStatistics(
            made.records, made.samples, self._recorder.values, made.bytes, state.seq, state.acknowledged
        )


def polled_devices(config: GatewayConfig) -> Iterator[tuple[ConnectionConfig, PolledDevice]]:
    """Yield every device as it is polled, with its connection, in the order of the descriptor."""
    for index, (connection, device) in enumerate(config.devices()):
        yield (
            connection,
            PolledDevice(
                index=index,
                name=device.id,
                unit=device.unit,
                interval_ms=device.interval,
                blocks=requests_of(device),
                limits=device.effective_limits(),
            ),
        )


def _pollers(config: GatewayConfig, recorder: Recorder, clock: Clock) -> dict[str, Poller]:
    devices: dict[str, list[PolledDevice]] = {}
    for connection, device in polled_devices(config):
        devices.setdefault(connection.id, []).append(device)
    return {
        c.id: Poller(
            c.id, drivers.connect(c.protocol, c.host, c.port, c.timeout, clock), devices[c.id], recorder, clock
        )
        for c in config.connections
    }


async def _until_stopped(
    work: list[asyncio.Task[None]], uplink: asyncio.Task[None] | None, stop: asyncio.Event
) -> None:
    """Return when all work is done or a stop is asked for, with no work left running; raise what a task raised."""
    stopping = asyncio.create_task(stop.wait(), name="stop")
    running: set[asyncio.Task[None]] = set(work)
    watched: set[asyncio.Task[Any]] = {stopping} if uplink is None else {stopping, uplink}
    try:
        while running and not stopping.done():
            done, _ = await asyncio.wait({*running, *watched}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
            running -= done
    finally:
        await _cancel([*work, stopping])


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """End ``tasks``. ``asyncio.wait_for`` of Python 3.11 loses a cancellation that meets the awaited result, and
    pymodbus waits that way: so ask again until nobody is left."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
