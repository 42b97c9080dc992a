"""The placebo test and the minimum detectable effect: what is found where nothing was changed, and what could be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evidence.baseline_model import Conditions
from evidence.comparison import compare
from evidence.detectable_change import detectable_saving
from evidence.doubt_reasons import detectable_reason, placebo_reason
from evidence.evaluate import evaluate
from evidence.models import MODELS
from evidence.placebo import MOST_WINDOWS, Placebo, placebo_test
from evidence.plan import Plan

FIRST_DAY = 739_000


def days_of(seed: int, length: int, drift: float = 0.0) -> tuple[Conditions, np.ndarray]:
    """Days of a factory with independent noise; ``drift`` is what the energy gains a day."""
    random = np.random.default_rng(seed)
    output = random.normal(2000, 300, length)
    energy = 400 + 0.4 * output + random.normal(0, 40, length) + drift * np.arange(length)
    return Conditions(np.arange(FIRST_DAY, FIRST_DAY + length), {"output": output}), energy


def placebo(conditions: Conditions, energy: np.ndarray, window_days: int = 45, model: str = "linear") -> Placebo:
    return placebo_test(MODELS[model], conditions, energy, window_days=window_days, minimum_days=28, confidence=0.9)


def test_windows_lie_by_rule_over_the_whole_baseline() -> None:
    found = placebo(*days_of(1, 90))
    assert (found.state, found.baseline_days, found.window_days) == ("determined", 90, 45)
    assert (found.step_days, found.windows, found.undetermined, found.separate) == (2, 23, 0, 2)
    assert found.nominal == pytest.approx(0.1)
    long = placebo(*days_of(1, 365))
    assert long.step_days == 9
    assert long.windows == 36 <= MOST_WINDOWS


def test_each_window_is_judged_by_the_model_of_the_other_days() -> None:
    conditions, energy = days_of(2, 90)
    counted = 0
    for first in range(0, 46, 2):
        inside = np.zeros(90, dtype=bool)
        inside[first : first + 45] = True
        learnt = MODELS["linear"].learn(conditions.only(~inside), energy[~inside])
        assert learnt is not None
        interval = compare(learnt, conditions.only(~inside), conditions.only(inside), energy[inside], 0.9).interval
        assert interval is not None
        counted += not interval[0] <= 0 <= interval[1]
    assert placebo(conditions, energy).excluding_zero == counted


def test_independent_days_are_rarely_a_false_positive() -> None:
    rates = [placebo(*days_of(seed, 180)).false_positive_rate for seed in range(30)]
    assert np.mean([rate for rate in rates if rate is not None]) == pytest.approx(0.1, abs=0.05)


def test_a_model_that_misses_a_driver_is_found_out() -> None:
    """Output falls by half in the middle of the baseline: the mean model takes it for a saving, time and again."""
    blind = seeing = 0
    for seed in range(10):
        conditions, _ = days_of(seed, 180)
        halved = np.where((np.arange(180) >= 70) & (np.arange(180) < 115), 0.5, 1.0)
        output = conditions.variables["output"] * halved
        energy = 400 + 0.4 * output + np.random.default_rng(seed).normal(0, 40, 180)
        known = Conditions(conditions.ordinals, {"output": output})
        by_mean = placebo(known, energy, 20, "mean")
        blind += by_mean.claiming_saving
        seeing += placebo(known, energy, 20).claiming_saving
        assert placebo_reason(by_mean).code == "placebo_above_nominal"
        assert placebo_reason(by_mean).level == "warning"
    assert blind > 2 * seeing


def test_a_short_baseline_says_so_and_gives_no_rate() -> None:
    found = placebo(*days_of(4, 80))
    assert (found.state, found.why, found.false_positive_rate, found.windows) == (
        "not_determinable",
        "too_short",
        None,
        0,
    )
    reason = placebo_reason(found)
    assert "80 days" in reason.en
    assert "45 天" in reason.zh


def test_days_that_do_not_determine_the_model_give_no_rate() -> None:
    conditions, energy = days_of(5, 120)
    constant = Conditions(conditions.ordinals, {"output": np.full(120, 1000.0)})
    found = placebo(constant, energy, 30)
    assert (found.state, found.why, found.undetermined) == ("not_determinable", "no_interval", 31)
    assert "none of its windows" in placebo_reason(found).en


def test_a_window_with_a_hole_is_not_judged() -> None:
    conditions, energy = days_of(6, 120)
    kept = np.ones(120, dtype=bool)
    kept[40:50] = False
    found = placebo(conditions.only(kept), energy[kept], 30)
    assert found.undetermined > 0
    assert found.windows + found.undetermined == 31


def test_days_without_noise_give_no_false_positive() -> None:
    conditions, _ = days_of(7, 120)
    found = placebo(conditions, 100 + 0.5 * conditions.variables["output"], 30)
    assert found.windows > 20
    assert found.excluding_zero == 0


def test_the_rate_stands_beside_the_claim(
    retrofit: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Any]
) -> None:
    result = evaluate(retrofit, daily_table(retrofit, factory_days(5, -0.3))).kpis[1]
    model: Any = result.model
    assert model.placebo.state == "determined"
    codes = [reason.code for reason in result.reasons]
    assert {"placebo", "placebo_above_nominal"} & set(codes)
    assert "minimum_detectable" in codes
    assert codes[0] == "interval_reaches_target"


def test_what_can_be_detected_is_where_the_interval_touches_zero() -> None:
    conditions, energy = days_of(8, 150)
    before, after = np.arange(150) < 100, np.arange(150) >= 100
    learnt = MODELS["linear"].learn(conditions.only(before), energy[before])
    assert learnt is not None

    def interval(saving: float) -> tuple[float, float]:
        modelled = learnt.design(conditions.only(after)) @ learnt.fit.coefficients
        compared = compare(learnt, conditions.only(before), conditions.only(after), modelled * (1 - saving), 0.9)
        assert compared.interval is not None
        return compared.interval

    compared = compare(learnt, conditions.only(before), conditions.only(after), energy[after], 0.9)
    found = detectable_saving(compared)
    assert found is not None
    assert interval(found.excludes_zero * 1.001)[1] < 0 < interval(found.excludes_zero * 0.999)[1]
    assert found.with_power > found.excludes_zero
    assert f"{100 * found.excludes_zero:.1f} %" in detectable_reason(found).en


def test_a_saving_of_the_stated_size_is_found_as_often_as_stated() -> None:
    random = np.random.default_rng(9)
    hits = draws = 0
    for _ in range(600):
        output = random.normal(2000, 300, 150)
        energy = 400 + 0.4 * output + random.normal(0, 40, 150)
        conditions = Conditions(np.arange(FIRST_DAY, FIRST_DAY + 150), {"output": output})
        before, after = np.arange(150) < 100, np.arange(150) >= 100
        learnt = MODELS["linear"].learn(conditions.only(before), energy[before])
        assert learnt is not None
        days, later = conditions.only(before), conditions.only(after)
        found = detectable_saving(compare(learnt, days, later, energy[after], 0.9))
        assert found is not None
        expected = float((400 + 0.4 * output[after]).sum())
        reduced = energy[after] - found.with_power * expected / 50
        interval = compare(learnt, days, later, reduced, 0.9).interval
        assert interval is not None
        draws += 1
        hits += interval[1] < 0
    assert hits / draws == pytest.approx(0.8, abs=0.05)
