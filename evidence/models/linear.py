"""The linear model: E = b0 + sum of b_j x_j. b0 is the base load of a day; of hours that of an hour.

Of bills, E and x are those of a day of the bill, and a bill weighs as many days as it has (weighted least squares).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Granularity, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray


class FittedLinear(FittedModel):
    """Coefficients of an intercept and of each variable, in the order of ``terms``."""

    def __init__(self, fit: LeastSquares, variables: tuple[str, ...]) -> None:
        self.fit = fit
        self.terms = (Term("intercept", None), *(Term(name, name) for name in variables))

    def design(self, conditions: Conditions) -> FloatArray:
        values = {term.variable: conditions.variables[term.variable] for term in self.terms if term.variable}
        return _design(values, conditions.n)


class LinearModel(BaselineModel):
    """Least squares on the given variables and an intercept."""

    name: ClassVar[str] = "linear"
    granularities: ClassVar[frozenset[Granularity]] = frozenset({"day", "hour", "bill_month"})

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedLinear | None:
        fit = fit_least_squares(_design(conditions.variables, conditions.n), energy, conditions.weights)
        return None if fit is None else FittedLinear(fit, tuple(conditions.variables))


def _design(variables: Mapping[str, FloatArray], days: int) -> FloatArray:
    return np.column_stack([np.ones(days), *variables.values()])
