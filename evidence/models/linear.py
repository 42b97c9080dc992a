"""The linear day model: E = b0 + sum of b_j x_j. b0 is the base load of a day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, FittedModel, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray


class FittedLinear(FittedModel):
    """Coefficients of an intercept and of each variable, in the order of ``terms``."""

    def __init__(self, fit: LeastSquares, variables: tuple[str, ...]) -> None:
        self.fit = fit
        self.terms = (Term("intercept", None), *(Term(name, name) for name in variables))

    def design(self, variables: Mapping[str, FloatArray], days: int) -> FloatArray:
        return _design({term.variable: variables[term.variable] for term in self.terms if term.variable}, days)


class LinearModel(BaselineModel):
    """Ordinary least squares on the given variables and an intercept."""

    name: ClassVar[str] = "linear"

    def learn(self, variables: Mapping[str, FloatArray], energy: FloatArray) -> FittedLinear | None:
        fit = fit_least_squares(_design(variables, len(energy)), energy)
        return None if fit is None else FittedLinear(fit, tuple(variables))


def _design(variables: Mapping[str, FloatArray], days: int) -> FloatArray:
    return np.column_stack([np.ones(days), *variables.values()])
