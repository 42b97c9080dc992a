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

from evidence.comparison import Comparison
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
    those of a bootstrap.
    """

    method: Literal["exact_ar1", "block_bootstrap"]
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
    return (
        AlternativeInterval(method="exact_ar1", interval=compared.interval_with(exact), half_width=exact),
        AlternativeInterval(
            method="block_bootstrap",
            interval=compared.interval_with(bootstrapped),
            half_width=bootstrapped,
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
    rho = max(rho, 0.0)
    correlation = np.power(rho, np.abs(fit_days[:, np.newaxis] - fit_days[np.newaxis, :]))
    middle = fit.design.T @ correlation @ fit.design
    variance = fit.sse / (fit.n - float(np.trace(fit.inverse @ middle)))
    weights = fit.inverse @ reporting_design.sum(axis=0)
    return math.sqrt(variance * (float(weights @ middle @ weights) + correlated_sum_factor(reporting_days, rho)))


def bootstrap_half_width(fit: LeastSquares, reporting_design: FloatArray, rho: float, confidence: float) -> float:
    """Half width of the saving from a moving-block bootstrap of the residuals (Kuensch 1989), the model refitted.

    Residuals, scaled by sqrt(n/(n - p)), are drawn in blocks of `BLOCK_DAYS` used days for the baseline and for the
    reporting days; the error of a resample is that of the refitted model's sum minus that of the reporting days. The
    quantile of its absolute value is divided by the root of the share of the long-run variance that such blocks see.
    """
    n, m = fit.n, len(reporting_design)
    scaled = (fit.residuals - fit.residuals.mean()) * math.sqrt(n / (n - fit.p))
    generator = np.random.PCG64(SEED)
    influence = fit.design @ (fit.inverse @ reporting_design.sum(axis=0))
    errors = _resampled(scaled, influence, generator) - _resampled(scaled, np.ones(m), generator)
    quantile = float(np.sort(np.abs(errors))[math.ceil(confidence * REPLICATES) - 1])
    return quantile / math.sqrt(seen_by_blocks(max(rho, 0.0)))


def _resampled(residuals: FloatArray, weights: FloatArray, generator: np.random.PCG64) -> FloatArray:
    """Weighted sums of `REPLICATES` series of residuals, each as long as ``weights`` and made of blocks."""
    blocks = -(-len(weights) // BLOCK_DAYS)
    starts = len(residuals) - BLOCK_DAYS + 1
    padded = np.zeros(blocks * BLOCK_DAYS)
    padded[: len(weights)] = weights
    # The sum of a block depends on which is drawn and where it is put: all of them at once, a row a drawn block.
    sums = np.lib.stride_tricks.sliding_window_view(residuals, BLOCK_DAYS) @ padded.reshape(blocks, BLOCK_DAYS).T
    # The raw stream of a bit generator is stable across numpy versions; the methods of Generator are not.
    raw = np.asarray(generator.random_raw(REPLICATES * blocks), dtype=np.uint64)
    picked = (((raw >> np.uint64(32)) * np.uint64(starts)) >> np.uint64(32)).astype(np.int64)
    return np.asarray(sums[picked.reshape(REPLICATES, blocks), np.arange(blocks)].sum(axis=1))
