"""Polls the devices of one connection, each at its own interval, one request at a time.

Polls are aligned to the wall clock: a device with an interval of 5 minutes is read at :00, :05, :10, whenever the agent
was started, and a late poll does not shift the next one. A device that does not answer costs the others on its
connection at most one time-out; until its back-off is over it is recorded as silent without being asked. A connection
that cannot be opened is tried again with a back-off of its own. Every poll leaves a read in the record, good or not.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections import deque

from agent.backoff import Backoff
from agent.clock import Clock
from agent.drivers import Connection, Reading
from agent.models import Limits
from agent.planner import Block, split_at_gaps
from agent.recorder import Recorder
from wire.frame import STATUS_CONNECTION, STATUS_OK, STATUS_TIMEOUT

log = logging.getLogger(__name__)

FIRST_BACKOFF_MS = 500
LAST_BACKOFF_MS = 10_000
_UNANSWERED_LIMIT = 3
_REFUSED = frozenset({1, 2, 3})
"""Illegal function, address, value: what devices answer when a block reaches over registers they do not have."""

_BEHIND_GATEWAY = frozenset({10, 11})
"""A Modbus gateway's own word that the device behind it is out of reach; each costs the gateway's time-out."""

_SILENT = _BEHIND_GATEWAY | {STATUS_TIMEOUT, STATUS_CONNECTION}


class PolledDevice:
    """One device, the requests it is polled with, and how it answers; ``index`` is its place in the descriptor."""

    def __init__(
        self, *, index: int, name: str, unit: int, interval_ms: int, blocks: tuple[Block, ...], limits: Limits
    ) -> None:
        self.index = index
        self.name = name
        self.unit = unit
        self.interval_ms = interval_ms
        self.blocks = blocks
        self.limits = limits
        self.backoff = _backoff(name)
        self.silent_until_ms: int | None = None
        self.failing = False

    def next_tick(self, now_ms: int) -> int:
        """Return the first multiple of the interval after ``now_ms``."""
        return (now_ms // self.interval_ms + 1) * self.interval_ms


class Poller:
    """The one owner of a connection."""

    def __init__(
        self, name: str, connection: Connection, devices: list[PolledDevice], recorder: Recorder, clock: Clock
    ) -> None:
        self._name = name
        self._connection = connection
        self._devices = devices
        self._recorder = recorder
        self._clock = clock
        self._backoff = _backoff(name)
        self._closed_until_ms: int | None = None
        self._unanswered = 0

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
            self._fail(device, device.blocks, STATUS_CONNECTION)
            return
        if device.silent_until_ms is not None and self._clock.elapsed_ms() < device.silent_until_ms:
            self._fail(device, device.blocks, STATUS_TIMEOUT)
            return
        waiting = deque(device.blocks)
        while waiting:
            block = waiting.popleft()
            reading = await self._connection.read(device.unit, block.function, block.address, block.count)
            self._recorder.add(device.index, device.unit, block, reading)
            if reading.status in _SILENT:
                self._fail(device, waiting, STATUS_TIMEOUT if reading.status in _BEHIND_GATEWAY else reading.status)
                self._unanswered_read(device, reading.status)
                return
            if reading.status in _REFUSED:
                waiting.extendleft(reversed(self._split(device, block)))
            elif reading.status != STATUS_OK:
                log.debug(
                    "%s: status %d for %d registers at %d", device.name, reading.status, block.count, block.address
                )
        self._answered(device)

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

    def _fail(self, device: PolledDevice, blocks: tuple[Block, ...] | deque[Block], status: int) -> None:
        now_ms = self._clock.now_ms()
        for block in blocks:
            self._recorder.add(device.index, device.unit, block, Reading(now_ms, status, None, 0))

    def _unanswered_read(self, device: PolledDevice, status: int) -> None:
        if not device.failing:
            log.warning("%s: does not answer", device.name)
        device.failing = True
        if status == STATUS_CONNECTION:
            self._connection.close()
            return
        device.silent_until_ms = self._clock.elapsed_ms() + device.backoff.next_ms()
        self._unanswered = 0 if status in _BEHIND_GATEWAY else self._unanswered + 1
        if self._unanswered >= _UNANSWERED_LIMIT:
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

    def _split(self, device: PolledDevice, block: Block) -> tuple[Block, ...]:
        """After an exception for a block that bridges gaps: read its values without the gaps, now and from now on."""
        parts = split_at_gaps(block, device.limits)
        if len(parts) == 1:
            return ()
        log.info("%s: refuses %d registers at %d; reading around the gaps", device.name, block.count, block.address)
        position = device.blocks.index(block)
        device.blocks = device.blocks[:position] + parts + device.blocks[position + 1 :]
        return parts


def _backoff(name: str) -> Backoff:
    """Return the back-off of a device or connection; its jitter differs by name and repeats from run to run."""
    return Backoff(FIRST_BACKOFF_MS, LAST_BACKOFF_MS, random.Random(name))  # noqa: S311 - jitter, not a secret
