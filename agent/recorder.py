"""From readings to records: collects reads into frames and closes them into signed records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from agent.clock import Clock, ClockStep, ClockWatch
from agent.devices import DeviceStates
from agent.drivers import Reading
from agent.errors import SpoolError
from agent.journal import JournalThread
from agent.newest import AnswerRead, NewestReads, NodeRead, RegisterRead
from agent.planner import Block
from agent.queries import Query
from wire.descriptor import Descriptor
from wire.event import Event
from wire.frame import (
    STATUS_OK,
    AnswerFrame,
    AnswerFrameBuilder,
    AnyFrame,
    Frame,
    FrameBuilder,
    NodeFrameBuilder,
    NodeSample,
    Variant,
)
from wire.limits import MAXIMUM_FRAMES
from wire.node import OPC_UNCERTAIN
from wire.record import Body

log = logging.getLogger(__name__)

RECORD_BYTES = 128 * 1024
"""A record is closed when its frames have this much uncompressed: whatever the words, it keeps to the limit."""

MEMORY_BYTES = 8 * 2**20
"""What may wait in memory while the disk refuses; beyond it the oldest half of the reads is given up, on record."""

_READ_OVERHEAD = 5
_SAMPLE_SIZE = 32

_Builder = FrameBuilder | AnswerFrameBuilder | NodeFrameBuilder
_Entry = AnyFrame | Descriptor | Event


class Recorder:
    """Collects the reads of all devices and closes them into records through the journal.

    ``values`` counts the good values of series, ``devices`` says how each device answers, ``waiting_bytes`` is about
    what the disk has refused and waits in memory. ``newest`` is given what was read last, where somebody wants it.
    """

    def __init__(self, journal: JournalThread, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._watch = ClockWatch(clock)
        self._registers: dict[tuple[int, int, int, int], FrameBuilder] = {}
        self._answers: dict[tuple[int, bytes], AnswerFrameBuilder] = {}
        self._nodes: dict[tuple[int, str], NodeFrameBuilder] = {}
        self._queue: list[_Entry] = []
        self._pending = 0
        self._order = asyncio.Lock()
        self._descriptor: Descriptor | None = None
        self.devices = DeviceStates()
        self.newest: NewestReads | None = None
        self.waiting_bytes = 0
        self.values = 0

    @property
    def drift_ppm(self) -> float | None:
        """What the clock gains on its oscillator, see `agent.clock.ClockWatch`."""
        return self._watch.drift_ppm

    @property
    def full(self) -> bool:
        """Whether enough is collected that a record should be closed now, before its time."""
        return self._pending >= RECORD_BYTES

    def add(self, device: int, unit: int, block: Block, reading: Reading) -> None:
        """Take one reading of ``block`` of the descriptor's device number ``device``.

        A clock that was set since the last one ends all frames, and the event stands between those before and after.
        """
        if (step := self._watch.step()) is None:
            self._collect(device, unit, block, reading)
        else:
            self._around(step, reading.time_ms, partial(self._collect, device, unit, block, reading))

    def add_once(self, device: int, unit: int, request: Block | Query, reading: Reading) -> None:
        """Take one reading of a request that is made now and then: it gets a frame of its own; otherwise as `add`."""

        def collect() -> None:
            self.devices.note(device, reading.time_ms, reading.status)
            self._queue.append(_frame_of_one(device, unit, request, reading))
            self._pending += _READ_OVERHEAD + 2 * len(reading.words or ())
            if self.newest is not None:
                self.newest.note(_read_once(device, request, reading))

        self._in_order(reading.time_ms, collect)

    def note(self, event: Event) -> None:
        """Have ``event`` written with the next `flush`, behind what was taken by `add_once` before."""
        self._queue.append(event)

    def add_answer(
        self,
        device: int,
        request: bytes,
        *,
        time_ms: int,
        status: int,
        data: bytes | None,
        round_trip_ms: int,
        series: int,
    ) -> None:
        """Take one answer (see `wire.answer.AnswerFrame`) that holds ``series`` series; otherwise as `add`."""

        def collect() -> None:
            self.devices.note(device, time_ms, status)
            builder = self._answers.get((device, request))
            if builder is None:
                builder = self._answers[device, request] = AnswerFrameBuilder(device, request)
            self._into(builder, time_ms, status, data, round_trip_ms)
            self._pending += _READ_OVERHEAD + len(data or b"")
            self.values += series if status == STATUS_OK else 0
            if self.newest is not None:
                self.newest.note(AnswerRead(device, request, time_ms, status, data))

        self._in_order(time_ms, collect)

    def add_sample(
        self, device: int, node: str, sample: NodeSample, variant: Variant, *, round_trip_ms: int = 0, series: int = 1
    ) -> None:
        """Take one value of an OPC UA node (see `wire.node.NodeFrame`) that ``series`` series are; else as `add`."""

        def collect() -> None:
            good = sample.status < OPC_UNCERTAIN
            self.devices.note(device, sample.time_ms, STATUS_OK if good else sample.status >> 16)
            builder = self._nodes.get((device, node))
            if builder is None:
                builder = self._nodes[device, node] = NodeFrameBuilder(device, node)
            self._into(builder, sample, variant, round_trip_ms)
            self._pending += _SAMPLE_SIZE + (len(sample.value.encode()) if isinstance(sample.value, str) else 0)
            self.values += series if good and sample.value is not None else 0
            if self.newest is not None:
                self.newest.note(NodeRead(device, node, sample, variant))

        self._in_order(sample.time_ms, collect)

    def _in_order(self, time_ms: int, collect: Callable[[], None]) -> None:
        if (step := self._watch.step()) is None:
            collect()
        else:
            self._around(step, time_ms, collect)

    def _around(self, step: ClockStep, time_ms: int, collect: Callable[[], None]) -> None:
        if step.belongs_before(time_ms):
            collect()
        self._close_frames()
        self._queue.append(step.event())
        if not step.belongs_before(time_ms):
            collect()

    def _collect(self, device: int, unit: int, block: Block, reading: Reading) -> None:
        self.devices.note(device, reading.time_ms, reading.status)
        key = (device, block.function, block.address, block.count)
        builder = self._registers.get(key)
        if builder is None:
            builder = self._registers[key] = FrameBuilder(device, unit, block.function, block.address, block.count)
        self._into(builder, reading.time_ms, reading.status, reading.words, reading.round_trip_ms)
        self._pending += _READ_OVERHEAD
        if reading.status == STATUS_OK:
            self._pending += 2 * block.count
            self.values += len(block.values)
        if self.newest is not None:
            self.newest.note(RegisterRead(*key, reading.time_ms, reading.status, reading.words))

    def _into(self, builder: _Builder, *read: Any) -> None:
        """Add to a frame; when it cannot stand in this one, in the next."""
        try:
            builder.add(*read)
        except ValueError:
            if not len(builder):
                raise
            self._queue.append(builder.build())
            builder.add(*read)

    async def begin(self, descriptor: Descriptor) -> None:
        """Write what a start calls for: what the run before lost when it was cut off, a new or changed descriptor, and
        the events of that."""
        self._descriptor = await self._journal.descriptor()
        if (cut_ms := await self._journal.cut_off_ms()) is not None:
            reason = "the agent ended without a stop: what it had read since its last record is lost"
            detail: dict[str, int | float | str | bytes] = {
                "first_ms": cut_ms,
                "last_ms": max(cut_ms, self._clock.now_ms()),
                "reason": reason,
            }
            self._queue.append(Event("loss", detail))
        self._queue.extend((*self._changed_to(descriptor), Event("start", {"software": descriptor.software})))
        await self.flush()

    def reconfigure(self, descriptor: Descriptor) -> None:
        """Put ``descriptor`` in force, when it differs: for the reads added from now on, not for those added before.

        The records of it are written with the next `flush`, in this order.
        """
        self._close_frames()
        self._registers.clear()
        self._answers.clear()
        self._nodes.clear()
        self._queue.extend(self._changed_to(descriptor))
        self.devices.forget()
        if self.newest is not None:
            self.newest.follow(descriptor)

    def _changed_to(self, descriptor: Descriptor) -> Iterator[Descriptor | Event]:
        known, self._descriptor = self._descriptor, descriptor
        return changes(known, descriptor)

    async def flush(self) -> None:
        """Close what was collected into records. Reads added meanwhile go into the next ones.

        While the disk fails the reads stay in memory and the next flush tries again; when too much has gathered, the
        oldest are given up and an event says so. Whoever waits for a flush may be cancelled, the flush itself goes on.
        """
        await asyncio.shield(asyncio.create_task(self._flush()))

    async def _flush(self) -> None:
        async with self._order:
            step, change = self._watch.step(), self._watch.change()
            self._close_frames()
            if step is not None:
                self._queue.append(step.event())
            if change is not None:
                self._queue.append(change)
            queue, self._queue = self._queue, []
            pending, self._pending = self._pending, 0
            written = 0
            try:
                for body, entries, samples in _records(queue):
                    await self._journal.append(body, samples)
                    written += entries
                self.waiting_bytes = 0
            except SpoolError as error:
                self._queue = queue[written:] + self._queue
                self._pending += pending
                if self._pending > MEMORY_BYTES:
                    self._give_up_oldest()
                self.waiting_bytes = self._pending
                log.error("%s; %d bytes of reads wait in memory", error, self._pending)

    def _give_up_oldest(self) -> None:
        """Drop the oldest half of the frames that wait, and let an event say what was lost."""
        waiting = [entry for entry in self._queue if not isinstance(entry, Descriptor | Event)]
        lost = waiting[: (len(waiting) + 1) // 2]
        if not lost:
            return
        detail: dict[str, int | float | str | bytes] = {
            "samples": sum(frame.n for frame in lost),
            "first_ms": min(frame.times_ms[0] for frame in lost),
            "last_ms": max(frame.times_ms[-1] for frame in lost),
            "reason": "the disk did not take records for too long",
        }
        first = self._queue[0]
        if isinstance(first, Event) and first.name == "loss" and "samples" in first.detail:
            del self._queue[0]
            detail["samples"] = int(first.detail["samples"]) + sum(frame.n for frame in lost)
            detail["first_ms"] = min(int(first.detail["first_ms"]), *(frame.times_ms[0] for frame in lost))
        log.error("reads are given up because the disk does not take them: %d samples", detail["samples"])
        given_up = {id(frame) for frame in lost}
        kept = [entry for entry in self._queue if id(entry) not in given_up]
        self._queue = [Event("loss", detail), *kept]
        self._pending = self._pending * (len(waiting) - len(lost)) // len(waiting)

    def _close_frames(self) -> None:
        """End all frames and put them in the queue: of each kind in the order in which their first read came."""
        builders: tuple[_Builder, ...] = (
            *self._registers.values(),
            *self._answers.values(),
            *self._nodes.values(),
        )
        self._queue.extend(builder.build() for builder in builders if len(builder))

    async def end(self) -> None:
        """Write what a clean stop calls for: what was collected, and the event."""
        await self.flush()
        await self._journal.append(Event("stop", {"reason": "asked to stop"}))


def changes(known: Descriptor | None, descriptor: Descriptor) -> Iterator[Descriptor | Event]:
    """Yield what puts ``descriptor`` in force after ``known``: nothing when they are equal, else it and its events."""
    if known == descriptor:
        return
    yield descriptor
    if known is None:
        return
    yield Event("configuration", {"reason": _difference(known, descriptor)})
    for device, old, new in _replaced(known, descriptor):
        yield Event("meter_replaced", {"device": device, "serial_before": old, "serial_after": new})


def _frame_of_one(device: int, unit: int, request: Block | Query, reading: Reading) -> Frame | AnswerFrame:
    if isinstance(request, Query):
        answers = AnswerFrameBuilder(device, request.request)
        data = None if reading.words is None else bytes(reading.words)
        answers.add(reading.time_ms, reading.status, data, reading.round_trip_ms)
        return answers.build()
    registers = FrameBuilder(device, unit, request.function, request.address, request.count)
    registers.add(reading.time_ms, reading.status, reading.words, reading.round_trip_ms)
    return registers.build()


def _read_once(device: int, request: Block | Query, reading: Reading) -> RegisterRead | AnswerRead:
    if isinstance(request, Query):
        data = None if reading.words is None else bytes(reading.words)
        return AnswerRead(device, request.request, reading.time_ms, reading.status, data, polled=False)
    key = (device, request.function, request.address, request.count)
    return RegisterRead(*key, reading.time_ms, reading.status, reading.words, polled=False)


def _records(queue: list[_Entry]) -> Iterator[tuple[Body, int, int]]:
    """Share the queue out to records in its order; yield each body, how many entries it takes, and its reads.

    Frames that stand together share records, each within the limits of one.
    """
    group: list[AnyFrame] = []
    size = 0
    for entry in queue:
        frame_size = entry.size + _READ_OVERHEAD * entry.n if isinstance(entry, AnyFrame) else 0
        too_large = size + frame_size > 2 * RECORD_BYTES - 2**16 or len(group) >= MAXIMUM_FRAMES
        if group and (too_large or not isinstance(entry, AnyFrame)):
            yield tuple(group), len(group), sum(frame.n for frame in group)
            group, size = [], 0
        if isinstance(entry, AnyFrame):
            group.append(entry)
            size += frame_size
        else:
            yield entry, 1, 0
    if group:
        yield tuple(group), len(group), sum(frame.n for frame in group)


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
