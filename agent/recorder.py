"""From readings to records: collects reads into frames and closes them into signed records."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from agent.clock import Clock
from agent.drivers import Reading
from agent.errors import SpoolError
from agent.journal import JournalThread
from agent.planner import Block
from wire.descriptor import Descriptor
from wire.event import Event
from wire.frame import STATUS_OK, Frame, FrameBuilder
from wire.limits import MAXIMUM_FRAMES

log = logging.getLogger(__name__)

RECORD_BYTES = 128 * 1024
"""A record is closed when its frames have this much uncompressed: whatever the words, it keeps to the limit."""

MEMORY_BYTES = 8 * 2**20
"""What may wait in memory while the disk refuses; then the agent gives up, so that its supervisor notices."""

CLOCK_STEP_MS = 250
"""A difference between time of day and monotonic time that is put on record; slewing changes both alike."""

_READ_OVERHEAD = 5


class Recorder:
    """Collects the reads of all devices and closes them into records through the journal."""

    def __init__(self, journal: JournalThread, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._builders: dict[tuple[int, int, int, int], FrameBuilder] = {}
        self._closed: list[Frame] = []
        self._pending = 0
        self._step_reference = clock.now_ms() - clock.elapsed_ms()
        self.values = 0

    @property
    def full(self) -> bool:
        """Whether enough is collected that a record should be closed now, before its time."""
        return self._pending >= RECORD_BYTES

    def add(self, device: int, unit: int, block: Block, reading: Reading) -> None:
        """Take one reading of ``block`` of the descriptor's device number ``device``."""
        key = (device, block.function, block.address, block.count)
        builder = self._builders.get(key)
        if builder is None:
            builder = self._builders[key] = FrameBuilder(device, unit, block.function, block.address, block.count)
        try:
            builder.add(reading.time_ms, reading.status, reading.words, reading.round_trip_ms)
        except ValueError:
            if not len(builder):
                raise
            self._closed.append(builder.build())
            builder.add(reading.time_ms, reading.status, reading.words, reading.round_trip_ms)
        self._pending += _READ_OVERHEAD
        if reading.status == STATUS_OK:
            self._pending += 2 * block.count
            self.values += len(block.values)

    async def begin(self, descriptor: Descriptor) -> None:
        """Write what a start calls for: the descriptor when it is new or changed, and the events of that."""
        known = await self._journal.descriptor()
        if known != descriptor:
            await self._journal.append(descriptor)
        if known is not None and known != descriptor:
            await self._journal.append(Event("configuration", {"reason": _difference(known, descriptor)}))
            for device, old, new in _replaced(known, descriptor):
                await self._journal.append(
                    Event("meter_replaced", {"device": device, "serial_before": old, "serial_after": new})
                )
        await self._journal.append(Event("start", {"software": descriptor.software}))

    async def flush(self) -> None:
        """Close what was collected into records. Reads added meanwhile go into the next ones.

        While the disk fails the reads stay in memory and the next flush tries again; raises `SpoolError` when too much
        has gathered.
        """
        frames = self._closed + [builder.build() for builder in self._builders.values() if len(builder)]
        pending, self._pending, self._closed = self._pending, 0, []
        written = 0
        try:
            await self._note_clock_step()
            for group in _records(frames):
                await self._journal.append(group, sum(frame.n for frame in group))
                written += len(group)
        except SpoolError as error:
            self._closed = frames[written:] + self._closed
            self._pending += pending
            if self._pending > MEMORY_BYTES:
                raise
            log.error("%s; %d bytes of reads wait in memory", error, self._pending)

    async def end(self) -> None:
        """Write what a clean stop calls for: what was collected, and the event."""
        await self.flush()
        await self._journal.append(Event("stop", {"reason": "asked to stop"}))

    async def _note_clock_step(self) -> None:
        now_ms = self._clock.now_ms()
        reference = now_ms - self._clock.elapsed_ms()
        step_ms = reference - self._step_reference
        if abs(step_ms) >= CLOCK_STEP_MS:
            log.warning("the clock was set by %d ms", step_ms)
            event = Event("clock_step", {"before_ms": now_ms - step_ms, "after_ms": now_ms, "step_ms": step_ms})
            await self._journal.append(event)
            self._step_reference = reference


def _records(frames: list[Frame]) -> Iterator[tuple[Frame, ...]]:
    """Share frames out to records, each within the limits of one."""
    group: list[Frame] = []
    size = 0
    for frame in frames:
        frame_size = len(frame.words) + _READ_OVERHEAD * frame.n
        if group and (size + frame_size > 2 * RECORD_BYTES - 2**16 or len(group) >= MAXIMUM_FRAMES):
            yield tuple(group)
            group, size = [], 0
        group.append(frame)
        size += frame_size
    if group:
        yield tuple(group)


def _difference(old: Descriptor, new: Descriptor) -> str:
    """Say in a sentence which devices were added, removed or changed."""
    before = {device.id: device for device in old.devices}
    after = {device.id: device for device in new.devices}
    parts = [
        ("added", [name for name in after if name not in before]),
        ("removed", [name for name in before if name not in after]),
        ("changed", [name for name in after if name in before and before[name] != after[name]]),
    ]
    said = "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)
    if not said:
        same = replace(old, software=new.software) == new
        said = f"software {new.software}" if same else "order of devices, time zone or software"
    return said if len(said.encode()) <= 1000 else said.encode()[:997].decode(errors="ignore") + "..."


def _replaced(old: Descriptor, new: Descriptor) -> Iterator[tuple[str, str, str]]:
    before = {device.id: device.serial_number for device in old.devices}
    for device in new.devices:
        serial = before.get(device.id)
        if serial and device.serial_number and serial != device.serial_number:
            yield device.id, serial, device.serial_number
