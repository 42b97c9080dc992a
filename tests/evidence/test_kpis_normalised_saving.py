"""Normalised saving: two models under the same conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from evidence.alternative_intervals import alternative_intervals_of_models
from evidence.baseline_model import Conditions
from evidence.comparison import BeforeAndAfter
from evidence.models import MODELS
from evidence.normalised_comparison import NormalisedComparison, normalised_energy
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


def test_the_interval_covers_the_truth_as_often_as_it_says(factory_days: Callable[..., Days]) -> None:
    """No retrofit: the true change is zero. Of 300 draws at 90 %, 5 standard errors are 26."""
    inside = 0
    for seed in range(300):
        days = factory_days(seed)
        used = np.r_[:90, 97:142]
        conditions = Conditions(739_000 + used, {n: days[n][used] for n in ("output", "outdoor_temperature")})
        before = used < 90
        energy = days["energy"][used]
        data = BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])
        low, high = compared(data).interval or (1.0, 1.0)
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


def halves(days: Days, split: int = 90) -> BeforeAndAfter:
    """The first ``split`` days against the rest."""
    count = len(days["energy"])
    conditions = Conditions(739_000 + np.arange(count), {"output": days["output"]})
    before = np.arange(count) < split
    return BeforeAndAfter(
        conditions.only(before), days["energy"][before], conditions.only(~before), days["energy"][~before]
    )


def compared(data: BeforeAndAfter) -> NormalisedComparison:
    found = normalised_energy(MODELS["linear"], data, 0.9)
    assert found is not None
    return found


def test_the_exact_interval_is_that_of_two_linear_forms_of_the_noise(factory_days: Callable[..., Days]) -> None:
    data = halves(factory_days(4, -0.2))
    found = compared(data)
    normal = data.before.followed_by(data.after)
    variance = 0.0
    for one, conditions in ((found.before, data.before), (found.after, data.after)):
        fit = one.model.fit
        omega = (one.rho_debiased or 0.0) ** np.abs(conditions.ordinals[:, None] - conditions.ordinals[None, :])
        residual_maker = np.eye(fit.n) - fit.design @ fit.inverse @ fit.design.T
        form = fit.design @ fit.inverse @ one.model.design(normal).sum(axis=0)
        variance += fit.sse / np.trace(residual_maker @ omega) * (form @ omega @ form)
    exact, bootstrapped = alternative_intervals_of_models(found)
    assert found.t is not None
    assert exact.half_width == pytest.approx(found.t * variance**0.5, rel=1e-9)
    assert bootstrapped.half_width == pytest.approx(found.half_width, rel=0.5)
    for one in (exact, bootstrapped):
        assert one.interval is not None
        assert one.interval[0] < -0.2 < one.interval[1]


def test_it_carries_the_same_doubts_as_an_adjusted_saving(
    normalised: Callable[[Days], KpiResult], factory_days: Callable[..., Days]
) -> None:
    result = normalised(factory_days(3, -0.3))
    model: Any = result.model
    assert model.placebo.state == "determined"
    assert [one.method for one in model.alternative_intervals] == ["exact_ar1", "block_bootstrap"]
    own = [one for one in model.specification_curve.specifications if (one.model, one.window) == ("linear", "whole")]
    assert [(one.change, one.interval) for one in own] == [(result.change, result.interval)]
    codes = {reason.code for reason in result.reasons}
    assert codes >= {"minimum_detectable", "specifications", "cannot_tell"}
    assert codes & {"placebo", "placebo_above_nominal"}
    assert result.interval is not None
    assert result.change is not None
    assert result.interval[1] - result.change == pytest.approx(model.detectable.excludes_zero)


def test_its_placebo_judges_each_window_by_two_models(
    normalised: Callable[[Days], KpiResult], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(3)
    data = halves({name: values[:90] for name, values in days.items()}, 90).before
    counted = 0
    for first in range(0, 46, 2):
        inside = (np.arange(90) >= first) & (np.arange(90) < first + 45)
        variables = {name: days[name][:90] for name in ("output", "outdoor_temperature")}
        conditions = Conditions(data.ordinals, variables)
        split = BeforeAndAfter(
            conditions.only(~inside), days["energy"][:90][~inside], conditions.only(inside), days["energy"][:90][inside]
        )
        interval = compared(split).interval
        assert interval is not None
        counted += not interval[0] <= 0 <= interval[1]
    model: Any = normalised(days).model
    assert (model.placebo.windows, model.placebo.excluding_zero) == (23, counted)


def test_the_model_may_be_chosen_by_rule(
    plan: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(3, -0.15)
    kpi = plan.kpis[0].model_copy(update={"model": "auto"})
    model: Any = kpi.evaluate(plan, daily_table(plan, days)).model
    assert model.kind == model.candidates[0].name
    assert len(model.candidates) > 1


@pytest.mark.soak
@pytest.mark.parametrize(("rho", "known"), [(0.0, 0.914), (0.3, 0.901), (0.6, 0.897), (0.8, 0.914)])
def test_coverage_with_dependent_noise(rho: float, known: float) -> None:
    """120 and 60 days, output and noise AR(1), 2000 draws: main and exact within two points of the coverage known for
    avoided energy, the bootstrap within two and a half of the nominal one."""
    random = np.random.default_rng(5)

    def dependent(correlation: float) -> np.ndarray:
        settled = lfilter([1.0], [1.0, -correlation], random.normal(size=380))[200:]
        return np.asarray(settled * np.sqrt(1 - correlation**2))

    covered, told = np.zeros(3), 0
    for _ in range(2000):
        output = 2000 + 300 * dependent(0.5)
        found = compared(halves({"output": output, "energy": 400 + 0.4 * output + 40 * dependent(rho)}, 120))
        if found.interval is not None:
            told += 1
            intervals = [found.interval, *(one.interval for one in alternative_intervals_of_models(found))]
            covered += [one is not None and one[0] <= 0 <= one[1] for one in intervals]
    assert told / 2000 > 0.97
    assert covered[:2] / told == pytest.approx([known, known], abs=0.02)
    assert covered[2] / told == pytest.approx(0.9, abs=0.025)
