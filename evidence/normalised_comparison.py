"""Two models of one kind, one of each period, driven by the same normal conditions: those of all days of both periods.

IPMVP, normalised savings. Both totals are what models say, so their difference has the uncertainty of two sets of
coefficients and no noise of days beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from evidence.baseline_model import BaselineModel, Conditions, FittedModel
from evidence.comparison import BeforeAndAfter, Compared, Interval
from evidence.table import FloatArray, IntArray
from evidence.uncertainty import debiased_autocorrelation, effective_size, lag_one_autocorrelation


@dataclass(frozen=True)
class NormalPrediction:
    """A period's model and its ``total`` for the normal days.

    ``column`` is the sum of the normal days' design rows, ``days`` the day numbers the model was learnt on, ``degrees``
    n' - p. ``rho_debiased`` and ``variance``, that of ``total``, are None where n' < p + 1.
    """

    model: FittedModel
    days: IntArray
    column: FloatArray
    rho: float
    degrees: float
    rho_debiased: float | None
    variance: float | None

    @property
    def total(self) -> float:
        """What the model says for all normal days."""
        return float(self.column @ self.model.fit.coefficients)

    @classmethod
    def of(cls, model: FittedModel, days: IntArray, normal: Conditions) -> NormalPrediction:
        """Drive ``model``, learnt on ``days``, by the ``normal`` conditions."""
        fit = model.fit
        column: FloatArray = model.design(normal).sum(axis=0)
        rho = lag_one_autocorrelation(fit.residuals, days)
        degrees = effective_size(fit.n, rho) - fit.p
        if degrees < 1.0:
            return cls(model, days, column, rho, degrees, None, None)
        noise_rho = debiased_autocorrelation(rho, fit.n)
        spread = float(column @ fit.inverse @ column) * fit.variance
        return cls(model, days, column, rho, degrees, noise_rho, spread * (1.0 + noise_rho) / (1.0 - noise_rho))


@dataclass(frozen=True)
class NormalisedComparison(Compared):
    """Both predictions for ``normal_days``, with the Student t of the smaller of their degrees of freedom."""

    before: NormalPrediction
    after: NormalPrediction
    normal_days: int
    confidence: float

    @property
    def models(self) -> tuple[FittedModel, ...]:
        return self.before.model, self.after.model

    @property
    def saving(self) -> float:
        """What the first model says minus what the second says, positive = less."""
        return self.before.total - self.after.total

    @property
    def change(self) -> float | None:
        return self.after.total / self.before.total - 1.0 if self.before.total > 0 else None

    @property
    def degrees_of_freedom(self) -> float:
        return min(self.before.degrees, self.after.degrees)

    @property
    def t(self) -> float | None:
        degrees = self.degrees_of_freedom
        return float(stats.t.ppf(0.5 + self.confidence / 2.0, degrees)) if degrees >= 1.0 else None

    @property
    def half_width(self) -> float | None:
        """Half width of the saving."""
        if self.t is None or self.before.variance is None or self.after.variance is None:
            return None
        return self.t * math.sqrt(self.before.variance + self.after.variance)

    @property
    def relative_standard_error(self) -> float | None:
        if self.before.variance is None or self.after.variance is None:
            return None
        return self.relative_error(self.before.variance, self.after.variance)

    def relative_error(self, before: float, after: float) -> float | None:
        """Standard error of the change, that of a quotient to first order, from the variances of both totals."""
        if self.change is None:
            return None
        return math.sqrt(after + (1.0 + self.change) ** 2 * before) / self.before.total

    @property
    def interval(self) -> Interval | None:
        if self.t is None or self.relative_standard_error is None:
            return None
        return self.interval_with(self.t * self.relative_standard_error)

    def interval_with(self, half_width: float | None) -> Interval | None:
        """Interval of the change for another half width of the change."""
        if self.change is None or half_width is None:
            return None
        return self.change - half_width, self.change + half_width


def normalised_energy(model: BaselineModel, data: BeforeAndAfter, confidence: float) -> NormalisedComparison | None:
    """Learn ``model`` on each period and drive both by the days of both."""
    first, second = model.learn(data.before, data.energy_before), model.learn(data.after, data.energy_after)
    if first is None or second is None:
        return None
    return normalised_comparison(first, second, data, confidence)


def normalised_comparison(
    first: FittedModel, second: FittedModel, data: BeforeAndAfter, confidence: float
) -> NormalisedComparison:
    """Drive the models ``first`` and ``second`` of the two periods by the days of both."""
    normal = data.before.followed_by(data.after)
    before = NormalPrediction.of(first, data.before.ordinals, normal)
    after = NormalPrediction.of(second, data.after.ordinals, normal)
    return NormalisedComparison(before, after, normal.n, confidence)
