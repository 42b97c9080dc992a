"""Days that stand apart are found, and hardly ever where nothing happened; a retrofit is no event."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from evidence.events.detection import (
    FALSE_ALARM_LEVEL,
    MINIMUM_DAYS,
    Search,
    critical_value,
    search_runs,
    variance_of_mean,
)
from evidence.uncertainty import correlated_sum_factor

FloatArray = NDArray[np.float64]
FIRST_DAY = 738_000


def noise(random: np.random.Generator, rho: float, days: int) -> FloatArray:
    """Stationary AR(1) noise of unit variance."""
    settled = lfilter([1.0], [1.0, -rho], random.normal(size=days + 200))[200:]
    return np.asarray(settled * np.sqrt(1.0 - rho**2), dtype=np.float64)


def search(residuals: FloatArray, load: FloatArray | None = None) -> Search:
    found = search_runs(residuals, FIRST_DAY + np.arange(len(residuals), dtype=np.int64), load)
    assert found is not None
    return found


def alarms(rho: float, days: int, draws: int, seed: int = 3) -> float:
    random = np.random.default_rng(seed)
    return sum(bool(search(noise(random, rho, days)).runs) for _ in range(draws)) / draws


def detected(rho: float, days: int, draws: int, length: int, *, height: float = 4.0) -> float:
    """How often a shift of ``height`` standard deviations over ``length`` days is found where it is."""
    random = np.random.default_rng(4)
    hits = 0
    first, end = days // 3, days // 3 + length
    for _ in range(draws):
        residuals = noise(random, rho, days)
        residuals[first:end] += height
        hits += any(run.first < end and first < run.end for run in search(residuals).runs)
    return hits / draws


def test_an_event_is_found_with_its_days_and_its_level() -> None:
    residuals = noise(np.random.default_rng(1), 0.4, 90)
    residuals[30:40] -= 5.0
    (run,) = search(residuals).runs
    assert abs(run.first - 30) <= 1
    assert abs(run.end - 40) <= 1
    assert run.level == pytest.approx(-5.0, abs=1.0)
    assert run.statistic > critical_value(90, 0.45)


def test_two_events_are_found_one_after_the_other() -> None:
    residuals = noise(np.random.default_rng(2), 0.2, 180)
    residuals[20:30] += 6.0
    residuals[120:140] -= 4.0
    found = sorted((run.first, run.end) for run in search(residuals).runs)
    assert [(round(first, -1), round(end, -1)) for first, end in found] == [(20, 30), (120, 140)]


def test_a_change_that_stays_is_one_run_to_the_end() -> None:
    residuals = noise(np.random.default_rng(5), 0.3, 120)
    residuals[70:] += 3.0
    (run,) = search(residuals).runs
    assert {abs(run.first - 70) <= 2 and run.end >= 118, abs(run.end - 70) <= 2 and run.first <= 2} == {True, False}


def test_nothing_is_found_where_nothing_happened() -> None:
    assert alarms(0.4, 90, 60) <= 2 * FALSE_ALARM_LEVEL


def test_a_saving_is_no_event_however_large() -> None:
    random = np.random.default_rng(6)
    load = 1000.0 + 200.0 * noise(random, 0.5, 60)
    residuals = 20.0 * noise(random, 0.3, 60)
    for effect in (-300.0, -0.3 * load):
        assert search(residuals + effect, load).runs == search(residuals, load).runs == ()


def test_a_pattern_of_the_week_that_the_model_does_not_know_is_no_event() -> None:
    residuals = noise(np.random.default_rng(7), 0.2, 84)
    weekly = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 0.5, -8.0])[np.arange(84) % 7]
    assert search(residuals).runs == search(residuals + weekly).runs == ()


def test_a_step_in_days_without_noise_is_a_finite_answer() -> None:
    residuals = np.zeros(40)
    residuals[10:20] = 1.0
    (run,) = search(residuals).runs
    assert (run.first, run.end) == (10, 20)
    assert np.isfinite(run.statistic)


def test_days_without_any_residual_have_no_event() -> None:
    assert search(np.zeros(40)).runs == ()


def test_fewer_than_four_weeks_are_not_searched() -> None:
    days = np.arange(MINIMUM_DAYS - 1, dtype=np.int64)
    assert search_runs(np.zeros(len(days)), FIRST_DAY + days) is None


def test_the_unit_of_the_energy_does_not_matter() -> None:
    residuals = noise(np.random.default_rng(1), 0.4, 90)
    residuals[30:40] -= 5.0
    small, large = search(residuals).runs[0], search(1000.0 * residuals).runs[0]
    assert (small.first, small.end) == (large.first, large.end)
    assert large.level == pytest.approx(1000.0 * small.level)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("length", [1, 3, 40])
def test_the_variance_of_a_mean_is_that_of_a_sum_of_dependent_days(rho: float, length: int) -> None:
    expected = correlated_sum_factor(np.arange(length, dtype=np.int64), rho) / length**2
    assert float(variance_of_mean(length, rho)) == pytest.approx(expected, rel=1e-12)


def test_the_limit_rises_with_the_dependence_of_days() -> None:
    limits = [critical_value(60, rho) for rho in (0.0, 0.3, 0.6, 0.9)]
    assert limits == sorted(limits)
    assert critical_value(60, 0.41) == critical_value(60, 0.45)


@pytest.mark.soak
@pytest.mark.parametrize("days", [45, 90, 180, 365])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.8])
def test_the_false_alarm_rate_is_what_is_said(days: int, rho: float) -> None:
    """2000 draws: the standard error of 5 % is half a point."""
    assert alarms(rho, days, 2000) <= FALSE_ALARM_LEVEL + 0.015


@pytest.mark.soak
@pytest.mark.parametrize(
    ("rho", "two_weeks", "one_week"),
    [(0.0, 1.0, 1.0), (0.3, 0.98, 0.99), (0.6, 0.79, 0.76), (0.8, 0.40, 0.46)],
)
def test_planted_events_are_found(rho: float, two_weeks: float, one_week: float) -> None:
    """Four standard deviations over 14 and 7 of 90 days, 1000 draws: the table of docs/evidence/events.md."""
    assert detected(rho, 90, 1000, 14) == pytest.approx(two_weeks, abs=0.04)
    assert detected(rho, 90, 1000, 7) == pytest.approx(one_week, abs=0.04)
