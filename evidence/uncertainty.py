"""How far a figure may be from the truth: intervals for changes of dependent days.

Days are not independent: a hot week, a campaign, a slow start last longer than a day. Intervals that ignore this are
too narrow. Two methods are here: regression residuals get a lag-1 (AR(1)) correction, ratios of sums a block
bootstrap. Which variant of each is used was decided by measured coverage; the tables stand in ``docs/evidence.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evidence.regression import LeastSquares
from evidence.table import FloatArray, IntArray

BLOCK_DAYS = 7
"""Length of a block: a whole week, so that a week's pattern stays inside one."""
REPLICATES = 4000
MAXIMUM_RHO = 0.95
MAXIMUM_LOG_CHANGE = math.log(1e6)
"""An interval that reaches a million times the baseline says nothing."""
LARGEST_LOG = math.log(1e12)
"""A change by more than this factor is no finding."""
SEED = 2_718_281_828
"""Fixed, and recorded in every result: the same days give the same interval, everywhere."""


def lag_one_autocorrelation(residuals: FloatArray, ordinals: IntArray) -> float:
    """Lag-1 autocorrelation of daily residuals: sum of e_t e_(t+1) over sum of e_t^2.

    ``ordinals`` are day numbers; only neighbouring days make a pair, and with days missing the sum over pairs is
    scaled to the n - 1 pairs that a series without holes has. Zero when there is no pair or no residual.
    """
    squares = float(residuals @ residuals)
    neighbours = np.diff(ordinals) == 1
    pairs = int(np.count_nonzero(neighbours))
    if pairs == 0 or squares <= 0:
        return 0.0
    products = residuals[1:][neighbours] * residuals[:-1][neighbours]
    return float(products.sum()) * (len(residuals) - 1) / pairs / squares


def effective_size(n: int, rho: float) -> float:
    """How many independent days n correlated days are worth: n' = n (1 - rho)/(1 + rho) (ASHRAE Guideline 14).

    A negative ``rho`` counts as zero: correlation that would narrow an interval is never taken credit for.
    """
    rho = max(rho, 0.0)
    return n * (1.0 - rho) / (1.0 + rho)


def debiased_autocorrelation(rho: float, n: float) -> float:
    """Lag-1 autocorrelation of the noise behind an estimate from ``n`` days: rho + (1 + 3 rho)/n.

    The estimate is too small by (1 + 3 rho)/n on average (Kendall 1954; Marriott and Pope 1954), which alone costs two
    points of coverage at rho = 0.8. Zero and less stay zero.
    """
    return rho + (1.0 + 3.0 * rho) / n if rho > 0 else 0.0


def correlated_sum_factor(ordinals: IntArray, rho: float) -> float:
    """Variance of a sum of AR(1) noise over the given days, in units of one day's variance: sum of rho^|i-j|.

    For m days without holes this is m [(1+rho)/(1-rho) - 2 rho (1-rho^m)/(m (1-rho)^2)]. Negative ``rho`` counts as
    zero.
    """
    rho = max(rho, 0.0)
    if rho == 0.0:
        return float(len(ordinals))
    distances = np.abs(ordinals[:, np.newaxis] - ordinals[np.newaxis, :])
    return float(np.power(rho, distances).sum())


@dataclass(frozen=True)
class SumUncertainty:
    """Uncertainty of baseline model minus measurement, summed over the reporting days.

    ``rho`` is the lag-1 autocorrelation of the residuals and ``rho_debiased`` what stands for the noise;
    ``standard_error`` and ``half_width`` are in the unit of the fitted values. The last four are None when n' < p +
    1: the days do not determine them.
    """

    rho: float
    n_effective: float
    degrees_of_freedom: float
    rho_debiased: float | None = None
    standard_error: float | None = None
    t: float | None = None
    half_width: float | None = None


