"""Polls the devices of one connection, each at its own interval, one request at a time.

Polls are aligned to the wall clock: a device with an interval of 5 minutes is read at :00, :05, :10, whenever the agent
was started, and a late poll does not shift the next one. A device that does not answer costs the others on its
connection at most one time-out, one that answers garbage two; until its back-off is over it is recorded as such without
being asked. What a device never answers while it answers everything else counts as refused. A connection that cannot be
opened is tried again with a back-off of its own. Every poll leaves a read in the record, good or not; only what a
device refuses is recorded when it is asked for and not in between.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, cast

from agent.backoff import Backoff
from agent.clock import Clock
from agent.daily import DailyReads
from agent.devices import status_text
from agent.drivers import Connection, MeterConnection, Reading
from agent.planner import Block, Value
from agent.queries import Queries, Query
from agent.recorder import Recorder
from agent.refusals import Requests
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

log = logging.getLogger(__name__)

FIRST_BACKOFF_MS = 500
LAST_BACKOFF_MS = 10_000
_UNANSWERED_LIMIT = 3
_REFUSED = frozenset({1, 2, 3})
"""Illegal function, address, value: what devices answer when a block reaches over registers they do not have."""

_BEHIND_GATEWAY = frozenset({10, 11})
"""A Modbus gateway's own word that the device behind it is out of reach; each costs the gateway's time-out."""

_SILENT = _BEHIND_GATEWAY | {STATUS_TIMEOUT, STATUS_CONNECTION}

_GARBLED_LIMIT = 2
"""So many answers of one poll that are none, and the rest is not asked: one may be a disturbance on the line."""

_HEARD, _UNHEARD = -1, 1
_UNHEARD_LIMIT = 2
"""So many time-outs in a poll of a device that answers otherwise, and the rest is not asked."""

_UNHEARD_BELIEVED = 3
"""So many polls in which only this request got no answer, and it counts as refused: some devices do not answer with an
exception when an address does not exist, they do not answer at all."""

_DAILY_SHARE = 10
"""After each poll a tenth of the shortest interval may go into what is read once a day; one request always may."""


class RequestPlan(Protocol):
    """What a device is asked: `agent.refusals.Requests`, or `agent.queries.Queries` where there are no registers."""

    @property
    def standing(self) -> tuple[Any, ...]: ...
    def due(self, now_ms: int) -> tuple[Any, ...]: ...
    def answered(self, block: Any, now_ms: int, /) -> None: ...
    def refused(self, block: Any, exception: int, now_ms: int, /) -> tuple[Any, ...]: ...
    def unsupported(self, now_ms: int) -> tuple[Any, ...]: ...


class PolledDevice:
    """One device, the requests it is polled with, and how it answers; ``index`` is its place in the descriptor."""

    def __init__(
        self,
        *,
        index: int,
        name: str,
        unit: int,
        interval_ms: int,
        requests: Requests | Queries,
        daily: DailyReads | None = None,
    ) -> None:
        self.index = index
        self.name = name
        self.unit = unit
        self.interval_ms = interval_ms
        self.requests: RequestPlan = requests
        self.unsupported: frozenset[Value | Query] = frozenset()
        self.daily = daily
        self.backoff = _backoff(name)
        self.silent_until_ms: int | None = None
        self.silence = STATUS_TIMEOUT
        self.failing = False
        self.unheard: dict[Block | Query, int] = {}

    def next_tick(self, now_ms: int) -> int:
        """Return the first multiple of the interval after ``now_ms``."""
        return (now_ms // self.interval_ms + 1) * self.interval_ms

    def due(self, now_ms: int) -> list[Block | Query]:
        """Return what to ask in a poll: first what was answered the last time, last what was not."""
        blocks = self.requests.due(now_ms)
        return sorted(blocks, key=lambda block: self.unheard.get(block, 0)) if self.unheard else list(blocks)

    def hear(self, block: Block | Query) -> None:
        """Take note that ``block`` was answered. While all are, as nearly always, there is nothing to remember."""
        if self.unheard:
            self.unheard[block] = _HEARD
            if all(seen == _HEARD for seen in self.unheard.values()):
                self.unheard.clear()

    def miss(self, block: Block | Query, *, alive: bool) -> None:
        """Take note that ``block`` got no answer; ``alive`` says that others did in the same poll."""
        self.unheard[block] = max(self.unheard.get(block, 0), _UNHEARD) + alive

    def refuses_silently(self, block: Block | Query) -> bool:
        """Whether only ``block`` gets no answer, poll after poll."""
        return self.unheard.get(block, 0) >= _UNHEARD + _UNHEARD_BELIEVED


class Poller:
    """The one owner of a connection."""

    def __init__(
        self,
        name: str,
        connection: Connection | MeterConnection,
        devices: list[PolledDevice],
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._name = name
        self._connection = connection
        self._devices = devices
        self._recorder = recorder
        self._clock = clock
        self._backoff = _backoff(name)
        self._closed_until_ms: int | None = None
        self._unanswered = 0
        self._reads_daily = any(device.daily is not None for device in devices)

    async def run(self, until_ms: int | None = None) -> None:
        """Poll until cancelled, or until the next poll would be at ``until_ms`` or later."""
        start_ms = self._clock.now_ms() - 1
        due = [(device.next_tick(start_ms), device.index, device) for device in self._devices]
        heapq.heapify(due)
        try:
            while due and (until_ms is None or due[0][0] < until_ms):
                tick_ms, index, device = due[0]
                await self._clock.sleep_until(tick_ms)
                await self._poll(device)
                if self._reads_daily:
                    await self._read_daily()
                if self._recorder.full:
                    await self._recorder.flush()
                heapq.heapreplace(due, (self._tick_after(tick_ms, device), index, device))
        finally:
            self._connection.close()

    def _tick_after(self, tick_ms: int, device: PolledDevice) -> int:
        """Return the next tick: never the same again, none made up for, and soon again after a clock was set back."""
        now_ms = self._clock.now_ms()
        set_back = now_ms < tick_ms - device.interval_ms
        return device.next_tick(now_ms if set_back else max(now_ms, tick_ms))

    async def _poll(self, device: PolledDevice) -> None:
        if not self._connection.is_open and not await self._open():
            self._fail(device, device.requests.standing, STATUS_CONNECTION)
            return
        if device.silent_until_ms is not None and self._clock.elapsed_ms() < device.silent_until_ms:
            self._fail(device, device.requests.standing, device.silence)
            return
        waiting = deque(device.due(self._clock.elapsed_ms()))
        answered = garbled = unheard = 0
        while waiting:
            block = waiting.popleft()
            reading = await self._read(device, block)
            self._record(device, block, reading)
            garbled += reading.status == STATUS_MALFORMED
            if reading.status == STATUS_TIMEOUT:
                unheard += 1
                device.miss(block, alive=answered > 0)
            alone = reading.status == STATUS_TIMEOUT and answered
            if (reading.status in _SILENT and not alone) or garbled >= _GARBLED_LIMIT:
                self._unanswered_read(device, reading.status)
                self._fail(device, waiting, device.silence)
                return
            waiting.extendleft(reversed(self._take(device, block, reading.status)))
            if unheard >= _UNHEARD_LIMIT:
                self._fail(device, waiting, STATUS_TIMEOUT)
                break
            answered += reading.status not in (STATUS_MALFORMED, STATUS_TIMEOUT)
        if answered:
            self._answered(device)
        elif garbled:
            self._unanswered_read(device, STATUS_MALFORMED)
        self._note_unsupported(device)

    def _take(self, device: PolledDevice, block: Block | Query, status: int) -> tuple[Block | Query, ...]:
        """Learn from one answer what the device can be asked; return what to ask instead in the same poll."""
        now_ms = self._clock.elapsed_ms()
        if status == STATUS_OK:
            device.hear(block)
            device.requests.answered(block, now_ms)
        elif status in _REFUSED:
            return device.requests.refused(block, status, now_ms)
        elif status == STATUS_TIMEOUT and device.refuses_silently(block):
            device.requests.refused(block, status, now_ms)
        else:
            log.debug("%s: status %d for %s", device.name, status, block)
        return ()

    async def _read(self, device: PolledDevice, block: Block | Query) -> Reading:
        if isinstance(block, Query):
            return await cast("MeterConnection", self._connection).ask(block.address, block.request)
        connection = cast("Connection", self._connection)
        return await connection.read(device.unit, block.function, block.address, block.count)

    def _record(self, device: PolledDevice, block: Block | Query, reading: Reading) -> None:
        if isinstance(block, Block):
            self._recorder.add(device.index, device.unit, block, reading)
            return
        self._recorder.add_answer(
            device.index,
            block.request,
            time_ms=reading.time_ms,
            status=reading.status,
            data=None if reading.words is None else bytes(reading.words),
            round_trip_ms=reading.round_trip_ms,
            series=len(block.fields),
        )

    async def _read_daily(self) -> None:
        """Read what is due once a day, as far as a small part of the shortest poll interval goes: no poll waits."""
        shortest_ms = min(device.interval_ms for device in self._devices)
        end_ms = self._clock.elapsed_ms() + shortest_ms // _DAILY_SHARE
        for device in self._devices:
            while device.daily is not None and self._connection.is_open and not device.failing:
                block = device.daily.next(self._clock.now_ms())
                if block is None:
                    break
                reading = await self._read(device, block)
                self._recorder.add_once(device.index, device.unit, block, reading)
                for event in device.daily.take(reading):
                    self._recorder.note(event)
                if reading.status == STATUS_CONNECTION:
                    self._connection.close()
                if reading.status in _SILENT or self._clock.elapsed_ms() >= end_ms:
                    return

    async def _open(self) -> bool:
        if self._closed_until_ms is not None and self._clock.elapsed_ms() < self._closed_until_ms:
            return False
        if await self._connection.open():
            if self._closed_until_ms is not None:
                log.info("%s: connected again", self._name)
            self._closed_until_ms = None
            self._unanswered = 0
            self._backoff.reset()
            return True
        if self._closed_until_ms is None:
            log.warning("%s: no connection; trying again until there is one", self._name)
        self._closed_until_ms = self._clock.elapsed_ms() + self._backoff.next_ms()
        return False

    def _fail(self, device: PolledDevice, blocks: Iterable[Block | Query], status: int) -> None:
        now_ms = self._clock.now_ms()
        for block in blocks:
            self._record(device, block, Reading(now_ms, status, None, 0))

    def _unanswered_read(self, device: PolledDevice, status: int) -> None:
        if not device.failing:
            log.warning("%s: %s", device.name, "answers garbage" if status == STATUS_MALFORMED else "does not answer")
        device.failing = True
        device.silence = STATUS_TIMEOUT if status in _BEHIND_GATEWAY else status
        if status == STATUS_CONNECTION:
            self._connection.close()
            return
        device.silent_until_ms = self._clock.elapsed_ms() + device.backoff.next_ms()
        self._unanswered = self._unanswered + 1 if status == STATUS_TIMEOUT else 0
        if self._unanswered >= _UNANSWERED_LIMIT and all(other.failing for other in self._devices):
            # Nobody has answered for some time: the connection itself may be dead although nothing has closed it.
            self._connection.close()
            self._unanswered = 0

    def _answered(self, device: PolledDevice) -> None:
        if device.failing:
            log.info("%s: answers again", device.name)
        device.failing = False
        device.silent_until_ms = None
        device.backoff.reset()
        self._unanswered = 0

    def _note_unsupported(self, device: PolledDevice) -> None:
        found = device.requests.unsupported(self._clock.elapsed_ms())
        values = frozenset(one.value for one in found)
        for one in found:
            if one.value not in device.unsupported:
                text = "%s: has no %s (exception %d); asking again from time to time"
                log.warning(text, device.name, one.value, one.exception)
        for value in device.unsupported - values:
            log.info("%s: %s answers again", device.name, value)
        if found or device.unsupported:
            said = tuple(f"{one.value}: {status_text(one.exception)}" for one in found)
            self._recorder.devices.note_unsupported(device.index, said)
        device.unsupported = values


def _backoff(name: str) -> Backoff:
    """Return the back-off of a device or connection; its jitter differs by name and repeats from run to run."""
    return Backoff(FIRST_BACKOFF_MS, LAST_BACKOFF_MS, random.Random(name))  # noqa: S311 - jitter, not a secret
