"""The time-of-week-and-temperature model: the published counterfactual of a real building, day by day."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from evidence.baseline_model import Conditions
from evidence.models.time_of_week_and_temperature import TimeOfWeekAndTemperatureModel

MODEL = TimeOfWeekAndTemperatureModel()
PLAN = """\
plan: 1
project: building
enterprise: a real building
boundary: main meter
timezone: America/Los_Angeles
baseline:  {from: 2012-03-01, to: 2013-02-28}
blackout:  {from: 2013-02-28, to: 2014-02-28}
reporting: {from: 2014-02-28, to: 2015-02-28}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  outdoor_temperature: {quantity: temperature, unit: degF}
kpis:
  - id: saving
    kind: adjusted_saving
    energy: energy
    model: time_of_week_and_temperature
    variables: [outdoor_temperature]
"""


def column(path: Path, name: str) -> dict[date, float]:
    with path.open(encoding="utf-8") as file:
        return {date.fromisoformat(row["time"][:10]): float(row[name]) for row in csv.DictReader(file)}


def conditions(days: list[date], temperature: dict[date, float], unit: str = "degF") -> Conditions:
    values = np.array([temperature[day] for day in days])
    return Conditions(np.array([day.toordinal() for day in days]), {"outdoor": values}, "outdoor", unit)


def test_the_counterfactual_that_nmecr_publishes(shared_data: Path) -> None:
    """Rows are labelled with the next day there: the label 2014-03-01 is the day 2014-02-28."""
    place = shared_data / "nmecr"
    energy, temperature = column(place / "eload.csv", "eload"), column(place / "temp.csv", "temp")
    days = sorted(energy.keys() & temperature.keys())
    before = [day for day in days if date(2012, 3, 1) <= day < date(2013, 2, 28)]
    after = [day for day in days if date(2014, 2, 28) <= day < date(2015, 2, 28)]
    assert (len(before), len(after)) == (364, 365)
    learnt = MODEL.learn(conditions(before, temperature), np.array([energy[day] for day in before]))
    assert learnt is not None
    assert learnt.knots_f == pytest.approx((42.70444444, 46.89298611, 51.83131944, 57.86784722, 63.41569444), abs=1e-8)
    assert learnt.parts == ((4, 5, 6), (1, 2, 3, 7))
    assert learnt.fit.r2 == pytest.approx(0.8964727413895036, abs=1e-12)
    predicted = learnt.design(conditions(after, temperature)) @ learnt.fit.coefficients
    with (place / "expected_overview_savings.csv").open(encoding="utf-8") as file:
        expected = [float(row["predictions"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)
    assert predicted.sum() == pytest.approx(5_509_903.194143776, abs=1e-6)


def test_the_command_line_reaches_the_published_saving(shared_data: Path, tmp_path: Path) -> None:
    place = shared_data / "nmecr"
    energy, temperature = column(place / "eload.csv", "eload"), column(place / "temp.csv", "temp")
    rows = [f"{day},{energy[day]},{temperature[day]}" for day in sorted(energy)]
    (tmp_path / "table.csv").write_text("\n".join(["time,energy,outdoor_temperature", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    command = [sys.executable, "-m", "shopfloor", "evidence", "evaluate", "plan.yaml", "--data", "table.csv", "--json"]
    done = subprocess.run([*command, "-"], cwd=tmp_path, capture_output=True, text=True, check=True)
    kpi = json.loads(done.stdout)["kpis"][0]
    assert kpi["baseline"] == pytest.approx(5_509_903.194143776, abs=1e-5)
    assert kpi["reporting"] == pytest.approx(5_101_761.6, abs=1e-6)
    assert kpi["model"]["saving"] == pytest.approx(408_141.594143776, abs=1e-5)
    assert kpi["change"] == pytest.approx(-0.07407418601792361, abs=1e-12)
    assert kpi["model"]["rho"] == pytest.approx(0.6079502589807743, abs=0.002)


@pytest.mark.parametrize("unit", ["degC", "K"])
def test_the_unit_of_the_temperature_does_not_matter(unit: str) -> None:
    random = np.random.default_rng(3)
    days = [date.fromordinal(date(2025, 1, 1).toordinal() + offset) for offset in range(200)]
    fahrenheit = dict(zip(days, random.uniform(20, 90, 200), strict=True))
    other = {day: (value - 32) / 1.8 + (273.15 if unit == "K" else 0) for day, value in fahrenheit.items()}
    energy = 1000 + 5 * np.maximum(0, np.array(list(fahrenheit.values())) - 60) + random.normal(0, 10, 200)
    one, same = MODEL.learn(conditions(days, fahrenheit), energy), MODEL.learn(conditions(days, other, unit), energy)
    assert one is not None
    assert same is not None
    np.testing.assert_allclose(one.fit.coefficients, same.fit.coefficients, rtol=1e-6, atol=1e-6)


def test_a_weekday_that_the_baseline_has_not_seen_is_not_guessed() -> None:
    days = [day for offset in range(300) if (day := date.fromordinal(735_000 + offset)).isoweekday() != 7]
    temperature = {day: 30.0 + index % 60 for index, day in enumerate(days)}
    energy = np.array([1000.0 + index % 17 for index in range(len(days))])
    learnt = MODEL.learn(conditions(days, temperature), energy)
    assert learnt is None


def test_without_a_temperature_there_is_no_model() -> None:
    days = np.arange(735_000, 735_100)
    assert MODEL.learn(Conditions(days, {}), np.ones(100)) is None
