"""The worked numbers of the page on uncertainty are what the code computes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.alternative_intervals import AlternativeInterval, alternative_intervals
from evidence.baseline_model import Conditions
from evidence.comparison import BeforeAndAfter, Comparison, compare
from evidence.detectable_change import detectable_saving
from evidence.models import MODELS
from evidence.placebo import placebo_test
from evidence.specification_curve import specification_curve

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "uncertainty.md").read_text(encoding="utf-8")
LINES = re.findall(r"```\n(.*?)```", PAGE.split("\n## Worked numbers\n")[1], flags=re.DOTALL)[0].strip().splitlines()
BASELINE, LENGTH = 120, 160


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def interval(ends: tuple[float, float] | None) -> str:
    assert ends is not None
    return f"{percent(ends[0])} to {percent(ends[1])}"


def worked() -> dict[str, str]:
    """The factory of the page: 120 + 40 days, energy = 400 + 0.4 output + a swing of 25 kWh, a tenth less after."""
    day = np.arange(LENGTH)
    output = 2000.0 + 300.0 * np.sin(1.7 * day)
    energy = 400.0 + 0.4 * output + 25.0 * np.sin(0.9 * day + 0.01 * day**2)
    energy[BASELINE:] *= 0.9
    conditions = Conditions(738_000 + day, {"output": output})
    before = day < BASELINE
    data = BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])
    learnt = MODELS["linear"].learn(data.before, data.energy_before)
    assert learnt is not None
    compared: Comparison = compare(learnt, data.before, data.after, data.energy_after, 0.9)
    assert compared.change is not None
    exact, bootstrapped = _alternatives(learnt, data, compared)
    detectable = detectable_saving(compared)
    assert detectable is not None
    placebo = placebo_test(
        MODELS["linear"], data.before, data.energy_before, window_days=40, minimum_days=28, confidence=0.9
    )
    assert placebo.false_positive_rate is not None
    curve = specification_curve(
        MODELS, data, compared.change, required=frozenset({"output"}), minimum_days=28, confidence=0.9
    )
    return {
        "change": percent(compared.change),
        "interval": interval(compared.interval),
        "interval, exact AR(1)": interval(exact.interval),
        "interval, block bootstrap": interval(bootstrapped.interval),
        "placebo": f"{placebo.excluding_zero} of {placebo.windows} windows, {placebo.separate} separate",
        "false-positive rate": percent(placebo.false_positive_rate),
        "smallest saving that excludes zero": percent(detectable.excludes_zero),
        "saving found in 80 % of cases": percent(detectable.with_power),
        "specifications": f"{len(curve.specifications)} of {curve.tried}, {curve.same_sign} agree",
    }


def _alternatives(learnt: Any, data: BeforeAndAfter, compared: Comparison) -> tuple[AlternativeInterval, ...]:
    return alternative_intervals(
        learnt.fit,
        data.before.ordinals,
        learnt.design(data.after),
        data.after.ordinals,
        compared,
        confidence=0.9,
    )


@pytest.mark.parametrize("line", LINES)
def test_a_worked_number_is_what_the_code_computes(line: str) -> None:
    name, printed = line.split(" = ")
    assert worked()[name] == printed


def test_every_worked_number_is_printed() -> None:
    assert [line.split(" = ")[0] for line in LINES] == list(worked())
