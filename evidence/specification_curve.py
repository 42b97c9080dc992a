"""The specification curve: what other defensible models and baseline windows would have said.

Every model that could have been planned, on the whole baseline, its first and its last two thirds (Simonsohn, Simmons
and Nelson: Specification curve analysis, Nature Human Behaviour 4, 2020). Not the plan's figure, and no vote on it: it
shows how much of a claim hangs on a choice that somebody made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evidence.baseline_model import BaselineModel, FittedModel
from evidence.comparison import BeforeAndAfter, Method, avoided_energy
from evidence.industrial_gate import gate_reasons
from evidence.result import ResultModel
from evidence.table import IntArray

Window = Literal["whole", "first_two_thirds", "last_two_thirds"]


class Specification(ResultModel):
    """One model on one window of the baseline: its days, and the change of the reporting period with its interval."""

    model: str
    window: Window
    n: int
    change: float
    interval: tuple[float, float]


class SpecificationCurve(ResultModel):
    """The admissible specifications by change, the largest decrease first.

    ``tried`` counts all specifications, admissible or not; ``same_sign`` those whose change has the sign of the
    plan's, and ``same_sign_excluding_zero`` those of them whose interval excludes zero.
    """

    specifications: tuple[Specification, ...]
    tried: int
    same_sign: int
    same_sign_excluding_zero: int


def specification_curve(
    models: Mapping[str, BaselineModel],
    data: BeforeAndAfter,
    change: float,
    *,
    required: frozenset[str],
    minimum_days: int,
    confidence: float,
    method: Method = avoided_energy,
) -> SpecificationCurve:
    """Compare by every admissible model and window with ``method``; ``change`` is the plan's figure.

    Admissible: at least ``minimum_days`` baseline days (or bills), coefficients determined, the industrial gate passed
    by every model of the comparison, every one of the variables ``required`` (production) in it, and an interval.
    """
    found = []
    tried = 0
    for window, chosen in _windows(data.before.ordinals):
        before, energy = data.before.only(chosen), data.energy_before[chosen]
        for name, model in models.items():
            if model.needs_temperature and before.temperature is None:
                continue
            if before.granularity not in model.granularities:
                continue
            tried += 1
            if len(np.unique(before.ordinals)) < minimum_days:
                continue
            part = BeforeAndAfter(before, energy, data.after, data.energy_after)
            compared = method(model, part, confidence)
            if compared is None or not all(_admissible(learnt, required) for learnt in compared.models):
                continue
            if compared.change is not None and compared.interval is not None:
                found.append(
                    Specification(
                        model=name, window=window, n=before.n, change=compared.change, interval=compared.interval
                    )
                )
    agreeing = [one for one in found if one.change * change > 0]
    # Models that are one on these days differ in the last digits, by the processor: their order is that of names.
    return SpecificationCurve(
        specifications=tuple(sorted(found, key=lambda one: (round(one.change, 12), one.model, one.window))),
        tried=tried,
        same_sign=len(agreeing),
        same_sign_excluding_zero=sum(not one.interval[0] <= 0.0 <= one.interval[1] for one in agreeing),
    )


def _windows(ordinals: IntArray) -> Iterator[tuple[Window, NDArray[np.bool_]]]:
    """The whole baseline, and its first and last two thirds by calendar."""
    span = int(ordinals[-1] - ordinals[0]) + 1
    part = -(-2 * span // 3)
    yield "whole", np.ones(len(ordinals), dtype=bool)
    yield "first_two_thirds", ordinals < ordinals[0] + part
    yield "last_two_thirds", ordinals > ordinals[-1] - part


def _admissible(learnt: FittedModel, required: frozenset[str]) -> bool:
    if not required <= {term.variable for term in learnt.terms}:
        return False
    return not any(reason.level == "blocking" for reason in gate_reasons(learnt))
