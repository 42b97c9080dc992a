"""How far the avoided energy of a model of bills may be from the truth."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from evidence.baseline_model import Conditions, FittedModel
from evidence.table import FloatArray
from evidence.uncertainty import SumUncertainty, effective_size, lag_one_autocorrelation

DAYS_A_MONTH = 365.25 / 12.0


def billed_sum_uncertainty(
    learnt: FittedModel, before: Conditions, design: FloatArray, after: Conditions, *, confidence: float
) -> SumUncertainty:
    """Interval of the avoided energy of the bills ``after``, by the prediction variance of weighted least squares.

    ``design`` (bills x p) is the model's, a day. Var = s^2 [L'X_R (X'WX)^-1 X_R'L + mean(l) sum of L], L the lengths of
    the reporting bills in days, l those of the baseline bills: the energy a day of a bill of mean length has the
    variance s^2, and energies of bills are taken for independent (ASHRAE Guideline 14: months are not correlated), so
    that t has n - p degrees of freedom. The autocorrelation of neighbouring bills is told, and corrects nothing: a
    dozen bills do not determine it.
    """
    fit = learnt.fit
    # Bills are rows in order; the number of a row tells neighbours.
    rho = lag_one_autocorrelation(fit.residuals, np.arange(fit.n, dtype=np.int64))
    degrees = float(fit.n - fit.p)
    lengths = np.ones(after.n) if after.lengths is None else after.lengths
    mean_length = 1.0 if before.lengths is None else float(before.lengths.mean())
    column = lengths @ design
    variance = fit.variance * (float(column @ fit.inverse @ column) + mean_length * float(lengths.sum()))
    t = float(stats.t.ppf(0.5 + confidence / 2.0, degrees))
    standard_error = math.sqrt(variance)
    return SumUncertainty(rho, effective_size(fit.n, rho), degrees, 0.0, standard_error, t, t * standard_error)


def k_monthly(months: float) -> float:
    """The factor for monthly models and M ``months`` of reporting: -0.00022 M^2 + 0.03306 M + 0.94054.

    Sun and Baltazar; it takes the place of the constant 1.26 of ASHRAE Guideline 14.
    """
    return -0.00022 * months**2 + 0.03306 * months + 0.94054


def ashrae_half_width(
    learnt: FittedModel, after: Conditions, adjusted_baseline: float, days: float, *, confidence: float
) -> float | None:
    """Half width of the saving by the fractional saving uncertainty of ASHRAE Guideline 14 for months.

    FSU = t k CV/F sqrt((1 + 2/n)/m), which times the saving is t k CV sqrt((1 + 2/n)/m) times the adjusted baseline. n
    baseline and m reporting bills; ``days`` of reporting make M months. None without a CV(RMSE).
    """
    fit = learnt.fit
    if fit.cv_rmse is None:
        return None
    t = float(stats.t.ppf(0.5 + confidence / 2.0, fit.n - fit.p))
    k = k_monthly(days / DAYS_A_MONTH)
    return t * k * fit.cv_rmse * math.sqrt((1.0 + 2.0 / fit.n) / after.n) * adjusted_baseline
