"""A trend carried on to a day to come: ordinary least squares through the weekly points, with its uncertainty.

The interval is the prediction interval of one more weekly value (Montgomery, Peck, Vining: Introduction to Linear
Regression Analysis, 5th ed., section 2.5): t(n - 2) s sqrt(1 + 1/n + (x - mean)^2 / Sxx). It takes the weeks as
independent and the pace as lasting; both are stated where it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy import stats

from evidence.indicators.snapshot import Trend

FEWEST_POINTS = 4
"""Below four weeks two degrees of freedom are missing, and no interval says anything."""


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The change expected on ``day``, with its interval; fractions, negative = decrease. ``per_week`` is the pace."""

    day: date
    value: float
    low: float
    high: float
    per_week: float


def extrapolate(trend: Trend, day: date, confidence: float) -> Extrapolation | None:
    """Carry the trend on to ``day``; None with fewer than `FEWEST_POINTS` points."""
    n = len(trend.points)
    if n < FEWEST_POINTS:
        return None
    x = np.array([(point.day - trend.points[0].day).days for point in trend.points], dtype=np.float64)
    y = np.array([point.change for point in trend.points], dtype=np.float64)
    centre = x.mean()
    spread = float(np.sum((x - centre) ** 2))
    slope = float(np.sum((x - centre) * (y - y.mean())) / spread)
    at = (day - trend.points[0].day).days
    value = float(y.mean() + slope * (at - centre))
    residual = y - y.mean() - slope * (x - centre)
    deviation = float(np.sqrt(np.sum(residual**2) / (n - 2)))
    t = float(stats.t.ppf(0.5 + confidence / 2, n - 2))
    half = t * deviation * float(np.sqrt(1 + 1 / n + (at - centre) ** 2 / spread))
    return Extrapolation(day, value, value - half, value + half, 7 * slope)
