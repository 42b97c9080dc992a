"""Adjusted saving: a known model is found again, the gate closes on bad models, nothing is claimed without cause."""

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
def saving(retrofit: Plan, daily_table: Callable[..., Any]) -> Callable[..., KpiResult]:
    """Evaluate the saving of the retrofit plan over 142 days."""

    def run(days: Days, plan: Plan = retrofit) -> KpiResult:
        return evaluate(plan, daily_table(plan, days)).kpis[1]

    return run


def blocking(result: KpiResult) -> list[str]:
    return [reason.code for reason in result.reasons if reason.level == "blocking"]


def exact_days(effect: float) -> Days:
    """Days that follow 100 + 0.5 output + 3 temperature without any noise."""
    day = np.arange(142)
    output = 1000 + 200 * np.sin(day)
    temperature = 10 + 5 * np.cos(day / 3)
    energy = 100 + 0.5 * output + 3 * temperature
    energy[97:] *= 1 + effect
    return {"energy": energy, "output": output, "outdoor_temperature": temperature}


def test_a_model_without_noise_is_found_exactly(saving: Callable[..., KpiResult]) -> None:
    days = exact_days(-0.1)
    result = saving(days)
    model: Any = result.model
    assert [coefficient.value for coefficient in model.coefficients] == pytest.approx([100, 0.5, 3], rel=1e-9)
    assert [coefficient.unit for coefficient in model.coefficients] == ["kWh/d", "kWh/piece", "kWh/d/degC"]
    assert result.change == pytest.approx(-0.1)
    assert result.interval == pytest.approx((-0.1, -0.1), abs=1e-6)
    assert result.reporting == pytest.approx(days["energy"][97:].sum())
    assert result.baseline == pytest.approx(days["energy"][97:].sum() / 0.9)
    assert model.saving == pytest.approx(result.baseline - result.reporting)
    assert result.verdict is Verdict.MET


def test_the_verdict_follows_the_true_effect(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    assert saving(factory_days(5, -0.3)).verdict is Verdict.MET
    assert saving(factory_days(5, -0.08)).verdict is Verdict.NOT_DISTINGUISHABLE
    assert saving(factory_days(5, 0.1)).verdict is Verdict.NOT_MET


def test_the_model_shows_its_goodness_and_its_days(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    result = saving(factory_days(2))
    model: Any = result.model
    assert (model.n, model.p, model.m) == (90, 3, 45)
    assert model.r2 > 0.9
    assert model.cv_rmse > 0
    assert len(model.residuals) == 90
    assert [day.period for day in model.daily].count("reporting") == 45
    assert sum(day.measured for day in model.daily[90:]) == pytest.approx(result.reporting)
    assert sum(day.adjusted_baseline for day in model.daily[90:]) == pytest.approx(result.baseline)
    assert model.n_effective == pytest.approx(90 * (1 - model.rho) / (1 + model.rho))
    assert result.interval == pytest.approx(
        (result.change - model.half_width / result.baseline, result.change + model.half_width / result.baseline)
    )


@pytest.mark.parametrize("variables", ["[]", "[outdoor_temperature]"])
def test_without_production_nothing_is_claimed(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days], retrofit_text: str, variables: str
) -> None:
    plan = load_plan(retrofit_text.replace("[output, outdoor_temperature]", variables), "plan.yaml")
    result = saving(factory_days(1, -0.3), plan)
    assert result.verdict is Verdict.INSUFFICIENT_DATA
    assert "no_production_variable" in blocking(result)
    assert result.interval is None
    assert result.change is not None


def test_another_reading_of_the_load_is_no_driver(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days], retrofit_text: str
) -> None:
    text = retrofit_text.replace("quantity: temperature, unit: degC", "quantity: reactive_energy_import, unit: kvarh")
    days = factory_days(1, -0.3)
    result = saving({**days, "outdoor_temperature": days["energy"] * 0.4 + 1}, load_plan(text, "plan.yaml"))
    assert result.verdict is Verdict.INSUFFICIENT_DATA
    assert "variable_not_exogenous" in blocking(result)


def test_output_that_explains_nothing_is_stopped_at_the_gate(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1, -0.3)
    random = np.random.default_rng(0)
    days["output"], days["outdoor_temperature"] = random.normal(2000, 100, 142), random.normal(20, 3, 142)
    assert set(blocking(saving(days))) >= {"poor_fit"}


def test_a_constant_variable_does_not_determine_its_coefficient(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["output"][:] = 2000.0
    result = saving(days)
    assert "coefficients_undetermined" in blocking(result)
    assert (result.baseline, result.change) == (None, None)


def test_constant_energy_is_a_reason_not_a_division_by_zero(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["energy"][:] = 0.0
    assert {"constant_energy", "non_positive_baseline"} <= set(blocking(saving(days)))


def test_residuals_that_drift_are_not_determinable_and_never_zero(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    drift = 8000 * np.sin(np.arange(142) * 2 * np.pi / 90)
    days["energy"] = 20_000 + 10 * days["output"] + drift
    result = saving(days)
    assert blocking(result) == ["not_determinable"]
    assert result.interval is None
    assert "rho" in next(reason.en for reason in result.reasons if reason.code == "not_determinable")


def test_extrapolation_is_named_with_its_days(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["outdoor_temperature"][97:] = 20.0
    days["outdoor_temperature"][110:112] = -25.0
    warnings = [reason for reason in saving(days).reasons if reason.code.startswith("extrapolation")]
    assert [reason.code for reason in warnings] == ["extrapolation_outdoor_temperature"]
    assert "On 2 of 45 reporting days" in warnings[0].en
    assert "2025-10-19" in warnings[0].en
    assert "2025-10-19" in warnings[0].zh


def test_a_mean_far_outside_the_baseline_is_named(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["outdoor_temperature"][97:] = -40.0
    assert "mean_outside_outdoor_temperature" in [reason.code for reason in saving(days).reasons]


def test_without_a_target_the_change_is_compared_with_zero(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days], retrofit_text: str
) -> None:
    plan = load_plan(retrofit_text.replace(", target: {saving: 0.08}", ""), "plan.yaml")
    result = saving(factory_days(1, -0.3), plan)
    assert (result.target, result.verdict) == (None, Verdict.MET)
    assert "no target is set" in result.reasons[0].en


def test_every_reason_stands_in_both_languages(
    saving: Callable[..., KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["output"][:40] = np.nan
    for reason in saving(days).reasons:
        assert not any("\u4e00" <= letter <= "\u9fff" for letter in reason.en)
        assert any("\u4e00" <= character <= "\u9fff" for character in reason.zh)
