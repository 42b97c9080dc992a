"""Intervals from records: per series and interval what was read, how much a counter rose, and how much of it is known.

The result does not depend on the order of the records nor on how the readings are divided among them, and an interval
comes out bit for bit the same whether a day or a year is computed, provided that the records reach ``MARGIN_MS`` beyond
both ends of the range. Counters of an integer type are computed in raw counts and scaled at the end: an interval whose
ends are readings rises by exactly ``(count at end - count at start) * scale``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from evidence.columns import FloatArray, IntArray
from evidence.counters import (
    HORIZON_MS,
    NEIGHBOURS,
    Anomaly,
    GapReason,
    Replacement,
    Segments,
    bridge,
    disconnect,
    join,
    segment_counter,
)
from evidence.errors import IntervalError
from evidence.readings import (
    Readings,
    Setting,
    SkippedRecord,
    collect_readings,
    collect_replacements,
    merge_readings,
)
from evidence.record_table import FrameTable
from wire.descriptor import Descriptor, Series
from wire.record import Payload

QUARTER_HOUR_MS = 900_000
MARGIN_MS = 3 * HORIZON_MS
"""Records this far before and after a range can change what its intervals hold; nothing further away can."""

COMPLETE_COVERAGE = 0.99
"""An interval known to at least this fraction is complete."""


Integers = Sequence[int] | IntArray
Numbers = Sequence[float | None] | FloatArray


class IntervalLists(Protocol):
    """Intervals of one series as lists or arrays of one length; the fields of `SeriesIntervals`."""

    @property
    def time_ms(self) -> Integers: ...
    @property
    def first(self) -> Numbers: ...
    @property
    def last(self) -> Numbers: ...
    @property
    def minimum(self) -> Numbers: ...
    @property
    def maximum(self) -> Numbers: ...
    @property
    def sum(self) -> Numbers: ...
    @property
    def count(self) -> Integers: ...
    @property
    def mean(self) -> Numbers: ...
    @property
    def increase(self) -> Numbers: ...
    @property
    def coverage(self) -> Numbers: ...
    @property
    def states(self) -> Sequence[dict[str, int] | None]: ...


@dataclass(frozen=True)
class StateDurations:
    """How long a state series had which value: parallel int64 arrays, ordered by interval, then value.

    ``interval`` is an index into the intervals, ``duration_ms`` is above zero.
    """

    interval: IntArray
    value: IntArray
    duration_ms: IntArray

    def of(self, interval: int) -> dict[int, int]:
        """Milliseconds a value within one interval."""
        first, last = np.searchsorted(self.interval, [interval, interval + 1])
        return dict(zip(self.value[first:last].tolist(), self.duration_ms[first:last].tolist(), strict=True))

    def duration_of(self, value: int, intervals: int) -> IntArray:
        """Milliseconds (int64) that the series had ``value``, for each of ``intervals`` intervals."""
        chosen = self.value == value
        durations = np.zeros(intervals, dtype=np.int64)
        durations[self.interval[chosen]] = self.duration_ms[chosen]
        return durations


@dataclass(frozen=True)
class SeriesIntervals:
    """Intervals of one series; arrays of one entry an interval, in order of time.

    ``time_ms`` (int64): starts, ms since the epoch. ``first``, ``last``, ``minimum``, ``maximum``, ``sum`` (float64,
    unit of the series) and ``count`` (int64) tell of the good readings inside; a counter's discarded readings are not
    among them. ``mean``: time-weighted (trapezoid between connected readings), gauges only. ``increase``: counters
    only; the part of the interval that is known. ``coverage``: the fraction that lies between connected readings, 0..1.
    What does not exist is NaN. ``states``: state series only.
    """

    time_ms: IntArray
    first: FloatArray
    last: FloatArray
    minimum: FloatArray
    maximum: FloatArray
    sum: FloatArray
    count: IntArray
    mean: FloatArray
    increase: FloatArray
    coverage: FloatArray
    states: StateDurations | None = None

    @classmethod
    def from_lists(cls, lists: IntervalLists) -> SeriesIntervals:
        """Intervals as a database keeps them: None where nothing exists, states as maps with text keys."""
        some = lists.states.count(None) < len(lists.states)
        known = [(i, states) for i, states in enumerate(lists.states) if states is not None] if some else []
        durations = sorted((i, _whole(state), _whole(ms)) for i, states in known for state, ms in states.items())
        rows = np.array(durations, dtype=np.int64).reshape(-1, 3)
        return cls(
            time_ms=np.array(lists.time_ms, dtype=np.int64),
            first=np.array(lists.first, dtype=np.float64),
            last=np.array(lists.last, dtype=np.float64),
            minimum=np.array(lists.minimum, dtype=np.float64),
            maximum=np.array(lists.maximum, dtype=np.float64),
            sum=np.array(lists.sum, dtype=np.float64),
            count=np.array(lists.count, dtype=np.int64),
            mean=np.array(lists.mean, dtype=np.float64),
            increase=np.array(lists.increase, dtype=np.float64),
            coverage=np.array(lists.coverage, dtype=np.float64),
            states=StateDurations(rows[:, 0], rows[:, 1], rows[:, 2]) if known else None,
        )


def _whole(value: object) -> int:
    """A state or its duration; what is no number becomes one that no record gives, so that a proof names it."""
    text = str(value)
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else -1


@dataclass(frozen=True)
class IntervalSet:
    """Intervals of one gateway. ``columns`` and ``series`` (the newest description) are keyed by full series id."""

    gateway: str
    step_ms: int
    columns: dict[str, SeriesIntervals]
    series: dict[str, Series]
    anomalies: list[Anomaly]
    skipped: list[SkippedRecord]


def complete_values(intervals: SeriesIntervals, kind: Literal["increase", "mean"]) -> FloatArray:
    """Increase or mean of each interval (float64) where the interval is complete, NaN elsewhere."""
    values = intervals.increase if kind == "increase" else intervals.mean
    return np.where(intervals.coverage >= COMPLETE_COVERAGE, values, np.nan)


def complete_durations(intervals: SeriesIntervals, states: Sequence[int]) -> FloatArray:
    """Seconds of each interval (float64) that a state series was in one of ``states``; NaN where it is not complete.

    What is not known of a complete interval (less than 1 %) counts for no state.
    """
    seconds = np.zeros(intervals.time_ms.size)
    if intervals.states is not None:
        for state in states:
            seconds += intervals.states.duration_of(state, seconds.size) / 1000
    return np.where(intervals.coverage >= COMPLETE_COVERAGE, seconds, np.nan)


def build_intervals(
    records: Iterable[Payload],
    descriptors: Mapping[bytes, Descriptor],
    from_ms: int,
    to_ms: int,
    step_ms: int = QUARTER_HOUR_MS,
    *,
    tables: Sequence[FrameTable] = (),
) -> IntervalSet:
    """Intervals of all series of one gateway that start in ``[from_ms, to_ms)``.

    ``records`` (in any order) may reach beyond the range, and should by `MARGIN_MS`; so may ``tables``, the samples of
    further records of the gateway. ``descriptors`` are keyed by the
    hash of the record that carried them; frames are read with the one their record names, and skipped when it is not
    known. Event records ``meter_replaced`` among ``records`` say where a counter went on in another meter: their detail
    holds ``device``, ``series``, ``final_reading`` (old meter), ``first_reading`` (new meter), both in the unit of the
    series, and ``time_ms`` where the event is not the time of the record. Raises `IntervalError` when the range is not
    made of whole steps or the records come from several gateways.
    """
    if step_ms <= 0 or to_ms <= from_ms or (to_ms - from_ms) % step_ms:
        raise IntervalError(f"{from_ms} to {to_ms} is not made of whole steps of {step_ms} ms; choose whole intervals")
    ordered = sorted(records, key=lambda payload: payload.seq)
    gateways = sorted({payload.gateway for payload in ordered})
    if len(gateways) > 1:
        raise IntervalError(f"the records come from {', '.join(gateways)}; build intervals for one gateway at a time")
    skipped: list[SkippedRecord] = []
    readings = collect_readings(ordered, descriptors, skipped, tables)
    replacements = collect_replacements(ordered, skipped)
    grid = _Grid(from_ms, step_ms, (to_ms - from_ms) // step_ms)
    columns: dict[str, SeriesIntervals] = {}
    series: dict[str, Series] = {}
    anomalies: list[Anomaly] = []
    movements = _Movements(grid)
    for series_id, pieces in readings.items():
        merged = merge_readings(pieces)
        newest = pieces[-1].setting.series
        if newest.kind == "counter":
            columns[series_id], found = _counter_intervals(merged, replacements[series_id], grid)
            anomalies += [replace(anomaly, series=series_id) for anomaly in found if from_ms <= anomaly.time_ms < to_ms]
        else:
            columns[series_id] = _moving_intervals(merged, newest.kind == "state", movements)
        series[series_id] = newest
    anomalies.sort(key=lambda anomaly: (anomaly.time_ms, anomaly.series))
    return IntervalSet(gateways[0] if gateways else "", step_ms, columns, series, anomalies, skipped)


@dataclass(frozen=True)
class _Grid:
    from_ms: int
    step_ms: int
    intervals: int

    @property
    def starts_ms(self) -> IntArray:
        return self.from_ms + self.step_ms * np.arange(self.intervals, dtype=np.int64)

    @property
    def to_ms(self) -> int:
        return self.from_ms + self.step_ms * self.intervals


@dataclass(frozen=True)
class _Part:
    """Segments counted in multiples of ``quantum``; a reading ``r`` stands for ``r * quantum + offset``."""

    segments: Segments
    quantum: float
    offset: float


def _counter_intervals(
    readings: Readings, replacements: Sequence[Replacement], grid: _Grid
) -> tuple[SeriesIntervals, list[Anomaly]]:
    parts = _count(readings, replacements)
    by_quantum: dict[float, list[Segments]] = defaultdict(list)
    for part in parts:
        by_quantum[part.quantum].append(part.segments)
    increase = np.zeros(grid.intervals)
    covered = np.zeros(grid.intervals, dtype=np.int64)
    for quantum, segments in by_quantum.items():
        known = join(segments)
        chosen = known.reason == GapReason.NONE
        start, end, step = known.start_ms[chosen], known.end_ms[chosen], known.increment[chosen]
        cut = _cut(start, end, grid)
        share = _along(cut.end_ms, start, end, cut.segment) * step[cut.segment]
        share -= _along(cut.start_ms, start, end, cut.segment) * step[cut.segment]
        increase += np.bincount(cut.interval, weights=share, minlength=grid.intervals) * quantum
        covered += cut.covered_ms(grid)
    increase[covered == 0] = np.nan
    kept = np.zeros(readings.time_ms.size, dtype=np.bool_)
    for part in parts:
        kept[np.searchsorted(readings.time_ms, part.segments.kept_ms)] = True
    anomalies = [
        replace(
            anomaly,
            before=anomaly.before * part.quantum + part.offset,
            after=anomaly.after * part.quantum + part.offset,
        )
        for part in parts
        for anomaly in part.segments.anomalies
    ]
    intervals = _statistics(readings.time_ms[kept], readings.values[kept], grid)
    return replace(intervals, increase=increase, coverage=covered / grid.step_ms), anomalies


def _count(readings: Readings, replacements: Sequence[Replacement]) -> list[_Part]:
    """Segments of each stretch of readings that is one count, and of the passages from one stretch to the next."""
    remaining = list(replacements)
    settings = readings.settings
    firsts = [next(i for i, one in enumerate(settings) if one.same_count(setting)) for setting in settings]
    changes = (np.flatnonzero(np.diff(np.array(firsts, dtype=np.int64)[readings.setting])) + 1).tolist()
    passages = [_pass(readings, change, remaining) for change in changes]
    parts: list[_Part] = []
    for number, (start, end) in enumerate(zip([0, *changes], [*changes, readings.time_ms.size], strict=True)):
        setting = settings[int(readings.setting[start])] if end > start else settings[0]
        quantum = setting.quantum
        counts, offset = _counts(readings, setting)
        time_ms = readings.time_ms[start:end]
        scaled = [
            replace(
                one,
                final_reading=(one.final_reading - offset) / quantum,
                first_reading=(one.first_reading - offset) / quantum,
            )
            for one in remaining
        ]
        segments = segment_counter(time_ms, counts[start:end], setting.rules(quantum), scaled)
        parts.append(_Part(_disconnect(readings, segments), quantum, offset))
        parts += passages[number : number + 1]
    return parts


def _pass(readings: Readings, change: int, remaining: list[Replacement]) -> _Part:
    """The segment between the last reading of one count and the first of the next.

    A replacement that explains it is taken from ``remaining``.
    """
    old, new = (readings.settings[int(readings.setting[index])] for index in (change - 1, change))
    if old.same_meaning(new):
        counts, offset = _counts(readings, new)
        pair = slice(change - 1, change + 1)
        segments = segment_counter(readings.time_ms[pair], counts[pair], new.rules(new.quantum))
        return _Part(_disconnect(readings, segments), new.quantum, offset)
    start = max(change - 1 - NEIGHBOURS, 0)
    around = slice(start, change + 1 + NEIGHBOURS)
    time_ms, values, rules = readings.time_ms[around], readings.values[around], new.rules(1.0)
    segments = bridge(time_ms, values, change - start, rules, None)
    for replacement in remaining:
        if time_ms[0] - HORIZON_MS <= replacement.time_ms <= time_ms[-1] + HORIZON_MS:
            bridged = bridge(time_ms, values, change - start, rules, replacement)
            if bridged.reason[0] != GapReason.METER_CHANGED:
                segments = bridged
                remaining.remove(replacement)
                break
    return _Part(_disconnect(readings, segments), 1.0, 0.0)


def _disconnect(readings: Readings, segments: Segments) -> Segments:
    return disconnect(segments, readings.gap_limit_ms(segments.start_ms, segments.end_ms))


def _counts(readings: Readings, setting: Setting) -> tuple[FloatArray, float]:
    """Readings in multiples of the setting's quantum, and the value of a reading of zero."""
    if setting.quantum == setting.series.scale and setting.series.type.counts:
        return readings.raw, setting.series.offset
    return readings.values, 0.0


