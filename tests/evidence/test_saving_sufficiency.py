"""Sufficiency of a saving: a line for each criterion, with threshold, value, outcome and source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, midnight_ms

PLAN = """\
plan: 1
project: sufficiency
enterprise: a plant
boundary: main meter
baseline:  {from: 2023-01-01, to: 2024-01-01}
reporting: {from: 2024-01-01, to: 2024-04-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: produced_mass, unit: t}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, variables: [output]}
"""
DAYS = 365 + 91


@pytest.fixture
def plan() -> Plan:
    return load_plan(PLAN, "plan.yaml")


def table(plan: Plan, change: Callable[[dict[str, np.ndarray]], None] | None = None) -> IntervalTable:
    random = np.random.default_rng(2)
    output = random.uniform(80, 120, DAYS)
    values = {"energy": 500 + 3 * output + random.normal(0, 8, DAYS), "output": output}
    if change is not None:
        change(values)
    times = np.array([midnight_ms(plan.baseline.start + timedelta(days=day), plan.zone) for day in range(DAYS)])
    return IntervalTable(times, DAY_MS, values, plan.series, plan.zone)


def lines(plan: Plan, data: IntervalTable) -> dict[tuple[str, str], Any]:
    model: Any = evaluate(plan, data).kpis[0].model
    return {(line.name, line.of): line for line in model.sufficiency}


def codes(plan: Plan, data: IntervalTable) -> set[str]:
    return {reason.code for reason in evaluate(plan, data).kpis[0].reasons}


def test_a_good_year_passes_every_line(plan: Plan) -> None:
    found = lines(plan, table(plan))
    # A uniform output has days beyond the extremes of another sample.
    failed = [key for key, line in found.items() if line.passed is False]
    assert failed in ([], [("share_outside_baseline_range", "output")])
    assert {name for name, _ in found} == {
        "calendar_days",
        "missing_days",
        "used_days",
        "share_of_days",
        "least_share_of_readings_of_a_used_day",
        "months_of_the_year_not_seen",
        "share_outside_baseline_range",
        "standard_deviations_of_mean_from_baseline",
        "r2_of_variable_alone",
        "r2",
        "p_of_f_test",
        "smallest_p_of_a_variable",
        "p_of_variable",
        "degrees_of_freedom",
    }
    assert all(line.source for line in found.values())
    assert (found["calendar_days", "baseline"].value, found["calendar_days", "baseline"].threshold) == (365, 365)
    assert found["used_days", "reporting"].value == 91


@pytest.mark.parametrize(("missing", "passed"), [(36, True), (37, True), (38, False)])
def test_thirty_seven_days_of_a_year_may_be_missing(plan: Plan, missing: int, passed: bool) -> None:
    def holes(values: dict[str, np.ndarray]) -> None:
        values["energy"][100 : 100 + missing] = np.nan

    line = lines(plan, table(plan, holes))["missing_days", "baseline"]
    assert (line.value, line.threshold, line.asked, line.passed) == (missing, 37, "at_most", passed)


def test_a_month_of_the_year_that_only_the_reporting_period_has_is_named(plan: Plan) -> None:
    def no_february(values: dict[str, np.ndarray]) -> None:
        values["energy"][31:59] = np.nan

    data = table(plan, no_february)
    line = lines(plan, data)["months_of_the_year_not_seen", "baseline"]
    assert (line.value, line.passed, line.effect) == (1, False, "warning")
    assert "season_not_seen" in codes(plan, data)


def test_extrapolation_and_distance_of_a_variable_have_lines(plan: Plan) -> None:
    def more(values: dict[str, np.ndarray]) -> None:
        values["output"][365:] = 200.0
        values["output"][365:375] = 100.0

    data = table(plan, more)
    found = lines(plan, data)
    assert found["share_outside_baseline_range", "output"].value == pytest.approx(81 / 91)
    distance = found["standard_deviations_of_mean_from_baseline", "output"]
    baseline = data.values["output"][:365]
    mean = data.values["output"][365:].mean()
    assert distance.value == pytest.approx((mean - baseline.mean()) / baseline.std(ddof=1))
    assert distance.passed is False
    assert {"extrapolation_output", "mean_outside_output"} <= codes(plan, data)


def test_a_copy_of_the_meter_is_found_out_whatever_it_is_called(plan: Plan) -> None:
    def copied(values: dict[str, np.ndarray]) -> None:
        values["output"] = values["energy"] * 0.01 + np.random.default_rng(5).normal(0, 0.003, DAYS)

    data = table(plan, copied)
    line = lines(plan, data)["r2_of_variable_alone", "output"]
    assert line.passed is False
    assert line.value == pytest.approx(np.corrcoef(data.values["output"][:365], data.values["energy"][:365])[0, 1] ** 2)
    assert "variable_follows_load_output" in codes(plan, data)
    assert "variable_follows_load_output" not in codes(plan, table(plan))


def test_the_lines_of_the_model_are_its_gate(plan: Plan) -> None:
    def noise(values: dict[str, np.ndarray]) -> None:
        values["output"] = np.random.default_rng(9).uniform(80, 120, DAYS)

    data = table(plan, noise)
    evaluation = evaluate(plan, data).kpis[0]
    model: Any = evaluation.model
    found = lines(plan, data)
    assert found["r2", "model"].value == model.r2
    assert (found["r2", "model"].passed, found["r2", "model"].source) == (False, "SEP 50001")
    assert found["degrees_of_freedom", "model"].value == model.degrees_of_freedom
    blocking = {line.name for line in found.values() if line.passed is False and line.effect == "blocking"}
    assert blocking >= {"r2"}
    assert evaluation.interval is None


def test_no_figure_is_scaled_to_a_year(plan: Plan) -> None:
    """The saving of 91 days is that of 91 days: it is the sum of the daily differences, and nothing else is stated."""
    found: Any = evaluate(plan, table(plan)).kpis[0]
    differences = [day.adjusted_baseline - day.measured for day in found.model.daily if day.period == "reporting"]
    assert len(differences) == 91
    assert found.model.saving == pytest.approx(sum(differences))
    assert found.baseline - found.reporting == pytest.approx(found.model.saving)
