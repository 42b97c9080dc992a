"""Amounts over periods of any length become one table: sums are kept, and nothing is refined that was not measured."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.errors import TableError
from evidence.plan import Plan, load_plan
from evidence.spans import Spans, make_spans, table_of_spans, together
from evidence.table import DAY_MS, midnight_ms

HOUR_MS = 3_600_000
TEXT = """plan: 1
project: p
enterprise: e
boundary: b
baseline: {from: 2025-01-01, to: 2025-02-01}
reporting: {from: 2025-02-01, to: 2025-03-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: good_count, unit: piece}
  warmth: {quantity: temperature, unit: degC}
kpis: [{id: i, kind: energy_intensity, energy: energy, output: output}]
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(TEXT, "plan.yaml")


def even(plan: Plan, step_ms: int, value: float, *, first: date | None = None, days: int = 59) -> Spans:
    start = midnight_ms(first or plan.baseline.start, plan.zone)
    return make_spans(
        [(start + n * step_ms, start + (n + 1) * step_ms, value) for n in range(days * DAY_MS // step_ms)]
    )


def test_the_step_is_the_longest_that_an_increment_needs(plan: Plan) -> None:
    quarters, hours, days = (even(plan, step, 1.0) for step in (HOUR_MS // 4, HOUR_MS, DAY_MS))
    made = table_of_spans(plan, {"energy": [quarters], "output": [hours], "warmth": [days]})
    assert made.table.step_ms == HOUR_MS
    assert set(made.table.values["energy"]) == {4.0}
    assert set(made.table.values["warmth"]) == {1.0}
    assert made.spread == frozenset()
    by_day = table_of_spans(plan, {"energy": [quarters], "output": [days], "warmth": [hours]}).table
    assert by_day.step_ms == DAY_MS
    assert set(by_day.values["energy"]) == {96.0}


def test_a_bill_is_divided_evenly_and_says_so(plan: Plan) -> None:
    edges = [midnight_ms(day, plan.zone) for day in (date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1))]
    bills = make_spans([(edges[0], edges[1], 31_000.0), (edges[1], edges[2], 14_000.0)])
    made = table_of_spans(plan, {"energy": [bills], "output": [even(plan, DAY_MS, 5.0)], "warmth": [bills]})
    assert made.spread == frozenset({"energy"})
    assert made.table.values["energy"].tolist() == [1000.0] * 31 + [500.0] * 28
    assert made.table.values["warmth"].tolist() == [31_000.0] * 31 + [14_000.0] * 28


def test_a_day_counts_from_nine_tenths_of_its_time_on(plan: Plan) -> None:
    hours = even(plan, HOUR_MS, 1.0)
    present = np.ones(hours.values.size, dtype=bool)
    present[:2] = False  # 22 of 24 hours
    present[24:27] = False  # 21 of 24 hours
    gappy = Spans(hours.start_ms[present], hours.end_ms[present], hours.values[present])
    made = table_of_spans(plan, {"energy": [gappy], "output": [even(plan, DAY_MS, 1.0)], "warmth": [gappy]})
    energy = made.table.values["energy"]
    assert energy[0] == pytest.approx(24.0)
    assert np.isnan(energy[1])
    assert energy[2] == 24.0
    assert made.table.values["warmth"][0] == pytest.approx(1.0)


def test_shifts_make_a_day_when_all_of_them_are_there() -> None:
    plan = load_plan(TEXT.replace("series:", "day_start: '08:00'\nseries:", 1), "plan.yaml")
    day = midnight_ms(date(2025, 1, 1), plan.zone)
    shifts = [(day + h * HOUR_MS, day + (h + 8) * HOUR_MS, v) for h, v in ((8, 400.0), (16, 380.0), (24, 350.0))]
    early_only = [(day + DAY_MS + 8 * HOUR_MS, day + DAY_MS + 16 * HOUR_MS, 410.0)]
    output = make_spans(shifts + early_only, working_ms=DAY_MS)
    two_shifts = make_spans(shifts[:2], working_ms=16 * HOUR_MS)
    days = make_spans([(day + 8 * HOUR_MS + n * DAY_MS, day + 8 * HOUR_MS + (n + 1) * DAY_MS, 1.0) for n in range(59)])
    table = table_of_spans(plan, {"energy": [two_shifts], "output": [output], "warmth": [days]}).table
    assert table.values["output"][0] == 1130.0
    assert np.isnan(table.values["output"][1])
    assert table.values["energy"][0] == 780.0


def test_days_that_begin_at_another_hour_than_the_plan_are_refused(plan: Plan) -> None:
    start = midnight_ms(plan.baseline.start, plan.zone) + 8 * HOUR_MS
    days = make_spans([(start + n * DAY_MS, start + (n + 1) * DAY_MS, 1.0) for n in range(30)])
    with pytest.raises(TableError, match="lie across 00:00, when the plan's days begin"):
        table_of_spans(plan, {"energy": [days], "output": [days], "warmth": [days]})


def test_a_series_without_values_is_named(plan: Plan) -> None:
    with pytest.raises(TableError, match="series 'output' has no values"):
        table_of_spans(plan, {"energy": [even(plan, DAY_MS, 1.0)], "warmth": [even(plan, DAY_MS, 1.0)]})


def test_periods_that_overlap_are_no_spans() -> None:
    with pytest.raises(ValueError, match="overlap"):
        make_spans([(0, 10, 1.0), (9, 20, 1.0)])


def test_two_meters_are_added_up_where_both_have_a_value() -> None:
    one = make_spans([(0, 10, 1.0), (10, 20, 2.0)])
    other = make_spans([(10, 20, 3.0), (20, 30, 4.0)])
    assert together([one, other], increments=True).values.tolist() == [5.0]
    assert together([one, other], increments=False).values.tolist() == [2.5]


@settings(max_examples=40)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.data())
def test_what_was_handed_in_is_what_is_summed(lengths: list[int], data: st.DataObject) -> None:
    """Whatever whole days the bills have, the table holds exactly their energy."""
    plan = load_plan(TEXT, "plan.yaml")
    day, rows, total = plan.baseline.start, [], 0.0
    for length in lengths:
        end = day + timedelta(days=length)
        if end > plan.reporting.to:
            break
        value = data.draw(st.integers(0, 10**6))
        rows.append((midnight_ms(day, plan.zone), midnight_ms(end, plan.zone), float(value)))
        total, day = total + value, end
    days = even(plan, DAY_MS, 1.0)
    table = table_of_spans(plan, {"energy": [make_spans(rows)], "output": [days], "warmth": [days]}).table
    assert float(np.nansum(table.values["energy"])) == pytest.approx(total)
    assert np.count_nonzero(np.isfinite(table.values["energy"])) == (day - plan.baseline.start).days
    assert datetime.fromtimestamp(int(table.time_ms[0]) / 1000, plan.zone).date() == plan.baseline.start
