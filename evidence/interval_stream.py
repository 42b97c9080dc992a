"""Intervals of a long run of records in bounded memory: a week at a time, while the records go by in their order.

A week is computed as soon as the records have passed it by `evidence.intervals.MARGIN_MS`: nothing that comes later can
change it then, unless it is out of order. What is out of order (a clock was set back, a descriptor stands behind the
samples that name it) is noticed, and the weeks it touches are computed again from a further reading of the records, so
that the result is the one of `evidence.intervals.build_intervals` over the whole range, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evidence.errors import IntervalError
from evidence.intervals import MARGIN_MS, SeriesIntervals, StateDurations, build_intervals
from evidence.readings import SkippedRecord
from evidence.record_table import FrameTable
from wire.descriptor import Descriptor
from wire.record import Payload

CHUNK_MS = 7 * 86_400_000
"""How much is computed at once; a chunk of steps that do not divide it is the next longer one that they do."""

REPEATED_CHUNKS = 4
"""Chunks that one further reading of the records serves: what of them is in memory at once."""

Span = tuple[int, int]
Part = tuple[Iterable[Payload], Iterable[FrameTable]]
"""Payloads in order of seq, and the samples of further records among them."""

Reading = Callable[[], Iterable[Part]]
"""Reads the same records from the beginning."""


@dataclass
class IntervalStream:
    """Intervals that start in ``[from_ms, to_ms)`` of the series ``wanted`` (full ids), from payloads in order of seq.

    ``descriptors`` (by hash of their record) may grow while payloads are added. All times in ms UTC; the range is made
    of whole steps.
    """

    from_ms: int
    to_ms: int
    step_ms: int
    wanted: Collection[str]
    descriptors: Mapping[bytes, Descriptor]

    def __post_init__(self) -> None:
        if self.step_ms <= 0 or self.to_ms <= self.from_ms or (self.to_ms - self.from_ms) % self.step_ms:
            raise IntervalError(
                f"{self.from_ms} to {self.to_ms} is not made of whole steps of {self.step_ms} ms; "
                "choose whole intervals"
            )
        length = -(-CHUNK_MS // self.step_ms) * self.step_ms
        self._chunks = [(start, min(start + length, self.to_ms)) for start in range(self.from_ms, self.to_ms, length)]
        self._built: dict[int, dict[str, SeriesIntervals]] = {}
        self._next = 0
        self._window: list[_Told] = []
        self._repeat: set[int] = set()
        self._lacking: dict[int, set[bytes]] = {}
        self._skipped: dict[int, list[SkippedRecord]] = {}

    def add(self, payloads: Iterable[Payload], tables: Iterable[FrameTable] = ()) -> None:
        """Take the payloads, and the samples of further records, that follow those added before."""
        added = list(_told(payloads, tables))
        self._window += added
        if self._next:
            for one in added:
                self._repeat.update(number for number in range(self._next) if self._touches(one, number))
        floor = min((one.span[0] for one in added if one.samples), default=self.from_ms)
        while self._next < len(self._chunks) and self._chunks[self._next][1] + MARGIN_MS <= floor:
            self._build(self._next, self._window)
            self._next += 1
            if self._next < len(self._chunks):
                begin = self._chunks[self._next][0] - MARGIN_MS
                self._window = [one for one in self._window if one.span[1] >= begin]

    def finish(self, again: Reading) -> dict[str, SeriesIntervals]:
        """Return the intervals of each wanted series that any payload has readings of.

        ``again`` reads everything that was added once more; it is called when some of it was out of order.
        """
        for number in range(self._next, len(self._chunks)):
            self._build(number, self._window)
        self._next, self._window = len(self._chunks), []
        repeated = self._repeat | {
            number for number, names in self._lacking.items() if any(name in self.descriptors for name in names)
        }
        ordered = sorted(repeated)
        for first in range(0, len(ordered), REPEATED_CHUNKS):
            numbers = ordered[first : first + REPEATED_CHUNKS]
            window = [
                one for part in again() for one in _told(*part) if any(self._touches(one, number) for number in numbers)
            ]
            for number in numbers:
                self._build(number, window)
        return self._joined()

    @property
    def skipped(self) -> list[SkippedRecord]:
        """The records that could not be read, in order of seq."""
        # What lies at a border is read for both sides of it.
        found = {(one.seq, one.reason): one for skipped in self._skipped.values() for one in skipped}
        return [found[key] for key in sorted(found)]

    def _touches(self, told: _Told, number: int) -> bool:
        """Whether something told can change what a chunk holds."""
        begin, end = self._chunks[number]
        if told.span[1] < begin - MARGIN_MS or told.span[0] >= end + MARGIN_MS:
            return False
        return told.table is None or bool(told.table.within(begin - MARGIN_MS, end + MARGIN_MS).seq.size)

    def _build(self, number: int, window: Sequence[_Told]) -> None:
        begin, end = self._chunks[number]
        payloads: list[Payload] = []
        tables: list[FrameTable] = []
        for one in window:
            if one.table is not None:
                table = one.table.within(begin - MARGIN_MS, end + MARGIN_MS)
                tables += [table] if table.seq.size else []
            elif one.payload is not None and self._touches(one, number):
                payloads.append(one.payload)
        named = {one.descriptor for one in payloads if one.frames} | {one.descriptor for one in tables}
        self._lacking[number] = named - set(self.descriptors)
        built = build_intervals(payloads, self.descriptors, begin, end, self.step_ms, tables=tables)
        self._built[number] = {name: built.columns[name] for name in self.wanted if name in built.columns}
        self._skipped[number] = built.skipped

    def _joined(self) -> dict[str, SeriesIntervals]:
        known = {name for built in self._built.values() for name in built}
        return {
            name: _join([
                self._built[number].get(name) or _nothing(chunk, self.step_ms)
                for number, chunk in enumerate(self._chunks)
            ])
            for name in self.wanted
            if name in known
        }  # fmt: skip


@dataclass(frozen=True)
class _Told:
    """A payload or a table, and first and last time of what it tells."""

    span: Span
    payload: Payload | None = None
    table: FrameTable | None = None

    @property
    def samples(self) -> bool:
        return self.payload is None or bool(self.payload.frames)


def _told(payloads: Iterable[Payload], tables: Iterable[FrameTable]) -> Iterator[_Told]:
    for payload in payloads:
        frames = payload.frames
        if frames:
            span = min(frame.times_ms[0] for frame in frames), max(frame.times_ms[-1] for frame in frames)
        else:
            span = payload.time_ms, payload.time_ms
        yield _Told(span, payload=payload)
    for table in tables:
        yield _Told(table.span_ms, table=table)


def _nothing(chunk: Span, step_ms: int) -> SeriesIntervals:
    times = np.arange(*chunk, step_ms, dtype=np.int64)
    unknown, zero = np.full(times.size, np.nan), np.zeros(times.size)
    return SeriesIntervals(
        times, unknown, unknown, unknown, unknown, unknown, zero.astype(np.int64), unknown, unknown, zero
    )


def _join(parts: list[SeriesIntervals]) -> SeriesIntervals:
    """Put intervals that follow each other in time into one."""
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_ms", "first", "last", "minimum", "maximum", "sum", "count", "mean", "increase", "coverage")
    }
    begins = np.cumsum([0, *(part.time_ms.size for part in parts)]).tolist()
    states = [(begin, part.states) for begin, part in zip(begins, parts, strict=False) if part.states is not None]
    return SeriesIntervals(
        **columns,
        states=None
        if not states
        else StateDurations(
            interval=np.concatenate([part.interval + begin for begin, part in states]),
            value=np.concatenate([part.value for _, part in states]),
            duration_ms=np.concatenate([part.duration_ms for _, part in states]),
        ),
    )