def prediction_sum_uncertainty(
    fit: LeastSquares, fit_days: IntArray, reporting_design: FloatArray, reporting_days: IntArray, *, confidence: float
) -> SumUncertainty:
    """Interval of the avoided energy of a least-squares baseline with AR(1) residuals.

    Var = s^2 (1+r)/(1-r) 1'X_R (X'X)^-1 X_R'1 + s^2 sum of r^|i-j| over the reporting days, with r the debiased lag-1
    autocorrelation of the residuals; t on n' - p degrees of freedom, n' from the autocorrelation as it is. ``fit_days``
    and ``reporting_days`` are day numbers of the rows of both designs. Coefficients of correlated days are as uncertain
    as those of n (1-r)/(1+r) days, hence the factor; the last term is the noise of the reporting days themselves.
    """
    rho = lag_one_autocorrelation(fit.residuals, fit_days)
    n_effective = effective_size(fit.n, rho)
    degrees = n_effective - fit.p
    if degrees < 1.0:
        return SumUncertainty(rho, n_effective, degrees)
    # Below one wherever n' >= 2: 1 - r >= 2 (1 + rho)/n - (1 + 3 rho)/n = (1 - rho)/n.
    noise_rho = debiased_autocorrelation(rho, fit.n)
    total = reporting_design.sum(axis=0)
    of_model = float(total @ fit.inverse @ total) * (1.0 + noise_rho) / (1.0 - noise_rho)
    standard_error = math.sqrt(fit.variance * (of_model + correlated_sum_factor(reporting_days, noise_rho)))
    t = float(stats.t.ppf(0.5 + confidence / 2.0, degrees))
    return SumUncertainty(rho, n_effective, degrees, noise_rho, standard_error, t, t * standard_error)


@dataclass(frozen=True)
class RatioSample:
    """Two increments by calendar day of one period, for a ratio of sums.

    ``numerator`` and ``denominator`` have one entry a calendar day, zero where ``used`` is False; ``weekdays`` are 0-6.
    """

    numerator: FloatArray
    denominator: FloatArray
    used: NDArray[np.bool_]
    weekdays: IntArray

    @property
    def ratio(self) -> float:
        """Sum over sum."""
        return float(self.numerator.sum() / self.denominator.sum())


@dataclass(frozen=True)
class RatioChange:
    """Interval of the change of a ratio of sums; ``interval`` is None when the resamples do not determine it."""

    interval: tuple[float, float] | None
    log_standard_error: float
    rho: float
    blocks: tuple[int, int]


def ratio_change_interval(baseline: RatioSample, reporting: RatioSample, confidence: float) -> RatioChange:
    """Interval of reporting/baseline - 1 by a studentised moving-block bootstrap of the log ratio.

    Both periods are resampled in whole weeks of consecutive calendar days (moving blocks, Kuensch 1989), `REPLICATES`
    times. Each resample is judged in units of its own standard error from the spread of its blocks (Goetze and Kuensch
    1996); the quantile of the absolute values gives an interval symmetric in the logarithm. The standard error of the
    data is divided by the square root of 1 - 2 rho (1 - rho^L)/(L (1 - rho^2)), the share of the long-run variance
    that blocks of L days see when days follow AR(1); rho is the lag-1 autocorrelation of the daily deviations from
    the ratio, weekday means removed, debiased, negative counted as zero.

    Needs at least two blocks a period. Raises nothing for unlucky data: resamples without production count as
    infinitely far, and None is returned when they reach into the quantile.
    """
    generator = np.random.PCG64(SEED)
    first, second = _Blocks.of(baseline), _Blocks.of(reporting)
    draw_first, draw_second = first.resample(generator), second.resample(generator)
    centre = math.log(second.centre) - math.log(first.centre)
    spread = np.sqrt(draw_first[1] + draw_second[1])
    distance = np.abs(draw_second[0] - draw_first[0] - centre)
    # No production in a resample: its ratio is infinite or not a number, and it says nothing good about the data.
    determined = np.isfinite(distance) & np.isfinite(spread) & (spread > 0)
    statistic = np.full(REPLICATES, np.inf)
    statistic[determined] = distance[determined] / spread[determined]
    statistic[np.isfinite(distance) & (distance == 0)] = 0.0
    rho = _pooled_autocorrelation(baseline, reporting)
    standard_error = math.sqrt((first.log_variance + second.log_variance) / seen_by_blocks(rho))
    quantile = float(np.sort(statistic)[math.ceil(confidence * REPLICATES) - 1])
    blocks = (first.drawn, second.drawn)
    change = math.log(reporting.ratio) - math.log(baseline.ratio)
    half = quantile * standard_error
    # An upper end that no number holds is none: the resamples hardly ever contain what is divided by.
    if not change + half < LARGEST_LOG:
        return RatioChange(None, standard_error, rho, blocks)
    return RatioChange((math.expm1(change - half), math.expm1(change + half)), standard_error, rho, blocks)


