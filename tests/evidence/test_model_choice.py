"""The choice of a baseline model: by weeks that were not learnt from, and for the simpler one where they are equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.baseline_model import Conditions
from evidence.evaluate import evaluate
from evidence.model_choice import TOLERANCE, judge
from evidence.models import MODELS
from evidence.plan import load_plan
from evidence.table import read_csv

DAYS = np.arange(735_000, 735_000 + 182)


def conditions(seed: int = 1) -> Conditions:
    random = np.random.default_rng(seed)
    temperature = 55 + 25 * np.sin(2 * np.pi * (DAYS % 365) / 365) + random.normal(0, 6, len(DAYS))
    return Conditions(DAYS, {"output": random.uniform(100, 900, len(DAYS)), "outdoor": temperature}, "outdoor", "degF")


@pytest.mark.parametrize("seed", range(5))
def test_energy_that_follows_output_is_left_to_the_linear_model(seed: int) -> None:
    days = conditions(seed)
    noise = np.random.default_rng(100 + seed).normal(0, 20, days.n)
    energy = 300 + 2 * days.variables["output"] + 4 * days.variables["outdoor"] + noise
    ranked = judge(MODELS, days, energy)
    assert ranked[0].name == "linear"
    best = min(one.cv_rmse_left_out for one in ranked if one.cv_rmse_left_out is not None)
    assert ranked[0].cv_rmse_left_out is not None
    assert ranked[0].cv_rmse_left_out <= best * (1 + TOLERANCE)
    assert [one.name for one in ranked[1:]] == [
        one.name for one in sorted(ranked[1:], key=lambda one: (one.cv_rmse_left_out or np.inf, one.name))
    ]


def test_a_balance_point_is_found_where_there_is_one() -> None:
    days = conditions()
    random = np.random.default_rng(4)
    temperature = days.variables["outdoor"]
    energy = (
        500 + 9 * np.maximum(temperature - 62, 0) + 2 * np.maximum(48 - temperature, 0) + random.normal(0, 8, days.n)
    )
    only_weather = Conditions(DAYS, {"outdoor": days.variables["outdoor"]}, "outdoor", "degF")
    assert judge(MODELS, only_weather, energy)[0].name == "caltrack_daily"


def test_a_fixed_week_is_found() -> None:
    random = np.random.default_rng(5)
    energy = np.where((DAYS - 1) % 7 >= 5, 200.0, 1000.0) + random.normal(0, 20, len(DAYS))
    ranked = judge(MODELS, Conditions(DAYS, {}), energy)
    assert ranked[0].name == "weekday"
    assert {one.name for one in ranked} == {"linear", "mean", "weekday"}, (
        "without a temperature the others are not asked"
    )


def test_noise_is_left_to_the_mean() -> None:
    energy = np.random.default_rng(6).normal(1000, 50, len(DAYS))
    assert judge(MODELS, conditions(), energy)[0].name in ("mean", "caltrack_daily")
    assert judge(MODELS, conditions(), energy)[0].learnt.fit.p == 1  # type: ignore[union-attr]


def test_with_three_weeks_nothing_is_chosen() -> None:
    monday = int(np.argmax((DAYS - 1) % 7 == 0))
    short = Conditions(DAYS[monday : monday + 21], {})
    assert all(one.cv_rmse_left_out is None for one in judge(MODELS, short, np.ones(21)))


PLAN = """\
plan: 1
project: choice
enterprise: a factory
boundary: main meter
baseline:  {from: 2024-01-01, to: 2024-06-01}
reporting: {from: 2024-06-01, to: 2024-08-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: good_count, unit: piece}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, model: auto, variables: [output]}
"""


def table() -> str:
    random = np.random.default_rng(9)
    days = np.arange("2024-01-01", "2024-08-01", dtype="datetime64[D]")
    output = random.uniform(500, 900, len(days))
    energy = 400 + 1.5 * output + random.normal(0, 15, len(days))
    rows = (f"{day},{use:.3f},{made:.1f}" for day, use, made in zip(days, energy, output, strict=True))
    return "\n".join(["time,energy,output", *rows]) + "\n"


def test_the_result_names_the_chosen_model_and_the_runners_up() -> None:
    plan = load_plan(PLAN, "plan.yaml")
    result = evaluate(plan, read_csv(table(), plan)).kpis[0]
    model: Any = result.model
    assert model.kind == "linear"
    assert model.candidates[0].name == "linear"
    assert {one.name for one in model.candidates} == {"linear", "mean", "weekday"}
    named = load_plan(PLAN.replace("model: auto", "model: linear"), "plan.yaml")
    again: Any = evaluate(named, read_csv(table(), named)).kpis[0]
    assert (again.change, again.interval) == (result.change, result.interval)
    assert again.model.candidates == ()


def test_the_command_line_may_name_another_model(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "table.csv").write_text(table(), encoding="utf-8")
    command = [sys.executable, "-m", "shopfloor", "evidence", "evaluate", "plan.yaml", "--data", "table.csv"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("--model", "weekday", "--json", "-")
    assert done.returncode == 0, done.stderr
    kpi = json.loads(done.stdout)["kpis"][0]
    assert kpi["model"]["kind"] == "weekday"
    assert "model_not_of_plan" in [reason["code"] for reason in kpi["reasons"]]
    refused = run("--model", "lineer")
    assert refused.returncode == 2
    assert "did you mean 'linear'" in refused.stderr
    cold = run("--model", "caltrack_daily")
    assert cold.returncode == 2
    assert "needs an outdoor temperature" in cold.stderr
