"""Durations of a plan that are the states of a machine."""

from __future__ import annotations

import numpy as np
import pytest

from evidence.errors import PlanError
from evidence.intervals import SeriesIntervals, StateDurations, complete_durations
from evidence.plan import Plan, load_plan
from evidence.table import table_from_sources

STATE = "gw-01/plc-1/line_state"
QUARTER_MS = 900_000


def intervals(coverage: list[float]) -> SeriesIntervals:
    """Two intervals: 10 min in state 2 and 5 in state 1; then 15 in state 2."""
    nothing = np.full(2, np.nan)
    states = StateDurations(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([300_000, 600_000, QUARTER_MS]))
    times = np.array([0, QUARTER_MS], dtype=np.int64)
    counts = np.array([15, 15], dtype=np.int64)
    return SeriesIntervals(
        times, nothing, nothing, nothing, nothing, nothing, counts, nothing, nothing, np.array(coverage), states
    )


def test_durations_add_up_the_states_asked_for_where_the_interval_is_complete() -> None:
    assert complete_durations(intervals([1.0, 1.0]), [2]).tolist() == [600.0, 900.0]
    assert complete_durations(intervals([1.0, 1.0]), [1, 2]).tolist() == [900.0, 900.0]
    assert complete_durations(intervals([1.0, 1.0]), [7]).tolist() == [0.0, 0.0]
    assert np.isnan(complete_durations(intervals([0.98, 1.0]), [2])[0])


@pytest.fixture
def text(retrofit_text: str) -> str:
    added = (
        f"  running: {{quantity: production_time, unit: min, from: [{STATE}], states: [2]}}\n"
        f"  setting_up: {{quantity: setup_time, unit: min, from: [{STATE}], states: [1, 3]}}\n"
    )
    return retrofit_text.replace("kpis:\n", added + "kpis:\n")


def test_two_series_may_take_different_states_of_one_source(text: str) -> None:
    plan: Plan = load_plan(text, "plan.yaml")
    columns = {column: [1.0, 2.0] for series in plan.series.values() for column in series.columns}
    assert set(columns) >= {f"{STATE} = 2", f"{STATE} = 1, 3"}
    columns[f"{STATE} = 2"] = [10.0, 15.0]
    table = table_from_sources(plan, [0, QUARTER_MS], QUARTER_MS, columns)
    assert table.values["running"].tolist() == [10.0, 15.0]
    assert table.values["setting_up"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("stated", "changed", "problem"),
    [
        ("quantity: setup_time, unit: min", "quantity: scrap_count, unit: piece", "scrap_count is no duration"),
        ("states: [1, 3]", "states: [1, 1]", "name a state twice"),
    ],
)
def test_states_that_make_no_duration_are_refused(text: str, stated: str, changed: str, problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        load_plan(text.replace(stated, changed), "plan.yaml")
