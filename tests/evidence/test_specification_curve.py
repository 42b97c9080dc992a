"""The specification curve: which models are admitted, what they say, and how many agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evidence.baseline_model import Conditions
from evidence.comparison import BeforeAndAfter, compare
from evidence.doubt_reasons import curve_reason
from evidence.evaluate import evaluate
from evidence.models import MODELS
from evidence.plan import Plan
from evidence.specification_curve import SpecificationCurve, specification_curve

FIRST_DAY = 739_000
LENGTH, BASELINE = 180, 120


def data_of(effect: float, seed: int = 1) -> BeforeAndAfter:
    random = np.random.default_rng(seed)
    output = random.normal(2000, 300, LENGTH)
    energy = 400 + 0.4 * output + random.normal(0, 20, LENGTH)
    energy[BASELINE:] *= 1 + effect
    conditions = Conditions(np.arange(FIRST_DAY, FIRST_DAY + LENGTH), {"output": output})
    before = np.arange(LENGTH) < BASELINE
    return BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])


def curve(data: BeforeAndAfter, change: float, minimum_days: int = 28) -> SpecificationCurve:
    return specification_curve(
        MODELS, data, change, required=frozenset({"output"}), minimum_days=minimum_days, confidence=0.9
    )


def test_models_without_the_production_variable_are_not_admitted() -> None:
    found = curve(data_of(-0.1), -0.1)
    assert {one.model for one in found.specifications} == {"linear", "weekday"}
    assert len(found.specifications) == 6
    assert found.tried == 9  # linear, mean, weekday; the others need a temperature


def test_the_windows_are_the_whole_and_two_thirds_from_either_end() -> None:
    data = data_of(-0.1)
    found = {one.window: one for one in curve(data, -0.1).specifications if one.model == "linear"}
    assert {window: one.n for window, one in found.items()} == {
        "whole": 120,
        "first_two_thirds": 80,
        "last_two_thirds": 80,
    }
    learnt = MODELS["linear"].learn(data.before.only(np.arange(120) >= 40), data.energy_before[40:])
    assert learnt is not None
    compared = compare(learnt, data.before.only(np.arange(120) >= 40), data.after, data.energy_after, 0.9)
    assert found["last_two_thirds"].change == compared.change
    assert found["last_two_thirds"].interval == compared.interval


def test_the_largest_decrease_stands_first_and_all_agree_on_a_real_effect() -> None:
    found = curve(data_of(-0.1), -0.1)
    changes = [one.change for one in found.specifications]
    assert changes == sorted(changes)
    assert changes == pytest.approx([-0.1] * 6, abs=0.02)
    assert (found.same_sign, found.same_sign_excluding_zero) == (6, 6)
    reason = curve_reason(found, -0.1)
    assert reason.level == "finding"
    assert "6 admissible" in reason.en
    assert "下降" in reason.zh


def test_a_claim_that_the_others_do_not_share_is_a_warning() -> None:
    found = curve(data_of(-0.1), 0.1)
    assert (found.same_sign, found.same_sign_excluding_zero) == (0, 0)
    assert curve_reason(found, 0.1).level == "warning"


def test_windows_that_are_too_short_are_tried_but_not_admitted() -> None:
    found = curve(data_of(-0.1), -0.1, minimum_days=100)
    assert {one.window for one in found.specifications} == {"whole"}
    none = curve(data_of(-0.1), -0.1, minimum_days=200)
    assert (none.specifications, none.tried) == ((), 9)
    assert curve_reason(none, -0.1).code == "no_specification"


def test_the_plans_own_specification_is_on_the_curve(
    retrofit: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Any]
) -> None:
    result = evaluate(retrofit, daily_table(retrofit, factory_days(5, -0.3))).kpis[1]
    model: Any = result.model
    own = [one for one in model.specification_curve.specifications if (one.model, one.window) == ("linear", "whole")]
    assert [(one.change, one.interval) for one in own] == [(result.change, result.interval)]
    assert "specifications" in [reason.code for reason in result.reasons]
