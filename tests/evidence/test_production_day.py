"""A production day begins when its first shift does: what the night shift makes after midnight belongs to it."""

from __future__ import annotations

import numpy as np
import pytest

from evidence.days import part_of, period_days
from evidence.errors import TableError
from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, read_csv
from wire.errors import DocumentError

HOUR_MS = 3_600_000


@pytest.fixture
def shifts(retrofit_text: str) -> Plan:
    return load_plan(retrofit_text.replace("baseline:", "day_start: '08:00'\nbaseline:"), "plan.yaml")


def hourly(plan: Plan, output: np.ndarray) -> IntervalTable:
    first_ms, _ = plan.span_ms
    times = first_ms - 8 * HOUR_MS + HOUR_MS * np.arange(len(output), dtype=np.int64)
    values = dict.fromkeys(plan.series, output)
    return IntervalTable(times, HOUR_MS, values, plan.series, plan.zone, plan.day_start)


def test_the_hours_after_midnight_belong_to_the_day_before(shifts: Plan) -> None:
    output = np.arange(24.0 * 5)
    days = period_days(hourly(shifts, output), shifts.baseline, ["output"])
    assert days.sums["output"][0] == output[8:32].sum()
    assert days.sums["output"][1] == output[32:56].sum()
    assert days.used[:4].tolist() == [True] * 4
    assert days.complete[:5].tolist() == [24, 24, 24, 24, 16]


def test_a_period_ends_with_its_last_night_shift(shifts: Plan) -> None:
    first_ms, end_ms = shifts.span_ms
    table = hourly(shifts, np.ones((end_ms - first_ms) // HOUR_MS + 24))
    part = part_of(table, shifts.reporting)
    assert part.time_ms[-1] + HOUR_MS == end_ms
    assert len(part.time_ms) == 24 * (shifts.reporting.to - shifts.reporting.start).days


def test_the_span_without_a_start_of_day_is_from_midnight_to_midnight(retrofit: Plan, shifts: Plan) -> None:
    assert [one - other for one, other in zip(shifts.span_ms, retrofit.span_ms, strict=True)] == [8 * HOUR_MS] * 2


def test_a_table_of_days_has_its_days_made_already(shifts: Plan) -> None:
    rows = "\n".join(f"2025-07-{day:02d},{day},{day},20" for day in range(1, 31))
    table = read_csv(f"time,energy,output,outdoor_temperature\n{rows}", shifts)
    assert table.step_ms == DAY_MS
    days = period_days(table, shifts.baseline, ["output"])
    assert days.sums["output"][:30].tolist() == list(range(1, 31))


def test_intervals_across_the_start_of_the_day_are_refused(retrofit_text: str) -> None:
    plan = load_plan(retrofit_text.replace("baseline:", "day_start: '08:30'\nbaseline:"), "plan.yaml")
    rows = "\n".join(f"2025-07-01T{hour:02d}:00,1,1,20" for hour in range(24))
    with pytest.raises(TableError, match="intervals of 60 minutes lie across 08:30, when the plan's days begin"):
        read_csv(f"time,energy,output,outdoor_temperature\n{rows}", plan, source="t.csv")


@pytest.mark.parametrize("written", ["'08:10'", "8", "'24:00'", "20:00"])
def test_a_start_that_is_no_quarter_of_an_hour_is_refused(retrofit_text: str, written: str) -> None:
    with pytest.raises(DocumentError, match="day_start: is no quarter of an hour; write it with quotes: '08:00'"):
        load_plan(retrofit_text.replace("baseline:", f"day_start: {written}\nbaseline:"), "plan.yaml")
