"""Other intervals of the same avoided energy, shown beside the one that the verdict rests on.

Two methods that share little with it: the exact variance of a least-squares prediction under AR(1) noise, and a block
bootstrap of the residuals that assumes no form of dependence within a week. Where they disagree with the main interval
the assumptions matter, and a reader should know.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import stats

from evidence.block_bootstrap import quantile_of_sizes, resampled_sums
from evidence.comparison import Comparison, Interval
from evidence.normalised_comparison import NormalisedComparison, NormalPrediction
from evidence.regression import LeastSquares
from evidence.result import ResultModel
from evidence.table import FloatArray, IntArray
from evidence.uncertainty import (
    BLOCK_DAYS,
    MAXIMUM_RHO,
    REPLICATES,
    SEED,
    correlated_sum_factor,
    seen_by_blocks,
)


class AlternativeInterval(ResultModel):
    """An interval of the change by another method; None where the days do not determine it.

    ``half_width`` is of the saving, in the unit of the energy. ``block_days``, ``replicates`` and ``seed`` (PCG64) are
    those of a bootstrap. ``fit_on_days`` is about the change that the same model on days gives, not about the result's.
    """

    method: Literal["exact_ar1", "block_bootstrap", "ashrae_months", "fit_on_days"]
    interval: tuple[float, float] | None
    half_width: float | None
    block_days: int | None = None
    replicates: int | None = None
    seed: int | None = None


def alternative_intervals(
    fit: LeastSquares,
    fit_days: IntArray,
    reporting_design: FloatArray,
    reporting_days: IntArray,
    compared: Comparison,
    *,
    confidence: float,
) -> tuple[AlternativeInterval, ...]:
    """Return the exact AR(1) interval and the block bootstrap interval of a comparison.

    Both take rho and the degrees of freedom of the main interval; the bootstrap needs two blocks of baseline days.
    """
    found = compared.uncertainty
    exact = bootstrapped = None
    if found.rho_debiased is not None and found.t is not None:
        rho = found.rho_debiased
        exact = found.t * exact_standard_error(fit, fit_days, reporting_design, reporting_days, rho)
        if fit.n >= 2 * BLOCK_DAYS:
            # A bootstrap takes the spread of the residuals for known: t over normal widens it for the estimated one.
            widened = found.t / float(stats.norm.ppf(0.5 + confidence / 2.0))
            half_width = bootstrap_half_width(fit, reporting_design, min(rho, MAXIMUM_RHO), confidence)
            bootstrapped = widened * half_width
    return _described((compared.interval_with(exact), exact), (compared.interval_with(bootstrapped), bootstrapped))


def alternative_intervals_of_models(compared: NormalisedComparison) -> tuple[AlternativeInterval, ...]:
    """Return the same two intervals of a difference between two models under the same conditions.

    No noise of days is in it. Each period has its own rho, and both methods take the t of the main interval.
    """
    before, after, t = compared.before, compared.after, compared.t
    if before.rho_debiased is None or after.rho_debiased is None or t is None or compared.change is None:
        return _described((None, None), (None, None))
    variances = _exact_variance(before), _exact_variance(after)
    error = compared.relative_error(*variances)
    exact = None if error is None else t * error
    exact_kwh = t * math.sqrt(sum(variances))
    if min(before.model.fit.n, after.model.fit.n) < 2 * BLOCK_DAYS:
        return _described((compared.interval_with(exact), exact_kwh), (None, None))
    generator = np.random.PCG64(SEED)
    of_before, of_after = (_bootstrapped_total(one, generator) for one in (before, after))
    widened = t / float(stats.norm.ppf(0.5 + compared.confidence / 2.0))
    saving = widened * quantile_of_sizes(of_before - of_after, compared.confidence)
    relative = (
        widened * quantile_of_sizes(of_after - (1.0 + compared.change) * of_before, compared.confidence) / before.total
    )
    return _described((compared.interval_with(exact), exact_kwh), (compared.interval_with(relative), saving))


def _exact_variance(one: NormalPrediction) -> float:
    variance, spread = exact_model_variance(one.model.fit, one.days, one.column, one.rho_debiased or 0.0)
    return variance * spread


def _bootstrapped_total(one: NormalPrediction, generator: np.random.PCG64) -> FloatArray:
    fit, rho = one.model.fit, min(one.rho_debiased or 0.0, MAXIMUM_RHO)
    errors = resampled_sums(_scaled_residuals(fit), fit.design @ (fit.inverse @ one.column), generator)
    return np.asarray(errors / math.sqrt(seen_by_blocks(rho)))


def _described(
    exact: tuple[Interval | None, float | None], bootstrapped: tuple[Interval | None, float | None]
) -> tuple[AlternativeInterval, ...]:
    return (
        AlternativeInterval(method="exact_ar1", interval=exact[0], half_width=exact[1]),
        AlternativeInterval(
            method="block_bootstrap",
            interval=bootstrapped[0],
            half_width=bootstrapped[1],
            block_days=BLOCK_DAYS,
            replicates=REPLICATES,
            seed=SEED,
        ),
    )


def exact_standard_error(
    fit: LeastSquares, fit_days: IntArray, reporting_design: FloatArray, reporting_days: IntArray, rho: float
) -> float:
    """Standard error of the summed prediction error of ordinary least squares with AR(1) noise of lag-1 ``rho``.

    Var = s^2 [1'X_R (X'X)^-1 X'OX (X'X)^-1 X_R'1 + sum of rho^|i-j| over the reporting days], O = rho^|i-j| over the
    baseline days, s^2 = SSE/(n - tr((X'X)^-1 X'OX)), which is unbiased under O where SSE/(n - p) is too small.
    """
    variance, spread = exact_model_variance(fit, fit_days, reporting_design.sum(axis=0), rho)
    return math.sqrt(variance * (spread + correlated_sum_factor(reporting_days, rho)))


def exact_model_variance(fit: LeastSquares, fit_days: IntArray, column: FloatArray, rho: float) -> tuple[float, float]:
    """Return s^2 and the variance of ``column`` times the coefficients in units of s^2, under AR(1) noise."""
    correlation = np.power(max(rho, 0.0), np.abs(fit_days[:, np.newaxis] - fit_days[np.newaxis, :]))
    middle = fit.design.T @ correlation @ fit.design
    weights = fit.inverse @ column
    return fit.sse / (fit.n - float(np.trace(fit.inverse @ middle))), float(weights @ middle @ weights)


def bootstrap_half_width(fit: LeastSquares, reporting_design: FloatArray, rho: float, confidence: float) -> float:
    """Half width of the saving from a moving-block bootstrap of the residuals (Kuensch 1989), the model refitted.

    Residuals, scaled by sqrt(n/(n - p)), are drawn in blocks of `BLOCK_DAYS` used days for the baseline and for the
    reporting days; the error of a resample is that of the refitted model's sum minus that of the reporting days. The
    quantile of its absolute value is divided by the root of the share of the long-run variance that such blocks see.
    """
    scaled = _scaled_residuals(fit)
    generator = np.random.PCG64(SEED)
    influence = fit.design @ (fit.inverse @ reporting_design.sum(axis=0))
    errors = resampled_sums(scaled, influence, generator) - resampled_sums(
        scaled, np.ones(len(reporting_design)), generator
    )
    return quantile_of_sizes(errors, confidence) / math.sqrt(seen_by_blocks(max(rho, 0.0)))


def _scaled_residuals(fit: LeastSquares) -> FloatArray:
    return np.asarray((fit.residuals - fit.residuals.mean()) * math.sqrt(fit.n / (fit.n - fit.p)))
