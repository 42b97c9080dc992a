"""Days: the unit that baselines are fitted on and verdicts are given by.

The rule: a local day is used when at least 90 % of its intervals are complete in every series that a KPI needs. Sums
run over the complete intervals only, so that a ratio's two sides cover the same time; a day's value for a model is
its mean over the complete intervals times the intervals of the day. Other days are excluded, counted and listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from evidence.quantities import Aggregation
from evidence.result import ExcludedDay, PeriodUse
from evidence.table import DAY_MS, FloatArray, IntArray, IntervalTable, day_start_ms

if TYPE_CHECKING:
    from evidence.plan import Period

COMPLETE_TENTHS = 9
"""A day is used from nine tenths of its intervals on (the coverage rule of this project; CalTRACK 2.0 asks for
half)."""


@dataclass(frozen=True)
class PeriodDays:
    """The days of a period, used or not.

    All arrays are as long as ``days``: ``expected`` and ``complete`` count intervals, ``used`` marks the days that
    count, ``sums`` has one array a series over the complete intervals of each day, and ``present`` counts the
    intervals that each series has on its own. ``left_out`` are the days that the plan leaves out because of an event.
    """

    days: tuple[date, ...]
    expected: IntArray
    complete: IntArray
    used: NDArray[np.bool_]
    sums: Mapping[str, FloatArray]
    present: Mapping[str, IntArray]
    aggregation: Mapping[str, Aggregation]
    left_out: frozenset[date] = frozenset()

    @property
    def n_used(self) -> int:
        """Number of used days."""
        return int(np.count_nonzero(self.used))

    @property
    def coverage(self) -> float:
        """Used days as a fraction of all days of the period."""
        return self.n_used / len(self.days)

    @property
    def used_days(self) -> tuple[date, ...]:
        """The used days."""
        return tuple(day for day, used in zip(self.days, self.used, strict=True) if used)

    @property
    def used_ordinals(self) -> IntArray:
        """Proleptic day numbers of the used days: their differences are distances in days."""
        return np.array([day.toordinal() for day in self.used_days], dtype=np.int64)

    def used_sums(self, name: str) -> FloatArray:
        """Sums over the complete intervals of each used day."""
        return self.sums[name][self.used]

    def used_values(self, name: str) -> FloatArray:
        """Value of each used day for a model: a full day's increment, or the day's mean."""
        means = self.sums[name][self.used] / self.complete[self.used]
        if self.aggregation[name] is Aggregation.INCREMENT:
            return means * self.expected[self.used]
        return means

    def use(self) -> PeriodUse:
        """Return which days are used and why the others are not."""
        excluded = tuple(self._excluded(position) for position in np.flatnonzero(~self.used).tolist())
        return PeriodUse(days=len(self.days), used=self.n_used, excluded=excluded)

    def _excluded(self, position: int) -> ExcludedDay:
        expected, complete = int(self.expected[position]), int(self.complete[position])
        short = [n for n, present in self.present.items() if 10 * present[position] < COMPLETE_TENTHS * expected]
        lacking = [n for n, present in self.present.items() if present[position] < expected]
        reason: Literal["no_data", "incomplete", "non_routine_event"] = "incomplete" if complete else "no_data"
        if self.days[position] in self.left_out:
            reason = "non_routine_event"
        return ExcludedDay(
            day=self.days[position], reason=reason, complete=complete / expected, missing=tuple(short or lacking)
        )


def period_days(
    table: IntervalTable, period: Period, names: Sequence[str], derived: Mapping[str, FloatArray] | None = None
) -> PeriodDays:
    """Gather the intervals of ``period`` into production days, for a KPI that needs the series ``names``.

    ``derived`` are increments computed from those series, one value an interval of ``table``; they are summed like
    them.
    """
    count = (period.to - period.start).days
    days = tuple(period.start + timedelta(days=offset) for offset in range(count))
    edges = _edges(table, (*days, period.to))
    position = np.searchsorted(edges, table.time_ms, side="right") - 1
    inside = (position >= 0) & (position < count)
    position = position[inside]
    values = {name: table.stated(name)[inside] for name in names}
    present = {name: np.isfinite(column) for name, column in values.items()}
    common = np.logical_and.reduce(list(present.values()))
    expected = np.ones(count, dtype=np.int64) if table.step_ms == DAY_MS else np.diff(edges) // table.step_ms
    complete = np.bincount(position[common], minlength=count).astype(np.int64)
    return PeriodDays(
        days=days,
        expected=expected,
        complete=complete,
        used=10 * complete >= COMPLETE_TENTHS * expected,
        sums={
            n: np.bincount(position[common], weights=v[common], minlength=count).astype(np.float64)
            for n, v in (values | {name: column[inside] for name, column in (derived or {}).items()}).items()
        },
        present={n: np.bincount(position[p], minlength=count).astype(np.int64) for n, p in present.items()},
        aggregation={name: table.series[name].definition.aggregation for name in names},
        left_out=frozenset().union(*(table.left_out.get(name, frozenset()) for name in names)),
    )


def part_of(table: IntervalTable, period: Period) -> IntervalTable:
    """The intervals of ``table`` in the production days of ``period``."""
    first, end = _edges(table, (period.start, period.to))
    inside = (table.time_ms >= first) & (table.time_ms < end)
    values = {name: column[inside] for name, column in table.values.items()}
    return replace(table, time_ms=table.time_ms[inside], values=values)


def _edges(table: IntervalTable, days: Sequence[date]) -> IntArray:
    start = time(0) if table.step_ms == DAY_MS else table.day_start
    return np.array([day_start_ms(day, start, table.zone) for day in days], dtype=np.int64)
