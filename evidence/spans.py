"""Amounts and means over periods of any length become an interval table: bills, shifts, days, quarter hours together.

The step of the table is the longest that an increment of the plan needs: nothing is refined that was not measured so.
Only means may be repeated within their period, because the mean of a part is then the best that is known of it. Amounts
of several whole production days (a bill) are divided evenly among them, and the series is named as `SpanTable.spread`:
their sum over the period is right, their days are not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from evidence.days import COMPLETE_TENTHS
from evidence.errors import TableError
from evidence.quantities import Aggregation
from evidence.table import DAY_MS, MINUTE_MS, FloatArray, IntArray, IntervalTable, day_start_ms, local_date, midnight_ms

if TYPE_CHECKING:
    from evidence.plan import Plan

PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Spans:
    """Values of one series over half-open periods (UTC ms), by start, none overlapping; NaN is no value.

    ``working_ms`` is how much of a day the periods of a whole day cover together, where it is not all of it (shifts).
    """

    start_ms: IntArray
    end_ms: IntArray
    values: FloatArray
    working_ms: int | None = None

    def before(self, time_ms: int) -> Spans:
        """The periods that end at or before a time."""
        return self._part(self.end_ms <= time_ms)

    def since(self, time_ms: int) -> Spans:
        """The periods that begin at or after a time."""
        return self._part(self.start_ms >= time_ms)

    def known(self) -> Spans:
        """The periods that have a value."""
        return self._part(np.isfinite(self.values))

    def within(self, from_ms: int, to_ms: int) -> Spans:
        """The periods that lie in a range of time."""
        return self.since(from_ms).before(to_ms)

    def _part(self, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Spans:
        return Spans(self.start_ms[kept], self.end_ms[kept], self.values[kept], self.working_ms)

    @property
    def step_ms(self) -> int:
        """The common length of the periods when it divides a day evenly, else a day; of shifts always a day."""
        if self.working_ms is not None:
            return DAY_MS
        lengths = np.unique(self.end_ms - self.start_ms)
        if lengths.size != 1 or lengths[0] >= DAY_MS or DAY_MS % lengths[0] or lengths[0] % MINUTE_MS:
            return DAY_MS
        return int(lengths[0])


def make_spans(rows: Sequence[tuple[int, int, float]], working_ms: int | None = None) -> Spans:
    """Spans from (start, end, value), in any order. Raises `ValueError` when periods overlap."""
    ordered = sorted(rows)
    starts, ends, values = zip(*ordered, strict=True) if ordered else ((), (), ())
    made = Spans(
        np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64), np.array(values, dtype=np.float64), working_ms
    )
    if bool(np.any(made.start_ms[1:] < made.end_ms[:-1])):
        raise ValueError("periods overlap")
    return made


def together(parts: Sequence[Spans], *, increments: bool) -> Spans:
    """Several sources as one: their sum (increments) or mean over the periods that all of them have."""
    if len(parts) == 1:
        return parts[0]
    known = [{(start, end): value for start, end, value in _rows(part)} for part in parts]
    shared = set.intersection(*(set(one) for one in known))
    rows = [(*period, sum(one[period] for one in known) / (1 if increments else len(known))) for period in shared]
    return make_spans(rows, parts[0].working_ms)


def _rows(spans: Spans) -> list[tuple[int, int, float]]:
    return list(zip(spans.start_ms.tolist(), spans.end_ms.tolist(), spans.values.tolist(), strict=True))


@dataclass(frozen=True)
class SpanTable:
    """The table, and the series whose days are parts of longer amounts."""

    table: IntervalTable
    spread: frozenset[str]


def table_of_spans(plan: Plan, pieces: Mapping[str, Sequence[Spans]]) -> SpanTable:
    """The plan's series over its whole span. ``pieces`` has for each series the spans of its sources, one behind the
    other; several sources of one piece are added up before.

    Raises `TableError` when a series has no spans, or when periods lie across the days of the plan.
    """
    absent = [f"series '{name}' has no values" for name in plan.series if not pieces.get(name)]
    if absent:
        raise TableError(absent)
    step_ms = common_step_ms(plan, pieces)
    edges = _edges(plan, step_ms)
    values: dict[str, FloatArray] = {}
    spread = set()
    problems: list[str] = []
    for name, series in plan.series.items():
        filling = _Filling(name, edges, series.definition.aggregation is Aggregation.INCREMENT, step_ms)
        for piece in pieces[name]:
            filling.take(piece)
        values[name] = filling.column
        problems += filling.problems(plan)
        if filling.spread:
            spread.add(name)
    if problems:
        raise TableError(problems)
    starts = edges[:-1]
    if step_ms == DAY_MS:
        days = [local_date(int(start), plan.zone) for start in starts]
        starts = np.array([midnight_ms(day, plan.zone) for day in days], dtype=np.int64)
    table = IntervalTable(starts, step_ms, values, plan.series, plan.zone, plan.day_start)
    return SpanTable(table, frozenset(spread))


def common_step_ms(plan: Plan, pieces: Mapping[str, Sequence[Spans]]) -> int:
    """The shortest step that no increment has to be divided for; a day where the lengths do not fit each other."""
    increments: list[int] = []
    means: list[int] = []
    for name, series in plan.series.items():
        steps = [piece.step_ms for piece in pieces[name] if piece.values.size]
        (increments if series.definition.aggregation is Aggregation.INCREMENT else means).extend(steps)
    step_ms = max(increments or means, default=DAY_MS)
    start = plan.day_start
    start_ms = MINUTE_MS * (60 * start.hour + start.minute)
    fits = all(step_ms % one == 0 for one in increments) and start_ms % step_ms == 0
    # A mean over a length that neither divides nor is divided evenly would lie across intervals.
    fits = fits and all(step_ms % one == 0 or one % step_ms == 0 for one in means)
    return step_ms if fits else DAY_MS


def _edges(plan: Plan, step_ms: int) -> IntArray:
    from_ms, to_ms = plan.span_ms
    if step_ms != DAY_MS:
        return np.arange(from_ms, to_ms + 1, step_ms, dtype=np.int64)
    count = (plan.reporting.to - plan.baseline.start).days
    days = (plan.baseline.start + timedelta(days=offset) for offset in range(count + 1))
    return np.array([day_start_ms(day, plan.day_start, plan.zone) for day in days], dtype=np.int64)


class _Filling:
    """One series on its way into the intervals between ``edges``."""

    def __init__(self, name: str, edges: IntArray, increments: bool, step_ms: int) -> None:
        self._name, self._edges, self._increments, self._step_ms = name, edges, increments, step_ms
        self._across: list[int] = []
        self.column: FloatArray = np.full(edges.size - 1, np.nan)
        self.spread = False

    def take(self, spans: Spans) -> None:
        """Put a piece into the intervals that it covers."""
        spans = spans.within(int(self._edges[0]), int(self._edges[-1])).known()
        first = np.searchsorted(self._edges, spans.start_ms, side="right") - 1
        inside = spans.end_ms <= self._edges[np.minimum(first + 1, self._edges.size - 1)]
        self._short(spans, first, inside)
        for position in np.flatnonzero(~inside).tolist():
            self._long(int(spans.start_ms[position]), int(spans.end_ms[position]), float(spans.values[position]))

    def _short(self, spans: Spans, first: IntArray, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        size = self.column.size
        length = (spans.end_ms - spans.start_ms)[inside]
        weights = spans.values[inside] * (1.0 if self._increments else length)
        covered = np.bincount(first[inside], weights=length, minlength=size)
        total = np.bincount(first[inside], weights=weights, minlength=size)
        expected = np.diff(self._edges).astype(np.float64)
        if spans.working_ms is not None and self._step_ms == DAY_MS:
            expected = np.full(size, float(spans.working_ms))
        daily = self._step_ms == DAY_MS
        known = (covered > 0) & (10 * covered >= (COMPLETE_TENTHS if daily else 10) * expected)
        # What is missing of a day, at most a tenth, is taken to be as the rest of it.
        scale = expected / np.where(covered > 0, covered, 1.0) if self._increments else 1.0 / np.maximum(covered, 1.0)
        whole = covered == expected
        scaled = np.where(whole & self._increments, total, total * scale)
        self.column[known] = scaled[known]

    def _long(self, start_ms: int, end_ms: int, value: float) -> None:
        first, last = np.searchsorted(self._edges, (start_ms, end_ms))
        aligned = self._edges[first] == start_ms and self._edges[last] == end_ms
        if not aligned:
            self._across.append(start_ms)
            return
        count = int(last - first)
        if self._increments:
            self.spread = True
        self.column[first:last] = value / count if self._increments else value

    def problems(self, plan: Plan) -> list[str]:
        """Periods that neither lie in one day of the plan nor consist of whole ones."""
        shown = [
            datetime.fromtimestamp(start / 1000, plan.zone).strftime("%Y-%m-%d %H:%M")
            for start in self._across[:PROBLEMS_SHOWN]
        ]
        if not shown:
            return []
        more = f" and {len(self._across) - len(shown)} more" if len(self._across) > len(shown) else ""
        return [
            f"series '{self._name}': periods from {', '.join(shown)}{more} lie across {plan.day_start:%H:%M}, "
            "when the plan's days begin; give plan and mapping the same day_start"
        ]
