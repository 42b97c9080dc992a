"""The mean model: every day is an average day of the baseline. What other models must beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Granularity, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray


class FittedMean(FittedModel):
    """One constant; variables are not looked at."""

    def __init__(self, fit: LeastSquares) -> None:
        self.fit = fit
        self.terms = (Term("intercept", None),)

    def design(self, conditions: Conditions) -> FloatArray:
        return np.ones((conditions.n, 1))


class MeanModel(BaselineModel):
    """The arithmetic mean of the baseline."""

    name: ClassVar[str] = "mean"
    granularities: ClassVar[frozenset[Granularity]] = frozenset({"day", "hour", "bill_month"})

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedMean | None:
        fit = fit_least_squares(np.ones((conditions.n, 1)), energy, conditions.weights)
        return None if fit is None else FittedMean(fit)
