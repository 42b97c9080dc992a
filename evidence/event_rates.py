"""How far the rate of rare events has changed: exact intervals for two Poisson counts."""

from __future__ import annotations

from scipy import stats


def mean_time_change_interval(
    before: tuple[float, int], after: tuple[float, int], confidence: float
) -> tuple[float, float] | None:
    """Interval of the change of the mean time between events, (time, events) of each period.

    Given the sum of both counts, the later one is binomial with p = l2 T2/(l1 T1 + l2 T2) when events come as Poisson
    processes of rates l1 and l2; the exact interval of p (Clopper and Pearson 1934) is turned into one of l1/l2, the
    ratio of the mean times (Przyborowski and Wilenski 1940). It covers at least ``confidence``. None without any event
    in one of the periods, as no end of the interval is then finite or above -100 %.
    """
    (first_time, first), (second_time, second) = before, after
    if min(first, second) < 1 or min(first_time, second_time) <= 0:
        return None
    tail = (1.0 - confidence) / 2.0
    low = float(stats.beta.ppf(tail, second, first + 1))
    high = float(stats.beta.ppf(1.0 - tail, second + 1, first))
    exposure = second_time / first_time
    return exposure * (1.0 - high) / high - 1.0, exposure * (1.0 - low) / low - 1.0
