"""Intervals: closed forms, invariances, fixed numbers. Their coverage is measured in test_uncertainty_coverage.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evidence.regression import fit_least_squares
from evidence.uncertainty import (
    REPLICATES,
    RatioSample,
    correlated_sum_factor,
    debiased_autocorrelation,
    effective_size,
    lag_one_autocorrelation,
    prediction_sum_uncertainty,
    ratio_change_interval,
)


def test_autocorrelation_by_hand() -> None:
    residuals = np.array([1.0, 2.0, -1.0, -2.0])
    assert lag_one_autocorrelation(residuals, np.arange(4)) == pytest.approx((2 - 2 + 2) / 10)


def test_autocorrelation_pairs_neighbouring_days_only() -> None:
    residuals = np.array([1.0, 2.0, -1.0, -2.0])
    # The pair (2, -1) is three days apart: two pairs stand for the three that an unbroken series has.
    assert lag_one_autocorrelation(residuals, np.array([0, 1, 4, 5])) == pytest.approx((2 + 2) / 10 * 3 / 2)
    assert lag_one_autocorrelation(residuals, np.array([0, 2, 4, 6])) == 0.0


def test_effective_size_takes_no_credit_for_negative_correlation() -> None:
    assert effective_size(100, 0.5) == pytest.approx(100 / 3)
    assert effective_size(100, -0.5) == 100


@given(m=st.integers(1, 80), rho=st.floats(0.001, 0.99))
def test_the_sum_of_dependent_noise_has_its_closed_form(m: int, rho: float) -> None:
    closed = m * ((1 + rho) / (1 - rho) - 2 * rho * (1 - rho**m) / (m * (1 - rho) ** 2))
    assert correlated_sum_factor(np.arange(m), rho) == pytest.approx(closed, rel=1e-8)


def test_without_correlation_the_interval_is_the_textbook_prediction_interval() -> None:
    n, m = 30, 10
    x = np.linspace(0, 1, n)
    # Alternating residuals have negative autocorrelation, which counts as none.
    design = np.column_stack([np.ones(n), x])
    observed = 5 + 2 * x + np.where(np.arange(n) % 2, 1.0, -1.0)
    fit = fit_least_squares(design, observed)
    assert fit is not None
    later = np.column_stack([np.ones(m), np.linspace(1, 2, m)])
    result = prediction_sum_uncertainty(fit, np.arange(n), later, np.arange(100, 100 + m), confidence=0.9)
    total = later.sum(axis=0)
    variance = fit.variance * (total @ np.linalg.inv(design.T @ design) @ total + m)
    assert result.rho < 0
    assert result.n_effective == n
    assert result.half_width == pytest.approx(stats.t.ppf(0.95, n - 2) * np.sqrt(variance), rel=1e-9)


def test_with_correlation_the_interval_is_the_documented_formula() -> None:
    n, m, confidence = 60, 20, 0.9
    random = np.random.default_rng(11)
    noise = np.zeros(n)
    for day in range(1, n):
        noise[day] = 0.6 * noise[day - 1] + random.normal()
    design = np.column_stack([np.ones(n), random.normal(size=n)])
    fit = fit_least_squares(design, 100 + noise)
    assert fit is not None
    later = np.column_stack([np.ones(m), random.normal(size=m)])
    result = prediction_sum_uncertainty(fit, np.arange(n), later, np.arange(90, 90 + m), confidence=confidence)
    e = fit.residuals
    rho = (e[1:] * e[:-1]).sum() / (e * e).sum()
    r = rho + (1 + 3 * rho) / n
    total = later.sum(axis=0)
    of_model = (1 + r) / (1 - r) * total @ np.linalg.inv(design.T @ design) @ total
    of_noise = m * ((1 + r) / (1 - r) - 2 * r * (1 - r**m) / (m * (1 - r) ** 2))
    half_width = stats.t.ppf(0.95, n * (1 - rho) / (1 + rho) - 2) * np.sqrt(fit.variance * (of_model + of_noise))
    assert rho > 0.3
    assert result.half_width == pytest.approx(half_width, rel=1e-9)


@given(n=st.integers(2, 400), rho=st.floats(0.0, 0.999))
def test_debiasing_stays_below_one_wherever_an_interval_is_given(n: int, rho: float) -> None:
    if effective_size(n, rho) >= 2:
        assert debiased_autocorrelation(rho, n) < 1
    assert debiased_autocorrelation(-rho, n) == 0.0


def test_too_few_independent_days_give_no_interval() -> None:
    n = 30
    walk = np.sin(np.arange(n) / 20)
    fit = fit_least_squares(np.ones((n, 1)), walk)
    assert fit is not None
    result = prediction_sum_uncertainty(fit, np.arange(n), np.ones((5, 1)), np.arange(40, 45), confidence=0.9)
    assert result.n_effective < fit.p + 1
    assert result.half_width is None


def period(seed: int, days: int, first_weekday: int = 0) -> RatioSample:
    random = np.random.default_rng(seed)
    weekdays = (np.arange(days) + first_weekday) % 7
    output = np.where(weekdays == 6, 0.0, random.normal(2000, 200, days))
    energy = 300 + 0.4 * output + random.normal(0, 40, days)
    return RatioSample(energy, output, np.ones(days, dtype=bool), weekdays)


def scaled(sample: RatioSample, energy: float, output: float) -> RatioSample:
    return RatioSample(sample.numerator * energy, sample.denominator * output, sample.used, sample.weekdays)


@given(seed=st.integers(0, 10_000), energy=st.floats(1e-3, 1e3), output=st.floats(1e-3, 1e3))
def test_units_do_not_change_the_change(seed: int, energy: float, output: float) -> None:
    before, after = period(seed, 90), period(seed + 1, 45)
    plain = ratio_change_interval(before, after, 0.9).interval
    other = ratio_change_interval(scaled(before, energy, output), scaled(after, energy, output), 0.9).interval
    assert other == pytest.approx(plain, rel=1e-9, abs=1e-12)


def test_the_interval_is_the_same_every_time_and_everywhere() -> None:
    result = ratio_change_interval(period(1, 90), period(2, 45), 0.9)
    assert result == ratio_change_interval(period(1, 90), period(2, 45), 0.9)
    assert result.blocks == (13, 6)
    assert REPLICATES >= 2000


def test_more_confidence_is_a_wider_interval_around_the_same_ratio() -> None:
    before, after = period(1, 90), period(2, 45)
    change = after.ratio / before.ratio - 1
    bounds = [ratio_change_interval(before, after, confidence).interval for confidence in (0.5, 0.8, 0.9, 0.99)]
    lows, highs = zip(*[bound for bound in bounds if bound is not None], strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert all(low < change < high for low, high in zip(lows, highs, strict=True))


def test_unused_days_leave_the_ratio_alone() -> None:
    before, after = period(1, 90), period(2, 45)
    used = np.ones(45, dtype=bool)
    used[10:13] = False
    holes = RatioSample(
        np.where(used, after.numerator, 0.0), np.where(used, after.denominator, 0.0), used, after.weekdays
    )
    interval = ratio_change_interval(before, holes, 0.9).interval
    assert interval is not None
    assert interval[0] < holes.ratio / before.ratio - 1 < interval[1]


def test_production_in_one_week_only_gives_no_interval() -> None:
    before, after = period(1, 90), period(2, 45)
    output = np.where(np.arange(45) < 5, after.denominator, 0.0)
    concentrated = RatioSample(after.numerator, output, after.used, after.weekdays)
    assert ratio_change_interval(before, concentrated, 0.9).interval is None


@pytest.mark.parametrize(("position", "factor"), [(3, 0.01), (9, 100.0), (9, 10_000.0)])
def test_days_alike_but_for_one_give_no_interval_and_no_overflow(position: int, factor: float) -> None:
    """Most resamples miss the odd day: their spread is rounding, and their distance in its units has no limit."""
    output = np.full(14, 48.7)
    output[position] *= factor
    days = np.arange(14)
    alike = RatioSample(np.full(14, 30.0), output, np.ones(14, dtype=bool), days % 7)
    assert ratio_change_interval(alike, alike, 0.9).interval is None
