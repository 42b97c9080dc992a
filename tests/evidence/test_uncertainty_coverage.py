"""How often intervals cover the truth, measured: the tables of ``docs/evidence.md`` come from these simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from evidence.evaluate import evaluate
from evidence.plan import Plan
from evidence.regression import fit_least_squares
from evidence.uncertainty import RatioSample, prediction_sum_uncertainty, ratio_change_interval
from evidence.verdict import Verdict

pytestmark = pytest.mark.soak

FloatArray = NDArray[np.float64]
WEEKDAYS = 7
CONFIDENCE = 0.9


def dependent(random: np.random.Generator, rho: float, size: int) -> FloatArray:
    """Stationary AR(1) noise of unit variance."""
    settled = lfilter([1.0], [1.0, -rho], random.normal(size=size + 200))[200:]
    return np.asarray(settled * np.sqrt(1 - rho**2), dtype=np.float64)


@pytest.mark.parametrize(
    ("rho", "ignoring", "corrected"),
    [(0.0, 0.902, 0.914), (0.3, 0.784, 0.901), (0.6, 0.599, 0.897), (0.8, 0.418, 0.914)],
)
def test_avoided_energy_with_dependent_noise(rho: float, ignoring: float, corrected: float) -> None:
    """120 baseline and 60 reporting days, seven weekday means, 4000 draws: within two points of the known coverage."""
    n, m, draws = 120, 60, 4000
    random = np.random.default_rng(1)
    day = np.arange(n + m)
    design = np.eye(WEEKDAYS)[day % WEEKDAYS]
    reporting = design[n:]
    total = reporting.sum(axis=0)
    covered = covered_ignoring = determined = 0
    for _ in range(draws):
        noise = dependent(random, rho, n + m)
        fit = fit_least_squares(design[:n], noise[:n])
        assert fit is not None
        error = abs(float(noise[n:].sum() - total @ fit.coefficients))
        independent = np.sqrt(fit.variance * (float(total @ fit.inverse @ total) + m))
        covered_ignoring += error <= stats.t.ppf(0.5 + CONFIDENCE / 2, n - WEEKDAYS) * independent
        result = prediction_sum_uncertainty(fit, day[:n], reporting, day[n:], confidence=CONFIDENCE)
        if result.half_width is not None:
            determined += 1
            covered += error <= result.half_width
    assert covered_ignoring / draws == pytest.approx(ignoring, abs=0.02)
    assert covered / determined == pytest.approx(corrected, abs=0.02)
    assert determined / draws > 0.97


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.88), (0.3, 0.88), (0.6, 0.88), (0.8, 0.87)])
@pytest.mark.parametrize("pattern", [(1.0, 1.05, 1.0, 1.0, 0.95, 0.6, 0.0), (1.0,) * 7], ids=["week", "no week"])
def test_change_of_intensity_with_dependent_output_and_noise(
    rho: float, least: float, pattern: tuple[float, ...]
) -> None:
    """90 baseline and 45 reporting days, a base load, dependent output and energy: the truth is the ratio of means."""
    n, gap, m, draws = 90, 7, 45, 1000
    random = np.random.default_rng(2)
    day = np.arange(n + gap + m)
    level = np.array(pattern)[day % WEEKDAYS]

    def mean_ratio(levels: FloatArray) -> float:
        return float((300 * len(levels) + 0.4 * 2000 * levels.sum()) / (2000 * levels.sum()))

    def sample(part: slice, energy: FloatArray, output: FloatArray) -> RatioSample:
        return RatioSample(energy[part], output[part], np.ones(len(day[part]), dtype=bool), day[part] % WEEKDAYS)

    before, after = slice(0, n), slice(n + gap, None)
    truth = mean_ratio(level[after]) / mean_ratio(level[before]) - 1
    covered = 0
    for _ in range(draws):
        output = 2000 * level * np.maximum(0.1, 1 + 0.12 * dependent(random, rho, len(day)))
        energy = 300 + 0.4 * output + 60 * dependent(random, rho, len(day))
        change = ratio_change_interval(sample(before, energy, output), sample(after, energy, output), CONFIDENCE)
        assert change.interval is not None
        covered += change.interval[0] <= truth <= change.interval[1]
    assert covered / draws >= least


@pytest.mark.parametrize("effect", [0.0, -0.1])
@pytest.mark.parametrize("rho", [0.0, 0.4, 0.6])
def test_saving_of_a_factory_with_weather_and_weeks(
    effect: float, rho: float, retrofit: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Any]
) -> None:
    """400 factories through the whole engine: the interval covers the true effect, and no effect is never a success."""
    draws, covered, met = 400, 0, 0
    for seed in range(draws):
        saving = evaluate(retrofit, daily_table(retrofit, factory_days(seed, effect, rho))).kpis[1]
        assert saving.interval is not None
        covered += saving.interval[0] <= effect <= saving.interval[1]
        met += saving.verdict is Verdict.MET
    assert covered / draws >= 0.88
    if effect == 0.0:
        assert met / draws <= 0.01