@dataclass(frozen=True)
class _Movement:
    """What the times of the readings of a gauge or state say, whatever their values are.

    ``connected`` tells of each reading but the last whether the next one is connected with it. The connected pairs are
    the segments of ``cut``; ``middle`` is how far along its segment the middle of each piece lies, times two.
    """

    connected: npt.NDArray[np.bool_]
    cut: _Cut
    middle: FloatArray
    covered_ms: IntArray

    @classmethod
    def of(cls, readings: Readings, grid: _Grid) -> _Movement:
        """Connect the readings and cut what lies between them at the borders of the intervals."""
        earlier_ms, later_ms = readings.time_ms[:-1], readings.time_ms[1:]
        connected = later_ms - earlier_ms <= readings.gap_limit_ms(earlier_ms, later_ms)
        start, end = earlier_ms[connected], later_ms[connected]
        cut = _cut(start, end, grid)
        middle = _along(cut.start_ms, start, end, cut.segment) + _along(cut.end_ms, start, end, cut.segment)
        return cls(connected, cut, middle, cut.covered_ms(grid))


class _Movements:
    """Works out each movement once: all series that are read together have one array of times."""

    def __init__(self, grid: _Grid) -> None:
        self.grid = grid
        self._kept: dict[tuple[int, int], tuple[IntArray, _Movement]] = {}

    def of(self, readings: Readings) -> _Movement:
        """Return the movement of ``readings``."""
        limit = readings.only_gap_limit_ms
        if limit is None:
            return _Movement.of(readings, self.grid)
        key = (id(readings.time_ms), limit)
        if key not in self._kept:
            # With the array itself, so that no other can get its identity.
            self._kept[key] = readings.time_ms, _Movement.of(readings, self.grid)
        return self._kept[key][1]


