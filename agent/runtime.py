"""The whole agent: connections, recorder, journal and uplink, started, reconfigured and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import supervision
from agent.clock import Clock, SystemClock, start
from agent.config import ENROLMENT_FOLDER, GatewayConfig
from agent.connections import Connections, cancel
from agent.description import describe
from agent.errors import SpoolError
from agent.health import Chain, Health, RecentErrors
from agent.journal import JournalThread
from agent.key_rotation import open_journal
from agent.recorder import Recorder
from agent.reload import WATCH_SECONDS, ConfigurationFile
from agent.sparkplug_lane import SparkplugLane
from agent.status import answering
from agent.uplinks import Uplinks
from wire.errors import ShopfloorError

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
_ENROLMENT_LOOK_SECONDS = 60.0
_STUCK_SECONDS = 60.0
"""Without a flush for twice its interval and this long, the service manager is no longer told that all is well."""


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
    config_file: Path | None = None,
    progress: Callable[[int, AgentStatistics], None] | None = None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = False,
    drain_seconds: float = DRAIN_SECONDS,
) -> AgentStatistics:
    """Run a gateway until ``until_ms`` (polls before it), until ``stop`` is set, or for ever.

    ``clock`` is the system's unless given; with a `DrivenClock` polls, flushes and record times follow it, while the
    uplink works beside in real time and is never waited for before the end. ``config_file`` is what ``config`` was
    read from: when it or a device model that it uses changes, the agent goes on with what it says then. ``progress`` is
    called after each flush with the time and the statistics so far. ``handle_signals`` makes SIGTERM and SIGINT a clean
    stop: last flush, stop event, and up to ``drain_seconds`` of real time for the server's acknowledgement; SIGHUP is a
    reason to read ``config_file`` again, SIGUSR1 to write a head.

    Raises `ConfigurationError` for an unusable key, `SpoolError` when the disk fails.
    """
    clock = SystemClock() if clock is None else clock
    stop = asyncio.Event() if stop is None else stop
    journal = JournalThread(open_journal(config, clock))
    file = None if config_file is None else ConfigurationFile(config_file, config)
    errors = RecentErrors(clock.now_ms)
    logger = logging.getLogger("agent")
    logger.addHandler(errors)
    try:
        run = _Run(config, file, clock, until_ms=until_ms, journal=journal, errors=errors, progress=progress)
        with _signals(stop, run.ask_reload, run.ask_head) if handle_signals else contextlib.nullcontext():
            return await run.run(stop, drain_seconds)
    finally:
        logger.removeHandler(errors)
        journal.close()


class _Run:
    def __init__(
        self,
        config: GatewayConfig,
        file: ConfigurationFile | None,
        clock: Clock,
        *,
        until_ms: int | None,
        journal: JournalThread,
        errors: RecentErrors,
        progress: Callable[[int, AgentStatistics], None] | None,
    ) -> None:
        self._config = config
        self._file = file
        self._clock = clock
        self._until_ms = until_ms
        self._journal = journal
        self._progress = progress
        self._recorder = Recorder(journal, clock)
        self._connections = Connections(self._recorder, clock, until_ms)
        self._uplinks = Uplinks(config.gateway, journal)
        self._sparkplug = SparkplugLane(self._recorder, clock)
        self._health = Health(config, clock, self._recorder.devices, errors, clock.now_ms())
        self._reload_asked = asyncio.Event()
        self._head_asked = asyncio.Event()
        self._head_ms = clock.now_ms()
        self._flushed_at = 0.0

    async def run(self, stop: asyncio.Event, drain_seconds: float) -> AgentStatistics:
        descriptor = describe(self._config)
        await self._recorder.begin(descriptor)
        await self._uplinks.follow(self._config.all_uplinks)
        await self._sparkplug.follow(self._config, descriptor)
        self._connections.start(self._config)
        self._flushed_at = asyncio.get_running_loop().time()
        flush = start(self._clock, self._flush(), name="flush")
        beside = [
            asyncio.create_task(self._tell(), name="health"),
            asyncio.create_task(self._give_heads(), name="heads"),
        ]
        if self._file is not None:
            beside.append(asyncio.create_task(self._watch_files(self._file), name="reload"))
        beside.append(asyncio.create_task(self._renew_certificates(), name="certificates"))
        if (pause := supervision.watchdog_seconds()) is not None:
            beside.append(asyncio.create_task(self._feed_watchdog(pause), name="watchdog"))
        try:
            async with answering(self._config.data_directory, self._status):
                supervision.notify("READY=1")
                await self._until_stopped(flush, beside, stop)
                supervision.notify("STOPPING=1")
                await cancel([flush, *beside])
                await self._connections.end()
                await self._recorder.end()
                await self._sparkplug.end()
                await self._drain(drain_seconds)
                self._health.stopped = True
                await self._publish_health()
        finally:
            await cancel([flush, *beside])
            await self._connections.end()
            await self._sparkplug.end()
            await self._uplinks.end()
        return self._statistics()

    def ask_reload(self) -> None:
        """Have the gateway file read again soon."""
        self._reload_asked.set()

    def ask_head(self) -> None:
        """Have what was collected written now, and a head behind it."""
        self._head_asked.set()

    async def _flush(self) -> None:
        while True:
            interval_ms = self._config.flush
            tick_ms = (self._clock.now_ms() // interval_ms + 1) * interval_ms
            if self._until_ms is not None and tick_ms >= self._until_ms:
                await self._clock.sleep_until(self._until_ms)
                return
            await self._clock.sleep_until(tick_ms)
            await self._recorder.flush()
            self._flushed_at = asyncio.get_running_loop().time()
            self._recorder.devices.settle()
            if self._clock.now_ms() // self._config.head_interval != self._head_ms // self._config.head_interval:
                await self._write_head()
            self._uplinks.notify()
            if self._progress is not None:
                self._progress(self._clock.now_ms(), self._statistics())

    async def _give_heads(self) -> None:
        while True:
            await self._head_asked.wait()
            self._head_asked.clear()
            await self._recorder.flush()
            await self._write_head()
            self._uplinks.notify()

    async def _write_head(self) -> None:
        try:
            await self._journal.append_head()
        except SpoolError as error:
            log.error("%s; the head is written later", error)
            return
        self._head_ms = self._clock.now_ms()

    async def _watch_files(self, file: ConfigurationFile) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reload_asked.wait(), WATCH_SECONDS)
            if self._reload_asked.is_set() or file.changed():
                self._reload_asked.clear()
                supervision.reloading()
                await self._reload(file)
                supervision.notify("READY=1")

    async def _reload(self, file: ConfigurationFile) -> None:
        try:
            config = await asyncio.to_thread(file.read)
        except ShopfloorError as error:
            log.error("the configuration stays as it was: %s", error)
            self._health.configuration_fault = str(error)
            return
        descriptor = describe(config)
        await self._connections.change(config, lambda: self._recorder.reconfigure(descriptor))
        self._config = self._health.config = config
        self._health.configuration_fault = None
        await self._recorder.flush()
        await self._sparkplug.follow(config, descriptor)
        try:
            await self._uplinks.follow(config.all_uplinks)
        except SpoolError as error:
            log.error("the uplinks stay as they were: %s", error)
            self._health.configuration_fault = str(error)
        else:
            log.info("the configuration was read again")

    async def _tell(self) -> None:
        """Say how the gateway is whenever that changes, and every `health_interval`."""
        loop = asyncio.get_running_loop()
        told_at = float("-inf")
        while True:
            self._ask_around()
            news = self._health.changed(self._journal.state.descriptor_hash)
            if news or loop.time() - told_at >= self._config.health_interval / 1000:
                told_at = loop.time()
                await self._publish_health()
            await asyncio.sleep(1)

    async def _renew_certificates(self) -> None:
        """Keep the certificates of enrolled uplinks fresh; a gateway that is not enrolled does without the module."""
        while not (self._config.data_directory / ENROLMENT_FOLDER).is_dir():
            await asyncio.sleep(_ENROLMENT_LOOK_SECONDS)
        from agent.renewal import keep_certificates_fresh  # noqa: PLC0415 - memory

        await keep_certificates_fresh(self._config.data_directory)

    async def _feed_watchdog(self, pause: float) -> None:
        while True:
            silent = asyncio.get_running_loop().time() - self._flushed_at
            if silent < 2 * self._config.flush / 1000 + _STUCK_SECONDS:
                supervision.notify("WATCHDOG=1")
            await asyncio.sleep(pause)

    async def _publish_health(self) -> None:
        document = self._health.document(await self._chain())
        supervision.notify(f"STATUS={document['state']}: {'; '.join(document['problems']) or 'all devices answer'}")
        self._uplinks.publish_health(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

    async def _status(self) -> dict[str, Any]:
        return self._health.status(await self._chain())

    def _ask_around(self) -> None:
        self._health.uplink_faults = self._uplinks.faults
        self._health.acknowledged = self._uplinks.acknowledged
        self._health.waiting_bytes = self._recorder.waiting_bytes
        self._health.drift_ppm = self._recorder.drift_ppm
        self._health.sparkplug = self._sparkplug.state

    async def _chain(self) -> Chain:
        self._ask_around()
        state = self._journal.state
        return Chain(state.seq, state.acknowledged, state.descriptor_hash, await self._journal.size())

    async def _until_stopped(
        self, flush: asyncio.Task[None], beside: list[asyncio.Task[None]], stop: asyncio.Event
    ) -> None:
        """Return when all work is done or a stop is asked for; raise what a task raised."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        connections = asyncio.create_task(self._connections.finished(), name="connections")
        work: set[asyncio.Task[None]] = {flush, connections}
        try:
            while work and not stopping.done():
                watched: set[asyncio.Future[Any]] = {*work, *beside, stopping, self._uplinks.failure}
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                work -= done
        finally:
            await cancel([stopping, connections])

    async def _drain(self, seconds: float) -> None:
        self._uplinks.notify()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._uplinks.wait_acknowledged(self._journal.state.seq), seconds)

    def _statistics(self) -> AgentStatistics:
        made, state = self._journal.statistics, self._journal.state
        return AgentStatistics(
            made.records, made.samples, self._recorder.values, made.bytes, state.seq, state.acknowledged
        )


@contextlib.contextmanager
def _signals(stop: asyncio.Event, reload: Callable[[], None], head: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    actions = {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: reload, signal.SIGUSR1: head}
    for number, action in actions.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
