"""A whole evaluation: the command, real data, and the same bytes every time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.table import read_csv, table_from_sources
from evidence.verdict import Verdict
from shopfloor.main import main

PLANS = Path(__file__).parent / "plans"


@pytest.fixture
def factory_csv(tmp_path: Path, factory_days: Callable[..., dict[str, np.ndarray]], retrofit: Plan) -> Path:
    """A year's half of a factory as a reviewer's table."""
    days = factory_days(4, -0.2)
    path = tmp_path / "factory.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *days])
        for position in range(142):
            writer.writerow([retrofit.baseline.start + timedelta(days=position), *(v[position] for v in days.values())])
    return path


def test_the_command_prints_json_with_the_agreed_fields(factory_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["evidence", "evaluate", str(PLANS / "retrofit.yaml"), "--data", str(factory_csv), "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [kpi["id"] for kpi in result["kpis"]] == ["intensity", "saving"]
    for kpi in result["kpis"]:
        assert set(kpi) == {
            *("id", "kind", "unit", "baseline", "reporting", "change", "interval", "confidence", "target"),
            *("verdict", "reasons", "coverage", "model", "grade", "inputs"),
        }
    saving = result["kpis"][1]
    assert saving["verdict"] == "met"
    assert saving["interval"][0] < saving["change"] < saving["interval"][1] <= saving["target"] == -0.08
    assert set(result["totals"]["energy"]) >= {"sum", "months", "peak_kw", "load_factor"}


def test_the_command_prints_a_readable_verdict(factory_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "evaluate", str(PLANS / "retrofit.yaml"), "--data", str(factory_csv)]) == 0
    english = capsys.readouterr().out
    assert "saving (adjusted_saving)   MET" in english
    assert "target −8.0 %" in english
    arguments = ["evidence", "evaluate", str(PLANS / "retrofit.yaml"), "--data", str(factory_csv), "--language", "zh"]
    assert main(arguments) == 0
    assert "达成" in capsys.readouterr().out


def test_the_same_input_gives_the_same_bytes(factory_csv: Path, tmp_path: Path) -> None:
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file in files:
        arguments = [str(PLANS / "retrofit.yaml"), "--data", str(factory_csv), "--json", str(file)]
        assert main(["evidence", "evaluate", *arguments]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("plan", "data", "message"),
    [
        ("nowhere.yaml", "factory.csv", "nowhere.yaml: cannot be read"),
        ("retrofit.yaml", "nowhere.csv", "nowhere.csv: cannot be read"),
        ("retrofit.yaml", "gbk.csv", "gbk.csv: is not UTF-8 (byte 5); save it as UTF-8"),
        ("invalid/unknown_model.yaml", "factory.csv", "unknown_model.yaml:16: kpis[1].model: unknown model"),
    ],
)
def test_wrong_input_is_explained_with_exit_code_2(
    plan: str, data: str, message: str, factory_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (factory_csv.parent / "gbk.csv").write_bytes("time,能耗\n".encode("gbk"))
    code = main(["evidence", "evaluate", str(PLANS / plan), "--data", str(factory_csv.parent / data)])
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def steel(shared_data: Path) -> str:
    """The steel works' year as a table: each row labelled with the start of its interval.

    The stamps of the source are interval ends, and each day's closing 00:00 carries the day that has just ended.
    """
    lines = ["time,energy,lagging,leading"]
    with (shared_data / "steel" / "steel_industry_energy.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            end = datetime.strptime(row["date"], "%d/%m/%Y %H:%M").replace(tzinfo=UTC)
            if (end.hour, end.minute) == (0, 0):
                end += timedelta(days=1)
            values = (
                row["Usage_kWh"],
                *(row[f"{side}_Current_Reactive_Power_kVarh"] for side in ("Lagging", "Leading")),
            )
            lines.append(f"{end - timedelta(minutes=15):%Y-%m-%d %H:%M},{','.join(values)}")
    return "\n".join(lines)


def test_totals_of_a_steel_works(steel: str) -> None:
    plan = load_plan((PLANS / "steel.yaml").read_text(encoding="utf-8"), "steel.yaml")
    totals = evaluate(plan, read_csv(steel, plan)).totals
    energy = totals["energy"]
    assert energy.sum == 959636.71
    assert list(energy.months) == [f"2018-{month:02d}" for month in range(1, 13)]
    assert list(energy.months.values()) == [
        *(126238.29, 91497.34, 80230.41, 78769.80, 79059.28, 65404.64),
        *(81674.41, 68559.43, 57883.07, 84665.65, 86217.61, 59436.78),
    ]
    assert energy.peak_kw == 628.72
    assert energy.peak_start_ms is not None
    assert datetime.fromtimestamp(energy.peak_start_ms / 1000, plan.zone).isoformat()[:16] == "2018-11-22T09:30"
    assert energy.load_factor == pytest.approx(0.1742390, abs=5e-8)
    assert energy.coverage == 1.0
    assert totals["lagging"].sum == 456759.84
    assert totals["leading"].sum == 135638.04


@pytest.mark.parametrize("reporting_factor", [1.0, 0.5])
def test_half_years_of_a_steel_works_prove_nothing_without_production(steel: str, reporting_factor: float) -> None:
    plan = load_plan((PLANS / "steel.yaml").read_text(encoding="utf-8"), "steel.yaml")
    table = read_csv(steel, plan)
    second_half = table.time_ms >= table.time_ms[181 * 96]
    table.values["energy"][second_half] *= reporting_factor
    for kpi in evaluate(plan, table).kpis:
        assert kpi.verdict is Verdict.INSUFFICIENT_DATA
        assert "no_production_variable" in [reason.code for reason in kpi.reasons]
        assert kpi.interval is None
        assert kpi.change == pytest.approx(reporting_factor * (1 - 0.1725) - 1, abs=5e-5)


def test_a_simple_regression_of_a_real_building(shared_data: Path) -> None:
    """Daily kWh on mean outdoor temperature: R2 as published; without production there is no industrial verdict.

    The published days are labelled with the day after.
    """
    with (shared_data / "nmecr" / "temp.csv").open(encoding="utf-8") as file:
        temperatures = {row["time"]: row["temp"] for row in csv.DictReader(file)}
    lines = ["time,energy,outdoor_temperature"]
    with (shared_data / "nmecr" / "eload.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            label = datetime.fromisoformat(row["time"]).date() + timedelta(days=1)
            lines.append(f"{label},{row['eload']},{temperatures.get(row['time'], '')}")
    plan = load_plan((PLANS / "building.yaml").read_text(encoding="utf-8"), "building.yaml")
    result = evaluate(plan, read_csv("\n".join(lines), plan)).kpis[0]
    model: Any = result.model
    assert (model.n, model.m) == (364, 365)
    assert model.r2 == pytest.approx(0.6908902468946512, abs=1e-12)
    assert result.reporting == pytest.approx(5_101_761.6, abs=1e-6)
    assert result.verdict is Verdict.INSUFFICIENT_DATA


def test_a_project_without_any_interval_yet_is_a_result(retrofit: Plan) -> None:
    ids = [source for series in retrofit.series.values() for source in series.sources]
    result = evaluate(retrofit, table_from_sources(retrofit, [], 900_000, {source: [] for source in ids}))
    assert [kpi.verdict for kpi in result.kpis] == [Verdict.INSUFFICIENT_DATA] * 2
    assert result.totals["energy"].sum == 0.0
    assert json.loads(json.dumps(result.to_json(), allow_nan=False)) == result.to_json()