def _moving_intervals(readings: Readings, is_state: bool, movements: _Movements) -> SeriesIntervals:
    """Intervals of a gauge or a state: between connected readings a gauge moves straight, a state stays what it was."""
    grid, movement = movements.grid, movements.of(readings)
    cut, covered = movement.cut, movement.covered_ms
    before, after = readings.values[:-1][movement.connected], readings.values[1:][movement.connected]
    intervals = replace(_statistics(readings.time_ms, readings.values, grid), coverage=covered / grid.step_ms)
    if is_state:
        return replace(intervals, states=_state_durations(cut, before))
    middle = before[cut.segment] + (after - before)[cut.segment] * movement.middle / 2
    integral = np.bincount(cut.interval, weights=middle * (cut.end_ms - cut.start_ms), minlength=grid.intervals)
    mean = np.full(grid.intervals, np.nan)
    np.divide(integral, covered, out=mean, where=covered > 0)
    return replace(intervals, mean=mean)


def _state_durations(cut: _Cut, values: FloatArray) -> StateDurations:
    codes, position = np.unique(np.clip(np.rint(values), -(2.0**62), 2.0**62), return_inverse=True)
    key = cut.interval * max(codes.size, 1) + position[cut.segment]
    keys, row = np.unique(key, return_inverse=True)
    interval, position = np.divmod(keys, max(codes.size, 1))
    return StateDurations(
        interval=interval,
        value=codes.astype(np.int64)[position],
        duration_ms=_milliseconds(row, cut.end_ms - cut.start_ms, keys.size),
    )