@dataclass(frozen=True)
class _Blocks:
    """Sums of a period's moving blocks; ``drawn`` blocks make a resample."""

    numerator: FloatArray
    denominator: FloatArray
    drawn: int
    log_variance: float
    centre: float

    @classmethod
    def of(cls, sample: RatioSample) -> _Blocks:
        days = len(sample.numerator)
        drawn = max(round(days / BLOCK_DAYS), 2)
        window = np.ones(BLOCK_DAYS)
        numerator = np.convolve(sample.numerator, window, mode="valid")
        denominator = np.convolve(sample.denominator, window, mode="valid")
        deviations = numerator - sample.ratio * denominator
        variance = days / BLOCK_DAYS * float(np.mean(deviations**2)) / float(sample.numerator.sum()) ** 2
        centre = float(numerator.sum() / denominator.sum())
        return cls(numerator, denominator, drawn, variance * drawn / (drawn - 1), centre)

    def resample(self, generator: np.random.PCG64) -> tuple[FloatArray, FloatArray]:
        """Return log ratio and its variance for each resample."""
        # The raw stream of a bit generator is stable across numpy versions; the methods of Generator are not.
        raw = np.asarray(generator.random_raw(REPLICATES * self.drawn), dtype=np.uint64)
        picked = ((raw >> np.uint64(32)) * np.uint64(len(self.numerator))) >> np.uint64(32)
        picked = picked.reshape(REPLICATES, self.drawn)
        numerator, denominator = self.numerator[picked], self.denominator[picked]
        with np.errstate(divide="ignore", invalid="ignore"):
            total = numerator.sum(axis=1)
            ratio = total / denominator.sum(axis=1)
            deviations = numerator - ratio[:, np.newaxis] * denominator
            variance = self.drawn / (self.drawn - 1) * (deviations**2).sum(axis=1) / total**2
            return np.log(ratio), variance


def seen_by_blocks(rho: float) -> float:
    """Share of the long-run variance of AR(1) noise that blocks of `BLOCK_DAYS` days see."""
    return 1.0 - 2.0 * rho * (1.0 - rho**BLOCK_DAYS) / (BLOCK_DAYS * (1.0 - rho**2))


def _pooled_autocorrelation(*samples: RatioSample) -> float:
    products = squares = 0.0
    for sample in samples:
        deviations = sample.numerator - sample.ratio * sample.denominator
        for weekday in range(7):
            of_weekday = sample.used & (sample.weekdays == weekday)
            if of_weekday.any():
                deviations[of_weekday] -= deviations[of_weekday].mean()
        neighbours = sample.used[1:] & sample.used[:-1]
        products += float((deviations[1:] * deviations[:-1])[neighbours].sum())
        squares += float((deviations[sample.used] ** 2).sum())
    if squares <= 0:
        return 0.0
    # Each period has means of its own, so that the bias is that of a series as long as one of them.
    days = sum(int(np.count_nonzero(sample.used)) for sample in samples) / len(samples)
    # Short of one, where the block correction ends: no series of days this short can tell 0.95 from more.
    return min(debiased_autocorrelation(products / squares, days), MAXIMUM_RHO)
