"""The choice of a baseline model, by a rule that is stated before the data are seen.

Every model is judged on weeks that it has not learnt from: the baseline is cut into calendar weeks, each is left out
once, predicted by the model that the others give, and the errors of all weeks make one CV(RMSE). Whole weeks, because
the energies of neighbouring days resemble each other and a model that has seen yesterday is no test. Of the models
within `TOLERANCE` of the best the one with the fewest coefficients wins: what a model gains by more coefficients must
be more than chance gives it (the parsimony of the one-standard-error rule; Hastie, Tibshirani, Friedman: The Elements
of Statistical Learning, 7.10).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel
from evidence.table import FloatArray

TOLERANCE = 0.05
"""How much worse than the best a simpler model may be, as a fraction of the best CV(RMSE)."""

MINIMUM_WEEKS = 4


@dataclass(frozen=True)
class Judged:
    """One model of the choice: its fit on all days, and CV(RMSE) on weeks left out; None where there is none."""

    name: str
    learnt: FittedModel | None
    cv_rmse_left_out: float | None


def judge(models: Mapping[str, BaselineModel], conditions: Conditions, energy: FloatArray) -> list[Judged]:
    """Judge ``models`` on the baseline days, the chosen one first, then by CV(RMSE) left out, then those without."""
    found = [
        Judged(name, model.learn(conditions, energy), _left_out(model, conditions, energy))
        for name, model in models.items()
        if not model.needs_temperature or conditions.temperature is not None
    ]
    ranked = sorted(found, key=lambda one: (_error(one), one.name))
    best = _error(ranked[0]) if ranked else math.inf
    eligible = [one for one in ranked if _error(one) <= best * (1.0 + TOLERANCE) and one.learnt is not None]
    if not math.isfinite(best) or not eligible:
        return ranked
    chosen = min(eligible, key=lambda one: (one.learnt.fit.p if one.learnt else 0, _error(one), one.name))
    return [chosen, *(one for one in ranked if one is not chosen)]


def _error(judged: Judged) -> float:
    """What the choice rests on, to twelve digits: those after them are the processor's, and models may be equals."""
    usable = judged.learnt is not None and judged.cv_rmse_left_out is not None
    return round(judged.cv_rmse_left_out, 12) if usable and judged.cv_rmse_left_out is not None else math.inf


def _left_out(model: BaselineModel, conditions: Conditions, energy: FloatArray) -> float | None:
    """CV(RMSE) of the days predicted without their week; None where a week cannot be predicted."""
    weeks = (conditions.ordinals - 1) // 7
    mean = float(energy.mean()) if len(energy) else 0.0
    if len(np.unique(weeks)) < MINIMUM_WEEKS or mean <= 0:
        return None
    squared = 0.0
    for week in np.unique(weeks):
        left_out = weeks == week
        learnt = model.learn(conditions.only(~left_out), energy[~left_out])
        if learnt is None:
            return None
        errors = energy[left_out] - learnt.design(conditions.only(left_out)) @ learnt.fit.coefficients
        squared += float(errors @ errors)
    return math.sqrt(squared / len(energy)) / mean
