"""The weekday model: a mean for each weekday of the baseline, and a slope for each variable.

Seven weekly means are what a factory with a fixed week and no counted output can offer; a weekday that the baseline has
not seen leaves the model undetermined. Learnt on hours it has a mean for each of the 168 hours of the week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Granularity, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def slot_name(slot: int, slots_a_week: int) -> str:
    """The name of a time of the week (`Conditions.slots`): ``monday``, of hours ``monday 07:00``."""
    if slots_a_week == len(WEEKDAYS):
        return WEEKDAYS[slot - 1]
    weekday, hour = divmod(slot - 1, 24)
    return f"{WEEKDAYS[weekday]} {hour:02d}:00"


class FittedWeekday(FittedModel):
    """A constant for each time of the week, Monday first, then the coefficient of each variable."""

    by_calendar = True

    def __init__(self, fit: LeastSquares, variables: tuple[str, ...], slots_a_week: int = len(WEEKDAYS)) -> None:
        self.fit = fit
        constants = (Term(slot_name(slot, slots_a_week), None) for slot in range(1, slots_a_week + 1))
        self.terms = (*constants, *(Term(name, name) for name in variables))

    def design(self, conditions: Conditions) -> FloatArray:
        values = {term.variable: conditions.variables[term.variable] for term in self.terms if term.variable}
        return _design(conditions, values)


class WeekdayModel(BaselineModel):
    """Ordinary least squares on an indicator of each time of the week and the given variables."""

    name: ClassVar[str] = "weekday"
    granularities: ClassVar[frozenset[Granularity]] = frozenset({"day", "hour"})

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedWeekday | None:
        fit = fit_least_squares(_design(conditions, conditions.variables), energy)
        return None if fit is None else FittedWeekday(fit, tuple(conditions.variables), conditions.slots_a_week)


def _design(conditions: Conditions, variables: Mapping[str, FloatArray]) -> FloatArray:
    indicators = conditions.slots[:, np.newaxis] == np.arange(1, conditions.slots_a_week + 1)
    return np.column_stack([indicators.astype(np.float64), *variables.values()])
