"""Candidate non-routine events on daily residuals: runs of days whose level stands apart from the other days.

The statistic is that of circular binary segmentation (Olshen, Venkatraman, Lucito and Wigler, Biostatistics 5, 2004):
the largest difference of means between a run of days and all others, from differences of the residuals' cumulative sum,
in units of its standard error. Days are not independent, so two things differ from the source: the standard error is
that of means of AR(1) noise, and the null distribution is drawn from AR(1) noise of the residuals' own autocorrelation
and not from permutations. A run that is found is taken out, and the rest is searched again. Runs are counted in used
days: one may lie across days that are not.

What is found is a question to people. Nothing is left out because of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from evidence.table import FloatArray, IntArray
from evidence.uncertainty import MAXIMUM_RHO, debiased_autocorrelation, lag_one_autocorrelation

FALSE_ALARM_LEVEL = 0.05
"""How often a period without any event has a candidate, at most: for each period of each model."""
MINIMUM_RUN = 3
"""Days. A single odd day is seen in the chart and moves a sum little; looking for it costs false alarms."""
MINIMUM_DAYS = 28
"""Four weeks: every weekday is seen four times."""
MOST_CANDIDATES = 5
REPLICATES = 999
SEED = 1_618_033_988
"""Fixed: the same days give the same candidates, everywhere."""
RHO_STEP = 0.05
"""The null distribution is drawn for the next multiple of this at or above the autocorrelation."""
ROUNDING = 1e-9
"""Residuals of this share of the energy are no noise but rounding; no statistic is above its inverse."""
_RUN_GROWTH = 1.2
"""Lengths of runs grow by this factor: a run between two lengths is found by the nearer one."""
_SETTLING = 60
"""Values of the noise before the first one used: 0.95^60 is below a twentieth."""
_DAYS_A_WEEK = 7


@dataclass(frozen=True)
class Run:
    """A run of days, ``first`` to before ``end`` (positions among the used days), and how it stands apart.

    ``level`` is the mean of its days minus that of all others, a day; ``statistic`` that in standard errors.
    """

    first: int
    end: int
    level: float
    statistic: float


@dataclass(frozen=True)
class Search:
    """The runs found, the largest statistic first; ``critical`` is what the first one had to exceed, at ``rho``."""

    runs: tuple[Run, ...]
    rho: float
    critical: float


def search_runs(residuals: FloatArray, ordinals: IntArray, load: FloatArray | None = None) -> Search | None:
    """Look for runs of days in ``residuals`` that stand apart from the others; None below `MINIMUM_DAYS` days.

    ``ordinals`` are the day numbers. The residuals' own mean and their weekday means are taken out first, and with
    ``load`` (the model's prediction for each day) a slope on it: a saving of so much a day, or of so much of the load,
    is no event. What is left is tested against itself only.
    """
    if len(residuals) < MINIMUM_DAYS:
        return None
    left = _without(_weekday_means(ordinals, load), residuals)
    runs: list[Run] = []
    first_rho = first_critical = 0.0
    while len(runs) < MOST_CANDIDATES:
        rho = noise_rho(left, ordinals)
        limit = critical_value(len(left), rho)
        if not runs:
            first_rho, first_critical = rho, limit
        if float(left @ left) <= 0.0:
            break
        first, length = (int(found[0]) for found in _widest(left[np.newaxis, :], np.array([rho])))
        levelled, inside = _levelled(left, first, first + length)
        statistic = float(_statistic(left, levelled, inside, noise_rho(levelled, ordinals)))
        if statistic <= limit:
            break
        first, end = _refined(left, first, first + length, rho)
        levelled, inside = _levelled(left, first, end)
        runs.append(Run(first, end, float(left[inside].mean() - left[~inside].mean()), statistic))
        left = levelled
    return Search(tuple(runs), first_rho, first_critical)


def noise_rho(residuals: FloatArray, ordinals: IntArray) -> float:
    """Debiased lag-1 autocorrelation, no less than 0 and no more than `MAXIMUM_RHO`."""
    rho = debiased_autocorrelation(lag_one_autocorrelation(residuals, ordinals), len(residuals))
    return min(max(rho, 0.0), MAXIMUM_RHO)


def critical_value(n: int, rho: float) -> float:
    """What the largest statistic of ``n`` days of AR(1) noise exceeds in `FALSE_ALARM_LEVEL` of all cases."""
    return _critical(n, min(math.ceil(rho / RHO_STEP - 1e-9) * RHO_STEP, MAXIMUM_RHO))


def variance_of_mean(length: IntArray | int, rho: FloatArray | float) -> FloatArray:
    """Variance of the mean of ``length`` consecutive days of AR(1) noise, in units of one day's variance.

    [(1+r)/(1-r) - 2 r (1-r^L)/(L (1-r)^2)]/L.
    """
    days, r = np.asarray(length, dtype=np.float64), np.asarray(rho, dtype=np.float64)
    return np.asarray(((1 + r) / (1 - r) - 2 * r * (1 - r**days) / (days * (1 - r) ** 2)) / days)


def _statistic(
    values: FloatArray, levelled: FloatArray, inside: NDArray[np.bool_], rho: FloatArray | float
) -> FloatArray:
    """Difference of means in standard errors, the last axis being days. Spread and autocorrelation are those of what is
    left when both levels are taken out: an event would hide behind its own."""
    n = values.shape[-1]
    days = inside.sum(axis=-1)
    total = np.where(inside, values, 0.0).sum(axis=-1)
    difference = total / days - (values.sum(axis=-1) - total) / (n - days)
    spread = (levelled**2).sum(axis=-1) / (n - 2)
    error = np.sqrt(spread * (variance_of_mean(days, rho) + variance_of_mean(n - days, rho)))
    # Days without any noise but a step in it: no candidate is surer, and a result holds finite numbers.
    return np.asarray(np.abs(difference) / np.maximum(error, np.abs(difference) * ROUNDING))


def _lengths(n: int) -> list[int]:
    found, length = [], MINIMUM_RUN
    while length <= n - MINIMUM_RUN:
        found.append(length)
        length = max(length + 1, int(length * _RUN_GROWTH))
    return found


def _widest(rows: FloatArray, rho: FloatArray) -> tuple[IntArray, IntArray]:
    """First position and length of the run that stands furthest apart, for each row of residuals with mean zero."""
    count, n = rows.shape
    sums = np.concatenate([np.zeros((count, 1)), np.cumsum(rows, axis=1)], axis=1)
    best, first, run = np.full(count, -1.0), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for length in _lengths(n):
        of_runs = np.abs(sums[:, length:] - sums[:, :-length])
        place = of_runs.argmax(axis=1)
        highest = of_runs[np.arange(count), place] * (1 / length + 1 / (n - length))
        apart = highest / np.sqrt(variance_of_mean(length, rho) + variance_of_mean(n - length, rho))
        higher = apart > best
        best[higher], first[higher], run[higher] = apart[higher], place[higher], length
    return first, run


def _levelled(values: FloatArray, first: int, end: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """What is left when the run and the other days each lose their mean, and which days the run is."""
    inside = _inside(len(values), np.array([first]), np.array([end - first]))[0]
    return values - np.where(inside, values[inside].mean(), values[~inside].mean()), inside


def _refined(values: FloatArray, first: int, end: int, rho: float) -> tuple[int, int]:
    """The run near ``first`` to ``end`` that stands furthest apart: lengths between those that were tried are, too."""
    n, reach = len(values), math.ceil((_RUN_GROWTH - 1.0) * (end - first))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    best, found = -1.0, (first, end)
    for start in range(max(first - reach, 0), min(first + reach, n - MINIMUM_RUN) + 1):
        stops = np.arange(max(start + MINIMUM_RUN, end - reach), min(end + reach, n, start + n - MINIMUM_RUN) + 1)
        if not stops.size:
            continue
        length = stops - start
        means = np.abs((sums[stops] - sums[start]) / length - (sums[-1] - sums[stops] + sums[start]) / (n - length))
        apart = means / np.sqrt(variance_of_mean(length, rho) + variance_of_mean(n - length, rho))
        place = int(apart.argmax())
        if apart[place] > best:
            best, found = float(apart[place]), (start, int(stops[place]))
    return found


def _inside(n: int, first: IntArray, length: IntArray) -> NDArray[np.bool_]:
    day = np.arange(n)
    return np.asarray((day >= first[:, np.newaxis]) & (day < (first + length)[:, np.newaxis]))


@lru_cache(maxsize=256)
def _critical(n: int, rho: float) -> float:
    generator = np.random.PCG64(SEED)
    # The raw stream of a bit generator is stable across numpy versions; the methods of Generator are not.
    raw = np.asarray(generator.random_raw(REPLICATES * (n + _SETTLING)), dtype=np.uint64) >> np.uint64(11)
    normal = ndtri((raw.astype(np.float64) + 0.5) / 2.0**53).reshape(REPLICATES, n + _SETTLING)
    noise = np.asarray(lfilter([1.0], [1.0, -rho], normal, axis=1))[:, _SETTLING:]
    days = np.arange(1, n + 1)
    noise = _without(_weekday_means(days, None), noise.T).T
    first, length = _widest(noise, _row_rho(noise))
    inside = _inside(n, first, length)
    days_in = inside.sum(axis=1, keepdims=True)
    mean_in = np.where(inside, noise, 0.0).sum(axis=1, keepdims=True) / days_in
    mean_out = np.where(inside, 0.0, noise).sum(axis=1, keepdims=True) / (n - days_in)
    levelled = noise - np.where(inside, mean_in, mean_out)
    found = _statistic(noise, levelled, inside, _row_rho(levelled))
    return float(np.sort(found)[math.ceil((1.0 - FALSE_ALARM_LEVEL) * (REPLICATES + 1)) - 1])


def _row_rho(rows: FloatArray) -> FloatArray:
    n = rows.shape[1]
    raw = (rows[:, 1:] * rows[:, :-1]).sum(axis=1) / (rows**2).sum(axis=1)
    return np.asarray(np.where(raw > 0, np.minimum(raw + (1.0 + 3.0 * raw) / n, MAXIMUM_RHO), 0.0))


def _weekday_means(ordinals: IntArray, load: FloatArray | None) -> FloatArray:
    """An orthonormal basis of the weekday means, and of the load where it varies within weekdays."""
    weekdays = np.unique(ordinals % _DAYS_A_WEEK)
    columns = [(ordinals % _DAYS_A_WEEK == weekday).astype(np.float64) for weekday in weekdays]
    basis = np.column_stack([column / math.sqrt(column.sum()) for column in columns])
    if load is None:
        return basis
    rest = load - basis @ (basis.T @ load)
    length = float(np.sqrt(rest @ rest))
    if length <= 1e-9 * float(np.sqrt(load @ load)):
        return basis
    return np.column_stack([basis, rest / length])


def _without(basis: FloatArray, values: FloatArray) -> FloatArray:
    return np.asarray(values - basis @ (basis.T @ values), dtype=np.float64)
