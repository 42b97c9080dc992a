"""The intervals beside the main one: formulas against direct calculation, seeds, and coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from evidence.alternative_intervals import alternative_intervals, bootstrap_half_width, exact_standard_error
from evidence.baseline_model import Conditions
from evidence.comparison import Comparison
from evidence.evaluate import evaluate
from evidence.models import MODELS
from evidence.models.weekday import FittedWeekday
from evidence.plan import Plan
from evidence.regression import LeastSquares, fit_least_squares
from evidence.uncertainty import REPLICATES, SEED, prediction_sum_uncertainty

N, M = 120, 60
DAYS = np.arange(N + M)
WEEK = np.eye(7)[DAYS % 7]


def fitted(noise: np.ndarray, design: np.ndarray = WEEK) -> LeastSquares:
    fit = fit_least_squares(design[:N], 1000.0 + noise[:N])
    assert fit is not None
    return fit


def test_the_exact_variance_is_that_of_the_prediction_error() -> None:
    """Against the definition: the error is a linear form of the noise, its variance that form's in the full matrix."""
    rho = 0.6
    fit = fitted(np.random.default_rng(1).normal(size=N + M))
    omega = rho ** np.abs(DAYS[:N, None] - DAYS[None, :N])
    hat = fit.design @ fit.inverse @ fit.design.T
    variance = fit.sse / np.trace((np.eye(N) - hat) @ omega)
    form = fit.design @ fit.inverse @ WEEK[N:].sum(axis=0)
    reporting = rho ** np.abs(DAYS[N:, None] - DAYS[None, N:])
    expected = np.sqrt(variance * (form @ omega @ form + reporting.sum()))
    assert exact_standard_error(fit, DAYS[:N], WEEK[N:], DAYS[N:], rho) == pytest.approx(expected, rel=1e-10)


def test_without_correlation_it_is_the_textbook_prediction_variance() -> None:
    fit = fitted(np.random.default_rng(2).normal(size=N + M))
    total = WEEK[N:].sum(axis=0)
    expected = np.sqrt(fit.variance * (total @ fit.inverse @ total + M))
    assert exact_standard_error(fit, DAYS[:N], WEEK[N:], DAYS[N:], 0.0) == pytest.approx(expected, rel=1e-12)


def test_the_bootstrap_of_independent_noise_is_near_the_textbook_width_and_repeats() -> None:
    fit = fitted(np.random.default_rng(3).normal(size=N + M), np.ones((N + M, 1)))
    expected = stats.norm.ppf(0.95) * np.sqrt(fit.variance * (M**2 / N + M))
    width = bootstrap_half_width(fit, np.ones((M, 1)), 0.0, 0.9)
    assert width == pytest.approx(expected, rel=0.25)
    assert bootstrap_half_width(fit, np.ones((M, 1)), 0.0, 0.9) == width


def test_they_stand_in_the_result_with_their_seed(
    retrofit: Plan, daily_table: Callable[..., Any], factory_days: Callable[..., Any]
) -> None:
    result = evaluate(retrofit, daily_table(retrofit, factory_days(5, -0.3))).kpis[1]
    model: Any = result.model
    exact, bootstrapped = model.alternative_intervals
    assert (exact.method, bootstrapped.method) == ("exact_ar1", "block_bootstrap")
    assert (exact.seed, bootstrapped.seed, bootstrapped.replicates) == (None, SEED, REPLICATES)
    assert bootstrapped.block_days >= 7
    assert result.interval is not None
    for one in (exact, bootstrapped):
        assert one.interval[0] < result.change < one.interval[1]
        assert one.half_width == pytest.approx(model.half_width, rel=0.5)


def test_fewer_days_than_two_blocks_give_no_bootstrap() -> None:
    days = np.arange(20)
    design = np.ones((20, 1))
    learnt = MODELS["mean"].learn(Conditions(days[:10], {}), 10 + np.random.default_rng(4).normal(size=10))
    assert learnt is not None
    fit = learnt.fit
    found = prediction_sum_uncertainty(fit, days[:10], design[10:], days[10:], confidence=0.9)
    compared = Comparison(learnt, design[10:] @ fit.coefficients, np.full(10, 10.0), found)
    exact, bootstrapped = alternative_intervals(fit, days[:10], design[10:], days[10:], compared, confidence=0.9)
    assert exact.interval is not None
    assert bootstrapped.interval is None


@pytest.mark.soak
@pytest.mark.parametrize(("rho", "corrected"), [(0.0, 0.914), (0.3, 0.901), (0.6, 0.897), (0.8, 0.914)])
def test_coverage_with_dependent_noise(rho: float, corrected: float) -> None:
    """The setting of the known table, 4000 draws: exact within two points of it, bootstrap of the nominal 90 %."""
    random = np.random.default_rng(1)
    covered_exact = covered_bootstrap = determined = 0
    for _ in range(4000):
        noise = lfilter([1.0], [1.0, -rho], random.normal(size=N + M + 200))[200:] * np.sqrt(1 - rho**2)
        fit = fitted(noise)
        found = prediction_sum_uncertainty(fit, DAYS[:N], WEEK[N:], DAYS[N:], confidence=0.9)
        if found.half_width is None:
            continue
        determined += 1
        compared = Comparison(FittedWeekday(fit, ()), WEEK[N:] @ fit.coefficients, 1000.0 + noise[N:], found)
        exact, bootstrapped = alternative_intervals(fit, DAYS[:N], WEEK[N:], DAYS[N:], compared, confidence=0.9)
        assert exact.half_width is not None
        assert bootstrapped.half_width is not None
        covered_exact += abs(compared.saving) <= exact.half_width
        covered_bootstrap += abs(compared.saving) <= bootstrapped.half_width
    assert covered_exact / determined == pytest.approx(corrected, abs=0.02)
    assert covered_bootstrap / determined == pytest.approx(0.9, abs=0.02)