def _milliseconds(row: IntArray, durations_ms: IntArray, rows: int) -> IntArray:
    """Sum of the durations of each row; exact, for sums below 2**53 ms."""
    return np.bincount(row, weights=durations_ms, minlength=rows).astype(np.int64)


@dataclass(frozen=True)
class _Cut:
    """Segments cut at the borders of the intervals: parallel arrays, one entry a piece.

    For every interval the order of its pieces is the same whatever the grid's range is: their sums are, too.
    """

    segment: IntArray
    interval: IntArray
    start_ms: IntArray
    end_ms: IntArray

    def covered_ms(self, grid: _Grid) -> IntArray:
        """Milliseconds of each interval that the pieces cover."""
        return _milliseconds(self.interval, self.end_ms - self.start_ms, grid.intervals)


def _cut(start_ms: IntArray, end_ms: IntArray, grid: _Grid) -> _Cut:
    first = (start_ms - grid.from_ms) // grid.step_ms
    last = (end_ms - 1 - grid.from_ms) // grid.step_ms
    segment = np.arange(start_ms.size, dtype=np.int64)
    segments, intervals = [segment[:0]], [segment[:0]]
    number = 0
    while segment.size:
        interval = first[segment] + number
        inside = (interval >= 0) & (interval < grid.intervals)
        segments.append(segment[inside])
        intervals.append(interval[inside])
        segment = segment[interval < last[segment]]
        number += 1
    chosen, interval = np.concatenate(segments), np.concatenate(intervals)
    border_ms = grid.from_ms + interval * grid.step_ms
    return _Cut(
        segment=chosen,
        interval=interval,
        start_ms=np.maximum(start_ms[chosen], border_ms),
        end_ms=np.minimum(end_ms[chosen], border_ms + grid.step_ms),
    )


