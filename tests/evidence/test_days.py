"""The day rule: nine tenths of the intervals, complete in every series; never a zero for a hole."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.days import period_days
from evidence.plan import Plan
from evidence.table import IntervalTable, midnight_ms

QUARTER_MS = 900_000
NAMES = ["energy", "output", "outdoor_temperature"]


def one_day(plan: Plan, **holes: set[int]) -> IntervalTable:
    """The first baseline day in 96 intervals: energy 1, output 2, temperature 20 in each, with holes where told."""
    start = midnight_ms(plan.baseline.start, plan.zone)
    levels = {"energy": 1.0, "output": 2.0, "outdoor_temperature": 20.0}
    values = {
        name: np.array([np.nan if slot in holes.get(name, set()) else level for slot in range(96)])
        for name, level in levels.items()
    }
    return IntervalTable(start + QUARTER_MS * np.arange(96), QUARTER_MS, values, plan.series, plan.zone)


def test_a_day_with_nine_intervals_missing_is_used_and_with_ten_is_not(retrofit: Plan) -> None:
    nine = period_days(one_day(retrofit, energy=set(range(9))), retrofit.baseline, NAMES)
    ten = period_days(one_day(retrofit, energy=set(range(10))), retrofit.baseline, NAMES)
    assert nine.n_used == 1
    assert ten.n_used == 0


def test_holes_of_different_series_add_up(retrofit: Plan) -> None:
    table = one_day(retrofit, energy=set(range(5)), output=set(range(5, 10)))
    days = period_days(table, retrofit.baseline, NAMES)
    assert days.n_used == 0
    excluded = days.use().excluded[0]
    assert (excluded.day, excluded.reason, excluded.missing) == (date(2025, 7, 1), "incomplete", ("energy", "output"))
    assert period_days(table, retrofit.baseline, ["energy"]).n_used == 1


def test_a_day_without_rows_is_excluded_as_without_data(retrofit: Plan) -> None:
    use = period_days(one_day(retrofit), retrofit.baseline, NAMES).use()
    assert (use.days, use.used) == (90, 1)
    assert {excluded.reason for excluded in use.excluded} == {"no_data"}
    assert use.excluded[0].missing == tuple(NAMES)


@given(missing=st.sets(st.integers(0, 95), max_size=9))
def test_ratios_use_common_intervals_and_models_full_days(retrofit: Plan, missing: set[int]) -> None:
    days = period_days(one_day(retrofit, output=missing), retrofit.baseline, NAMES)
    assert days.used_sums("energy") == pytest.approx([96 - len(missing)])
    assert days.used_sums("output") / days.used_sums("energy") == pytest.approx([2.0])
    assert days.used_values("energy") == pytest.approx([96.0])
    assert days.used_values("output") == pytest.approx([192.0])
    assert days.used_values("outdoor_temperature") == pytest.approx([20.0])


def test_days_are_local(retrofit: Plan) -> None:
    # 16:00 UTC is midnight in Shanghai: the interval before it belongs to the day before.
    start = midnight_ms(retrofit.baseline.start, retrofit.zone)
    times = np.array([start - QUARTER_MS, start])
    values = {name: np.array([5.0, 7.0]) for name in NAMES}
    table = IntervalTable(times, QUARTER_MS, values, retrofit.series, retrofit.zone)
    days = period_days(table, retrofit.baseline, NAMES)
    assert days.complete[0] == 1
    assert days.sums["energy"][0] == 7.0
