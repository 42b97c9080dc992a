"""Energy intensity: ratio of sums, its change and interval, and when it says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.verdict import Verdict

Days = dict[str, np.ndarray]


@pytest.fixture
def intensity(retrofit: Plan, daily_table: Callable[..., Any]) -> Callable[..., KpiResult]:
    """Evaluate the intensity of the retrofit plan over 142 days."""

    def run(days: Days, plan: Plan = retrofit) -> KpiResult:
        return evaluate(plan, daily_table(plan, days)).kpis[0]

    return run


def codes(result: KpiResult) -> list[str]:
    return [reason.code for reason in result.reasons]


def test_the_ratio_is_of_sums_not_the_mean_of_ratios(
    intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    result = intensity(days)
    before, after = slice(0, 90), slice(97, 142)
    assert result.baseline == pytest.approx(days["energy"][before].sum() / days["output"][before].sum())
    assert result.reporting == pytest.approx(days["energy"][after].sum() / days["output"][after].sum())
    assert result.change == pytest.approx(result.reporting / result.baseline - 1)
    assert result.unit == "kWh/piece"
    assert result.interval is not None
    assert result.interval[0] < result.change < result.interval[1]


def test_a_large_decrease_is_met_and_an_increase_is_not(
    intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    better, worse = intensity(factory_days(1, -0.3)), intensity(factory_days(1, 0.2))
    assert (better.verdict, codes(better)) == (Verdict.MET, ["interval_reaches_target", "ratio_not_adjusted"])
    assert (worse.verdict, codes(worse)) == (Verdict.NOT_MET, ["interval_misses_target", "ratio_not_adjusted"])


def test_units_of_both_series_leave_the_change_alone(
    intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(3)
    plain = intensity(days)
    scaled = intensity({**days, "energy": days["energy"] * 1000, "output": days["output"] / 12})
    assert scaled.change == pytest.approx(plain.change)
    assert scaled.interval == pytest.approx(plain.interval)
    assert scaled.baseline == pytest.approx(12_000 * plain.baseline)


def test_without_output_there_is_energy_a_day_and_no_verdict(
    intensity: Callable[..., KpiResult],
    factory_days: Callable[..., Days],
    retrofit_text: str,
) -> None:
    plan = load_plan(retrofit_text.replace("energy: energy, output: output", "energy: energy"), "plan.yaml")
    days = factory_days(1)
    result = intensity(days, plan)
    assert (result.verdict, codes(result)) == (Verdict.INSUFFICIENT_DATA, ["no_production_variable"])
    assert (result.interval, result.unit) == (None, "kWh/d")
    assert result.baseline == pytest.approx(days["energy"][:90].mean())


def test_no_output_in_a_period_is_no_division_by_zero(
    intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["output"][97:] = 0.0
    result = intensity(days)
    assert (result.verdict, codes(result)) == (Verdict.INSUFFICIENT_DATA, ["no_output_reporting"])
    assert (result.reporting, result.change, result.interval) == (None, None, None)


def test_missing_days_are_listed_and_too_many_end_the_verdict(
    intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["output"][100:104] = np.nan
    some = intensity(days)
    assert some.coverage.reporting == pytest.approx(41 / 45)
    assert some.verdict is not Verdict.INSUFFICIENT_DATA
    days["output"][100:105] = np.nan
    more = intensity(days)
    assert (more.verdict, codes(more)) == (Verdict.INSUFFICIENT_DATA, ["low_coverage_reporting"])
    assert "Only 40 of 45 reporting days are usable (88.8 %)" in more.reasons[0].en
    assert [str(day.day) for day in more.model.days.reporting.excluded][:2] == ["2025-10-09", "2025-10-10"]


def test_no_data_at_all_is_a_result(intensity: Callable[..., KpiResult], factory_days: Callable[..., Days]) -> None:
    days = {name: np.full(142, np.nan) for name in factory_days(1)}
    result = intensity(days)
    assert result.verdict is Verdict.INSUFFICIENT_DATA
    assert (result.baseline, result.reporting, result.change) == (None, None, None)
