"""Operating modes: constants of their own for weekdays, dates and limits, and what a mode may not be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from evidence.baseline_model import Conditions
from evidence.evaluate import evaluate
from evidence.operating_modes import OperatingMode, with_modes
from evidence.plan import Plan, load_plan
from wire.errors import ShopfloorError

Days = dict[str, np.ndarray]
ORDINALS = np.arange(date(2025, 9, 29).toordinal(), date(2025, 10, 13).toordinal())
OUTPUT = np.array([5.0, 0.0, 3.0, 0.0, 8.0, 9.0, 0.0] * 2)


def rows(words: dict[str, Any]) -> list[int]:
    mode = OperatingMode.model_validate(words)
    return np.flatnonzero(mode.rows(Conditions(ORDINALS, {"output": OUTPUT}))).tolist()


def test_a_mode_is_weekdays_dates_or_a_limit() -> None:
    # 2025-09-29 is a Monday.
    assert rows({"weekdays": ["saturday", "sunday"]}) == [5, 6, 12, 13]
    assert rows(
        {"dates": [{"from": "2025-10-01", "to": "2025-10-04"}, {"from": "2025-10-12", "to": "2025-10-20"}]}
    ) == [
        2,
        3,
        4,
        13,
    ]
    assert rows({"variable": "output", "at_most": 0}) == [1, 3, 6, 8, 10, 13]
    assert rows({"variable": "output", "at_least": 8}) == [4, 5, 11, 12]


def test_modes_are_ones_and_zeros_beside_the_variables() -> None:
    conditions = with_modes(
        Conditions(ORDINALS, {"output": OUTPUT}), {"closed": OperatingMode(variable="output", at_most=0.0)}
    )
    assert list(conditions.variables) == ["output", "closed"]
    assert conditions.variables["closed"].tolist() == (OUTPUT == 0).astype(float).tolist()


@pytest.fixture
def plan(retrofit_text: str) -> Plan:
    modes = "modes: {closed: {variable: output, at_most: 0}, holiday: {dates: [{from: 2025-08-01, to: 2025-08-11}]}}"
    return load_plan(retrofit_text.replace("model: linear,", f"model: linear, {modes},"), "plan.yaml")


def test_a_factory_with_modes_is_found_again(
    plan: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    holiday = np.isin(np.arange(142), np.arange(31, 41))
    days["energy"] = 400 + 0.4 * days["output"] + 6 * days["outdoor_temperature"]
    days["energy"] += np.where(days["output"] == 0, -150, 0) + np.where(holiday, 70, 0)
    found: Any = evaluate(plan, daily_table(plan, days)).kpis[1]
    named = {one.name: (one.value, one.unit) for one in found.model.coefficients}
    assert named["closed"] == (pytest.approx(-150), "kWh/d")
    assert named["holiday"] == (pytest.approx(70), "kWh/d")
    assert found.change == pytest.approx(0.0, abs=1e-9)


def test_a_mode_that_the_baseline_has_not_seen_is_not_guessed(
    plan: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Days]
) -> None:
    days = factory_days(1)
    days["output"] = np.maximum(days["output"], 1.0)
    found = evaluate(plan, daily_table(plan, days)).kpis[1]
    assert "coefficients_undetermined" in [reason.code for reason in found.reasons]


@pytest.mark.parametrize(
    ("modes", "problem"),
    [
        ("{output: {weekdays: [sunday]}}", "is the name of a series, too"),
        ("{closed: {variable: energy, at_most: 0}}", "'energy' is none of the 'variables' of this KPI"),
        ("{closed: {variable: output}}", "needs 'at_least' or 'at_most'"),
        ("{closed: {weekdays: [sunday], at_most: 3}}", "nothing else has them"),
        ("{closed: {weekdays: [sunday], dates: [{from: 2025-08-01, to: 2025-08-11}]}}", "give exactly one of"),
        ("{closed: {dates: [{from: 2025-08-11, to: 2025-08-11}]}}", "before it begins"),
        ("{closed: {weekdays: [sundy]}}", "sunday"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused(retrofit_text: str, modes: str, problem: str) -> None:
    with pytest.raises(ShopfloorError, match=problem):
        load_plan(retrofit_text.replace("model: linear,", f"model: linear, modes: {modes},"), "plan.yaml")
