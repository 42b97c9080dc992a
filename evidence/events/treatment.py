"""The table that energy figures are computed from when recorded events are taken out of it.

Left-out days lose the values of the event's series, so that they are no used days of any figure. A quantity is taken
out evenly over the event, interval by interval, behind the rounding to the stated resolution: what was measured stays
as it is in the table of everything else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from datetime import time as clock_time
from typing import TYPE_CHECKING

import numpy as np

from evidence.events.recorded import PERIODS, NonRoutineEvent, PeriodName
from evidence.quantities import KWH_PER_UNIT
from evidence.table import DAY_MS, FloatArray, IntervalTable, day_start_ms, local_date

if TYPE_CHECKING:
    from evidence.plan import Plan


@dataclass(frozen=True)
class Part:
    """What is taken out within one period: ``rate`` units of the ``series`` per 24 h from ``start_ms`` to ``end_ms``.

    ``uncertainty`` is the standard uncertainty of the rate. Parts of one ``source`` are wrong together.
    """

    event: str
    source: str
    series: str
    period: PeriodName
    start_ms: int
    end_ms: int
    rate: float
    uncertainty: float
    days: int | None = None

    @property
    def length(self) -> float:
        """In days of 24 h."""
        return (self.end_ms - self.start_ms) / DAY_MS


def stated_parts(plan: Plan, table: IntervalTable, event: NonRoutineEvent) -> tuple[Part, ...]:
    """The parts of an event whose quantity is stated or metered; one that lies partly outside leaves its share there.

    A metered quantity is what the sub-meter read during the event, its missing intervals counted at its mean.
    """
    start_ms, end_ms = event.span_ms(plan)
    energy = event.energy
    if event.sub_meter is not None:
        share = overlap(table, start_ms, end_ms)
        values = table.stated(event.sub_meter)
        known = np.isfinite(values) & (share > 0)
        if not known.any():
            return ()
        per_ms = float((values * share)[known].sum()) / float((share * table.durations_ms())[known].sum())
        units = (table.series[event.sub_meter].unit, table.series[event.series].unit)
        energy = per_ms * (end_ms - start_ms) * KWH_PER_UNIT[units[0]] / KWH_PER_UNIT[units[1]]
    if energy is None or event.standard_uncertainty is None:
        return ()
    days = (end_ms - start_ms) / DAY_MS
    return tuple(
        Part(event.id, event.id, event.series, period, *inside, energy / days, event.standard_uncertainty / days)
        for period in PERIODS
        if (inside := event.inside(plan, period)) is not None
    )


def treated(table: IntervalTable, left_out: Mapping[str, frozenset[date]], parts: Iterable[Part]) -> IntervalTable:
    """The table without the days ``left_out`` of each series and without the energy of the ``parts``."""
    values, series = dict(table.values), dict(table.series)
    by_series: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_series[part.series].append(part)
    for name, of_series in by_series.items():
        corrected = table.stated(name)
        for part in of_series:
            corrected = corrected - taken_out(table, part)
        # What is taken out has no resolution: rounding it interval by interval would lose it.
        values[name], series[name] = corrected, series[name].model_copy(update={"resolution": None})
    for name, days in left_out.items():
        values[name] = np.where(_on_days(table, days), np.nan, values[name])
    return replace(table, values=values, series=series, left_out={**table.left_out, **left_out})


def taken_out(table: IntervalTable, part: Part) -> FloatArray:
    """What a part takes out of each interval, in the unit of its series."""
    share = overlap(table, part.start_ms, part.end_ms)
    return np.asarray(part.rate * share * table.durations_ms() / DAY_MS)


def overlap(table: IntervalTable, start_ms: int, end_ms: int) -> FloatArray:
    """The share of each interval that lies from ``start_ms`` to before ``end_ms``."""
    lengths = table.durations_ms()
    inside = np.minimum(table.time_ms + lengths, end_ms) - np.maximum(table.time_ms, start_ms)
    return np.asarray(np.clip(inside, 0, None) / lengths)


def touched_days(plan: Plan, table: IntervalTable, event: NonRoutineEvent) -> frozenset[date]:
    """The production days that an event touches."""
    start_ms, end_ms = event.span_ms(plan)
    start = clock_time(0) if table.step_ms == DAY_MS else plan.day_start
    day = local_date(start_ms, plan.zone) - timedelta(days=1)
    found = []
    while day_start_ms(day, start, plan.zone) < end_ms:
        if day_start_ms(day + timedelta(days=1), start, plan.zone) > start_ms:
            found.append(day)
        day += timedelta(days=1)
    return frozenset(found)


def left_out_days(plan: Plan, table: IntervalTable, events: Iterable[NonRoutineEvent]) -> dict[str, frozenset[date]]:
    """The days that ``events`` leave out, by series."""
    found: dict[str, frozenset[date]] = {}
    for event in events:
        if event.treatment == "exclude":
            found[event.series] = found.get(event.series, frozenset()) | touched_days(plan, table, event)
    return found


def _on_days(table: IntervalTable, days: frozenset[date]) -> FloatArray:
    start = clock_time(0) if table.step_ms == DAY_MS else table.day_start
    on = np.zeros(len(table.time_ms), dtype=np.bool_)
    for day in days:
        first, end = (day_start_ms(one, start, table.zone) for one in (day, day + timedelta(days=1)))
        on |= (table.time_ms >= first) & (table.time_ms < end)
    return np.asarray(on)
