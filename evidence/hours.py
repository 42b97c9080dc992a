"""The hours of a period's used days, for models that are fitted on hours.

An hour counts when nine tenths of its intervals are complete in every series, as for days. CalTRACK 2.0 asks of hourly
data more than nine tenths of the hours of each calendar month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evidence.days import COMPLETE_TENTHS, PeriodDays, part_of, period_days
from evidence.quantities import Aggregation
from evidence.result import Reason
from evidence.table import FloatArray, IntArray, IntervalTable, day_start_ms

if TYPE_CHECKING:
    from evidence.plan import Period

HOUR_MS = 3_600_000
MINIMUM_MONTH_SHARE = 0.9
"""Of the hours of each calendar month (CalTRACK 2.0, hourly methods); more than this is needed."""


@dataclass(frozen=True)
class MonthHours:
    """A calendar month (``YYYY-MM``) of a period: how many of its hours in the period count."""

    month: str
    hours: int
    complete: int

    @property
    def share(self) -> float:
        """Hours that count over hours there are."""
        return self.complete / self.hours


@dataclass(frozen=True)
class PeriodHours:
    """The complete hours of the used days of a period, in order.

    ``ordinals`` are the proleptic numbers of their production days, ``hours`` their local hours (0 to 23), ``values``
    an hour's increment, or its mean. ``months`` count all complete hours, those of unused days, too.
    """

    days: PeriodDays
    ordinals: IntArray
    hours: IntArray
    values: Mapping[str, FloatArray]
    months: tuple[MonthHours, ...]

    @property
    def row_days(self) -> tuple[date, ...]:
        """The production day of each hour."""
        return tuple(date.fromordinal(ordinal) for ordinal in self.ordinals.tolist())


def period_hours(table: IntervalTable, period: Period, names: Sequence[str]) -> PeriodHours:
    """Gather the intervals of ``period`` into hours, for a KPI that needs the series ``names``.

    The step of ``table`` divides an hour (`takes_hours`).
    """
    days = period_days(table, period, names)
    part = part_of(table, period)
    expected = HOUR_MS // table.step_ms
    origin = day_start_ms(period.start, table.day_start, table.zone)
    position = (part.time_ms - origin) // HOUR_MS
    count = int(position[-1]) + 1 if len(position) else 0
    columns = {name: part.stated(name) for name in names}
    common = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
    complete = np.bincount(position[common], minlength=count)
    starts = origin + HOUR_MS * np.arange(count, dtype=np.int64)
    local = [datetime.fromtimestamp(start / 1000, table.zone) for start in starts.tolist()]
    clock = np.array([moment.hour for moment in local], dtype=np.int64)
    # What comes before the production day begins belongs to the day before.
    ordinals = np.array([moment.date().toordinal() for moment in local], dtype=np.int64) - (
        clock < table.day_start.hour
    )
    enough = 10 * complete >= COMPLETE_TENTHS * expected
    used = enough & np.isin(ordinals, days.used_ordinals)
    values = {}
    for name, column in columns.items():
        sums = np.bincount(position[common], weights=column[common], minlength=count)[used] / complete[used]
        increment = table.series[name].definition.aggregation is Aggregation.INCREMENT
        values[name] = sums * expected if increment else sums
    months = _months(days, [f"{moment:%Y-%m}" for moment in local], enough)
    return PeriodHours(days, ordinals[used], clock[used], values, months)


def takes_hours(table: IntervalTable) -> bool:
    """Whether each interval of ``table`` lies in one hour, and hours begin with production days."""
    return table.step_ms <= HOUR_MS and HOUR_MS % table.step_ms == 0 and table.day_start.minute == 0


def needs_hours() -> Reason:
    """A model of hours, and a table whose intervals are longer or lie across hours."""
    return Reason(
        code="needs_hours",
        level="blocking",
        en="The plan asks for a model of hours, and the intervals of the table are longer than an hour or lie across "
        "hours.",
        zh="方案要求小时模型，但数据间隔长于一小时或跨越整点。",
    )


def _months(days: PeriodDays, month_of_hour: Sequence[str], enough: NDArray[np.bool_]) -> tuple[MonthHours, ...]:
    there: dict[str, int] = {}
    for day in days.days:
        there[f"{day:%Y-%m}"] = there.get(f"{day:%Y-%m}", 0) + 24
    found = dict.fromkeys(there, 0)
    for month, one in zip(month_of_hour, enough.tolist(), strict=True):
        if one and month in found:
            found[month] += 1
    return tuple(MonthHours(month, hours, min(found[month], hours)) for month, hours in there.items())
