"""Change-point models: what eemeter publishes for a meter whose true saving is declared, and what is not fitted."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.baseline_model import Conditions
from evidence.models import MODELS
from evidence.models.change_point import BALANCE_POINTS_F, CalTrackDailyModel, FittedChangePoint

CALTRACK = CalTrackDailyModel()


def meter(place: Path) -> tuple[dict[date, float], dict[date, float]]:
    """Daily energy, and the mean temperature (degF) of the UTC day that eemeter pairs with each."""
    with (place / "il-electricity-cdd-hdd-daily.csv").open(encoding="utf-8") as file:
        energy = {date.fromisoformat(row["start"][:10]): float(row["value"]) for row in csv.DictReader(file)}
    hours: dict[date, list[float]] = defaultdict(list)
    with (place / "il-electricity-cdd-hdd-tempF.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["tempF"]:
                hours[datetime.fromisoformat(row["dt"]).astimezone(UTC).date()].append(float(row["tempF"]))
    return energy, {day: float(np.mean(values)) for day, values in hours.items()}


def year(first: date, temperature: dict[date, float]) -> tuple[list[date], Conditions]:
    days = [first + timedelta(days=offset) for offset in range(365)]
    values = np.array([temperature[day] for day in days])
    return days, Conditions(np.array([day.toordinal() for day in days]), {"outdoor": values}, "outdoor", "degF")


def test_the_model_and_saving_that_eemeter_publishes(shared_data: Path) -> None:
    energy, temperature = meter(shared_data / "eemeter")
    before, baseline = year(date(2016, 12, 26) - timedelta(days=365), temperature)
    after, reporting = year(date(2017, 1, 4), temperature)
    learnt = CALTRACK.learn(baseline, np.array([energy[day] for day in before]))
    assert learnt is not None
    assert (learnt.cooling_f, learnt.heating_f) == (68.0, 53.0)
    intercept, heating, cooling = learnt.fit.coefficients.tolist()
    assert (intercept, cooling, heating) == pytest.approx((13.47239, 2.51626, 1.11229), abs=5e-6)
    assert learnt.fit.adjusted_r2 == pytest.approx(0.768473, abs=5e-7)
    counterfactual = float((learnt.design(reporting) @ learnt.fit.coefficients).sum())
    assert counterfactual == pytest.approx(9876.148, abs=0.01)
    assert counterfactual - sum(energy[day] for day in after) == pytest.approx(793.908, abs=0.01)


def days_of(temperature: np.ndarray, **others: np.ndarray) -> Conditions:
    ordinals = np.arange(735_000, 735_000 + len(temperature))
    return Conditions(ordinals, {"outdoor": temperature, **others}, "outdoor", "degF")


@given(seed=st.integers(0, 2**32 - 1), heating=st.integers(40, 55), cooling=st.integers(62, 75))
@settings(max_examples=25, deadline=None)
def test_balance_points_without_noise_are_found(seed: int, heating: int, cooling: int) -> None:
    random = np.random.default_rng(seed)
    temperature = random.uniform(10, 100, 365)
    output = random.uniform(0, 500, 365)
    below, above = np.maximum(heating - temperature, 0), np.maximum(temperature - cooling, 0)
    learnt = CALTRACK.learn(days_of(temperature, output=output), 20 + 2.0 * below + 3.0 * above + 0.5 * output)
    assert learnt is not None
    assert (learnt.heating_f, learnt.cooling_f) == (heating, cooling)
    assert learnt.fit.coefficients.tolist() == pytest.approx([20, 2, 3, 0.5], rel=1e-6)
    assert [term.name for term in learnt.terms][-1] == "output"


@pytest.mark.parametrize("name", sorted(name for name in MODELS if name.startswith("change_point")))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_search_finds_what_fitting_every_balance_point_finds(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    temperature = random.uniform(20, 95, 120)
    energy = 50 + 1.5 * np.maximum(55 - temperature, 0) + np.maximum(temperature - 70, 0) + random.normal(0, 8, 120)
    learnt = MODELS[name].learn(days_of(temperature), energy)
    best = max(_exhaustive(name, temperature, energy), default=None)
    if best is None:
        assert learnt is None
    else:
        assert learnt is not None
        assert learnt.fit.adjusted_r2 == pytest.approx(best, abs=1e-9)


def _exhaustive(name: str, temperature: np.ndarray, energy: np.ndarray) -> list[float]:
    found = []
    n = len(energy)
    points = BALANCE_POINTS_F.tolist()
    pairs = {
        "change_point_3p_heating": [(h, None) for h in points],
        "change_point_3p_cooling": [(None, c) for c in points],
        "change_point_4p": [(p, p) for p in points],
        "change_point_5p": [(h, c) for h in points for c in points if h <= c],
    }[name]
    for h, c in pairs:
        slopes = [np.maximum(h - temperature, 0)] if h is not None else []
        slopes += [np.maximum(temperature - c, 0)] if c is not None else []
        if any((one > 0).sum() < 10 or one.sum() < 20 for one in slopes):
            continue
        design = np.column_stack([np.ones(n), *slopes])
        coefficients = np.linalg.lstsq(design, energy, rcond=None)[0]
        if (coefficients < 0).any():
            continue
        residuals = energy - design @ coefficients
        r2 = 1 - residuals @ residuals / ((energy - energy.mean()) @ (energy - energy.mean()))
        found.append(1 - (1 - r2) * (n - 1) / (n - design.shape[1]))
    return found


def test_energy_that_falls_when_it_gets_colder_is_no_heating() -> None:
    temperature = np.linspace(20, 60, 100)
    assert MODELS["change_point_3p_heating"].learn(days_of(temperature), temperature * 2.0) is None
    flat = CALTRACK.learn(days_of(np.linspace(20, 29, 100)), np.linspace(1.0, 2.0, 100))
    assert isinstance(flat, FittedChangePoint)
    assert (flat.heating_f, flat.cooling_f) == (None, None) or flat.fit.coefficients[1] >= 0


@pytest.mark.parametrize("name", sorted(name for name in MODELS if MODELS[name].needs_temperature))
def test_too_few_days_and_no_temperature_are_refused(name: str) -> None:
    assert MODELS[name].learn(days_of(np.array([50.0, 60.0])), np.array([1.0, 2.0])) is None
    assert MODELS[name].learn(Conditions(np.arange(100), {}), np.ones(100)) is None
