"""Normalised saving: two models under the same conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.verdict import Verdict

Days = dict[str, np.ndarray]


@pytest.fixture
def plan(retrofit_text: str) -> Plan:
    text = retrofit_text.split("kpis:\n", maxsplit=1)[0] + (
        "kpis:\n  - {id: normalised, kind: normalised_saving, energy: energy, "
        "variables: [output, outdoor_temperature], target: {saving: 0.08}}\n"
    )
    return load_plan(text, "plan.yaml")


@pytest.fixture
def normalised(plan: Plan, daily_table: Callable[..., Any]) -> Callable[[Days], KpiResult]:
    return lambda days: plan.kpis[0].evaluate(plan, daily_table(plan, days))


def test_it_is_the_difference_of_two_regressions_over_all_days(
    normalised: Callable[[Days], KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(3, -0.15)
    result = normalised(days)
    design = np.column_stack([np.ones(142), days["output"], days["outdoor_temperature"]])
    totals = []
    normal = np.r_[design[:90], design[97:]]
    for part in (slice(0, 90), slice(97, 142)):
        coefficients = np.linalg.lstsq(design[part], days["energy"][part], rcond=None)[0]
        totals.append(float((normal @ coefficients).sum()))
    assert (result.baseline, result.reporting) == (pytest.approx(totals[0]), pytest.approx(totals[1]))
    model: Any = result.model
    assert model.normal_days == 135
    assert model.saving == pytest.approx(totals[0] - totals[1])
    assert result.interval is not None
    assert result.interval[0] < -0.15 < result.interval[1]
    assert result.verdict is Verdict.MET


def test_the_interval_covers_the_truth_as_often_as_it_says(
    normalised: Callable[[Days], KpiResult], factory_days: Callable[..., Days]
) -> None:
    """No retrofit: the true change is zero. Of 300 draws at 90 %, 5 standard errors are 26."""
    inside = 0
    for seed in range(300):
        low, high = normalised(factory_days(seed)).interval or (1.0, 1.0)
        inside += low <= 0.0 <= high
    assert inside >= 244


def test_a_reporting_period_that_its_model_does_not_explain_gives_no_verdict(
    normalised: Callable[[Days], KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(3)
    days["energy"][97:] = np.random.default_rng(1).uniform(500, 1500, 45)
    result = normalised(days)
    assert result.verdict is Verdict.INSUFFICIENT_DATA
    assert "reporting_model_fails" in [reason.code for reason in result.reasons]
    assert result.interval is None
