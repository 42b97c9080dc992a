"""Same inputs, same bytes: in one process, in others, whatever their surroundings."""

from __future__ import annotations

import csv
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.explanation.explain import explain
from evidence.plan import Plan, load_plan
from evidence.table import IntervalTable, read_csv
from evidence.uncertainty import SEED
from shopfloor.main import main

PLANS = Path(__file__).parent / "plans"
OTHER_SURROUNDINGS = {
    "one thread": {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
    "other zone, locale and hashes": {
        "OPENBLAS_NUM_THREADS": "2",
        "PYTHONHASHSEED": "4242",
        "TZ": "America/St_Johns",
        "LC_ALL": "zh_CN.UTF-8",
        "LANG": "tr_TR.UTF-8",
    },
}
LARGE_FIT = """
import hashlib, numpy as np
from evidence.one_thread import settle_linear_algebra
from evidence.regression import fit_least_squares
settle_linear_algebra()
random = np.random.default_rng(1)
design = np.column_stack([np.ones(8760), random.normal(size=(8760, 169))])
fit = fit_least_squares(design, random.normal(size=8760))
print(hashlib.sha256(fit.coefficients.tobytes() + fit.inverse.tobytes() + fit.residuals.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def days(factory_days: Callable[..., dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return factory_days(4, -0.2)


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory, retrofit_text: str) -> Path:
    """The plan of a retrofit, its model chosen by rule: every model is learnt."""
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(retrofit_text.replace("model: linear", "model: auto"), encoding="utf-8")
    return path


def write_table(path: Path, plan: Plan, days: dict[str, np.ndarray], order: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *order])
        for position in range(142):
            writer.writerow([plan.baseline.start + timedelta(days=position), *(days[name][position] for name in order)])
    return path


def run(arguments: list[str], surroundings: dict[str, str]) -> bytes:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "OPENBLAS", "OMP"))}
    done = subprocess.run(
        [sys.executable, *arguments], env={**kept, **surroundings}, capture_output=True, check=True, timeout=120
    )
    return done.stdout


def test_twice_in_one_process(every_kpi: Plan, workshop: IntervalTable) -> None:
    first, second = (evaluate(every_kpi, workshop) for _ in range(2))
    assert first.to_bytes() == second.to_bytes()
    assert explain(every_kpi, first, proven=True) == explain(every_kpi, second, proven=True)


def test_in_other_processes_and_with_columns_in_another_order(
    tmp_path: Path, plan_file: Path, days: dict[str, np.ndarray]
) -> None:
    plan = load_plan(plan_file.read_text(encoding="utf-8"), plan_file)
    table = write_table(tmp_path / "table.csv", plan, days, ["energy", "output", "outdoor_temperature"])
    turned = write_table(tmp_path / "turned.csv", plan, days, ["outdoor_temperature", "energy", "output"])
    here = evaluate(plan, read_csv(table.read_text(encoding="utf-8"), plan)).to_bytes()
    command = ["-m", "shopfloor", "evidence", "evaluate", str(plan_file), "--json", "-", "--data"]
    for surroundings, file in zip(OTHER_SURROUNDINGS.values(), (table, turned), strict=True):
        assert run([*command, str(file)], surroundings) == here


def test_rows_out_of_order_are_refused_rather_than_read_otherwise(
    tmp_path: Path, plan_file: Path, days: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    """A local time may stand twice when clocks are put back: order is what tells the two rows apart."""
    plan = load_plan(plan_file.read_text(encoding="utf-8"), plan_file)
    table = write_table(tmp_path / "table.csv", plan, days, list(days))
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    random.Random(3).shuffle(rows)
    table.write_text("\n".join([head, *rows]), encoding="utf-8")
    assert main(["evidence", "evaluate", str(plan_file), "--data", str(table)]) == 2
    assert "sort the rows by time" in capsys.readouterr().err


def test_series_of_a_plan_in_another_order_give_the_same_figures(
    retrofit_text: str, retrofit: Plan, daily_table: Any, days: dict[str, np.ndarray]
) -> None:
    lines = retrofit_text.splitlines()
    first, last = lines.index("series:") + 1, lines.index("kpis:")
    turned = load_plan("\n".join([*lines[:first], *reversed(lines[first:last]), *lines[last:]]), "turned.yaml")
    assert list(turned.series) == list(reversed(retrofit.series))
    results = [evaluate(plan, daily_table(plan, days)) for plan in (retrofit, turned)]
    assert results[0].kpis == results[1].kpis
    assert results[0].totals == results[1].totals


def test_a_large_fit_does_not_depend_on_the_number_of_threads() -> None:
    hashes = {run(["-c", LARGE_FIT], {"OPENBLAS_NUM_THREADS": threads}) for threads in ("1", "2")}
    assert len(hashes) == 1


@pytest.mark.parametrize("processor", ["Prescott", "Haswell"])
def test_another_processor_changes_last_digits_only(
    tmp_path: Path, plan_file: Path, days: dict[str, np.ndarray], processor: str
) -> None:
    """Linear algebra picks its instructions by processor: texts, counts and order stay, figures to nine digits."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("the names of processors are those of x86")
    plan = load_plan(plan_file.read_text(encoding="utf-8"), plan_file)
    table = write_table(tmp_path / "table.csv", plan, days, list(days))
    command = ["-m", "shopfloor", "evidence", "evaluate", str(plan_file), "--json", "-", "--data", str(table)]
    here = evaluate(plan, read_csv(table.read_text(encoding="utf-8"), plan)).to_json()
    same(here, json.loads(run(command, {"OPENBLAS_CORETYPE": processor})))


def same(one: Any, other: Any, path: str = "$") -> None:
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert list(one) == list(other), path
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for position, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{path}[{position}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9), path
    else:
        assert one == other, path


def test_seeds_are_on_record_and_surroundings_are_not(every_kpi: Plan, workshop: IntervalTable) -> None:
    text = evaluate(every_kpi, workshop).to_bytes().decode("utf-8")
    assert f'"seed": {SEED}' in text
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert "NaN" not in text


def test_floats_are_written_so_that_they_are_read_back(every_kpi: Plan, workshop: IntervalTable) -> None:
    evaluation = evaluate(every_kpi, workshop)
    assert json.loads(evaluation.to_bytes()) == evaluation.to_json()
    assert evaluation.to_bytes().endswith(b"}\n")
