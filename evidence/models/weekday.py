"""The weekday model: a mean for each weekday of the baseline, and a slope for each variable.

Seven weekly means are what a factory with a fixed week and no counted output can offer; a weekday that the baseline has
not seen leaves the model undetermined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray, IntArray

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class FittedWeekday(FittedModel):
    """Seven constants, Monday first, then the coefficient of each variable."""

    by_calendar = True

    def __init__(self, fit: LeastSquares, variables: tuple[str, ...]) -> None:
        self.fit = fit
        self.terms = (*(Term(name, None) for name in WEEKDAYS), *(Term(name, name) for name in variables))

    def design(self, conditions: Conditions) -> FloatArray:
        values = {term.variable: conditions.variables[term.variable] for term in self.terms if term.variable}
        return _design(conditions.weekdays, values)


class WeekdayModel(BaselineModel):
    """Ordinary least squares on seven weekday indicators and the given variables."""

    name: ClassVar[str] = "weekday"

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedWeekday | None:
        fit = fit_least_squares(_design(conditions.weekdays, conditions.variables), energy)
        return None if fit is None else FittedWeekday(fit, tuple(conditions.variables))


def _design(weekdays: IntArray, variables: Mapping[str, FloatArray]) -> FloatArray:
    indicators = weekdays[:, np.newaxis] == np.arange(1, 8)
    return np.column_stack([indicators.astype(np.float64), *variables.values()])
