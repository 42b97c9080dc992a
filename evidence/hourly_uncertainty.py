"""How far the avoided energy of a model of hours may be from the truth.

The least-squares formulas take hours for almost independent, and their intervals are far too narrow. So the residuals
are resampled in blocks of seven whole days, and all that says how much such a baseline is worth is judged on days:
autocorrelation and n' are those of the residuals' daily sums, and the parameters that count are those that the daily
sums can tell apart (the rank of the design summed by days).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from evidence.baseline_model import Conditions, FittedModel
from evidence.block_bootstrap import quantile_of_sizes, resampled_sums
from evidence.table import FloatArray, IntArray
from evidence.uncertainty import (
    BLOCK_DAYS,
    MAXIMUM_RHO,
    SEED,
    SumUncertainty,
    debiased_autocorrelation,
    effective_size,
    lag_one_autocorrelation,
    seen_by_blocks,
)

HOURS_A_DAY = 24


def hourly_sum_uncertainty(
    learnt: FittedModel, before: Conditions, design: FloatArray, after: Conditions, *, confidence: float
) -> SumUncertainty:
    """Interval of the avoided energy of the hours ``after`` by a block bootstrap of the hourly residuals.

    ``design`` (hours x p) is the model's of the hours ``after``. The model is refitted to each resample: its error is
    linear in the residuals. Half width = t/z times the quantile of the absolute error, divided by the root of the share
    of the long-run variance that the blocks see; ``standard_error`` is the half width over t. Undetermined (None) with
    n' < p + 1 days or fewer days than two blocks.

    Residuals are scaled by n/(n - p), and by 1/(1 - 7/n) because those of a fit with a constant sum to nothing, which
    takes that share from the sums of blocks. t has n' - p degrees of freedom, but not more than 3/2 n/7 - 1: a variance
    from overlapping blocks is known no better (it is Bartlett's estimate; Priestley, Spectral analysis and time series,
    6.2.4).
    """
    fit = learnt.fit
    days, first, row = np.unique(before.ordinals, return_index=True, return_inverse=True)
    cells = row * HOURS_A_DAY + _hours(before)
    daily = np.bincount(row, weights=fit.residuals).astype(np.float64)
    rho = lag_one_autocorrelation(daily, days)
    parameters = _rank_by_days(fit.design, first)
    n_effective = effective_size(len(days), rho)
    degrees = n_effective - parameters
    if degrees < 1.0 or len(days) < 2 * BLOCK_DAYS:
        return SumUncertainty(rho, n_effective, degrees)
    noise_rho = debiased_autocorrelation(rho, len(days))
    residuals = np.zeros(len(days) * HOURS_A_DAY)
    lost = (1.0 - parameters / len(days)) * (1.0 - BLOCK_DAYS / len(days))
    residuals[cells] = fit.residuals / math.sqrt(lost)
    influence = np.zeros(len(residuals))
    influence[cells] = fit.design @ (fit.inverse @ design.sum(axis=0))
    generator = np.random.PCG64(SEED)
    errors = resampled_sums(residuals, influence, generator, HOURS_A_DAY)
    errors -= resampled_sums(residuals, _cells(after), generator, HOURS_A_DAY)
    degrees = min(degrees, 1.5 * len(days) / BLOCK_DAYS - 1.0)
    t = float(stats.t.ppf(0.5 + confidence / 2.0, degrees))
    widened = t / float(stats.norm.ppf(0.5 + confidence / 2.0))
    seen = seen_by_blocks(min(noise_rho, MAXIMUM_RHO))
    half_width = widened * quantile_of_sizes(errors, confidence) / math.sqrt(seen)
    return SumUncertainty(rho, n_effective, degrees, noise_rho, half_width / t, t, half_width)


def _hours(conditions: Conditions) -> IntArray:
    return np.zeros(conditions.n, dtype=np.int64) if conditions.hours is None else conditions.hours


def _cells(conditions: Conditions) -> FloatArray:
    """One for each hour of ``conditions`` in a grid of their days times 24 hours, zero for those that are not there."""
    days, row = np.unique(conditions.ordinals, return_inverse=True)
    return np.bincount(row * HOURS_A_DAY + _hours(conditions), minlength=len(days) * HOURS_A_DAY).astype(np.float64)


def _rank_by_days(design: FloatArray, first: IntArray) -> int:
    """Rank of the design summed by days; ``first`` are the positions at which days begin."""
    summed = np.add.reduceat(design, first, axis=0)
    lengths = np.sqrt(np.einsum("ij,ij->j", summed, summed))
    tolerance = 1e-8 * math.sqrt(len(first))
    return int(np.linalg.matrix_rank(summed[:, lengths > 0] / lengths[lengths > 0], tol=tolerance))