def _along(time_ms: IntArray, start_ms: IntArray, end_ms: IntArray, segment: IntArray) -> FloatArray:
    """How far along its segment each time is: exactly 0 at the start, exactly 1 at the end."""
    return np.asarray((time_ms - start_ms[segment]) / (end_ms - start_ms)[segment])


def _statistics(time_ms: IntArray, values: FloatArray, grid: _Grid) -> SeriesIntervals:
    """First, last, extremes, sum and count of the readings in each interval; the rest is left unknown."""
    starts_ms = grid.starts_ms
    borders = np.searchsorted(time_ms, np.append(starts_ms, grid.to_ms))
    begin, end = borders[:-1], borders[1:]
    filled = np.flatnonzero(end > begin)
    inside = values[borders[0] : borders[-1]]
    unknown = np.full(grid.intervals, np.nan)
    first, last, minimum, maximum = (unknown.copy() for _ in range(4))
    total = unknown.copy()
    if filled.size:
        offsets = begin[filled] - borders[0]
        first[filled], last[filled] = values[begin[filled]], values[end[filled] - 1]
        minimum[filled], maximum[filled] = np.minimum.reduceat(inside, offsets), np.maximum.reduceat(inside, offsets)
        interval = np.repeat(filled, (end - begin)[filled])
        total[filled] = np.bincount(interval, weights=inside, minlength=grid.intervals)[filled]
    return SeriesIntervals(
        time_ms=starts_ms,
        first=first,
        last=last,
        minimum=minimum,
        maximum=maximum,
        sum=total,
        count=(end - begin).astype(np.int64),
        mean=unknown,
        increase=unknown,
        coverage=np.zeros(grid.intervals),
    )
