"""Savings from bills: uneven lengths, estimated readings, ORNL's published coefficients, and what bills cannot tell."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from evidence.bill_evaluation import evaluate_bills
from evidence.bill_uncertainty import k_monthly
from evidence.bills import BillTable, is_bill_table, read_bills
from evidence.errors import PlanError, TableError
from evidence.evaluate import evaluate
from evidence.plan import Plan, load_plan
from evidence.schema import closed_result_schema
from evidence.table import DAY_MS, IntervalTable, midnight_ms
from evidence.verdict import Verdict

PLAN = """\
plan: 1
project: bills
enterprise: a plant
boundary: main meter
baseline:  {from: 2023-01-04, to: 2024-01-05}
reporting: {from: 2024-01-05, to: 2024-07-03}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: produced_mass, unit: t}
  cold: {quantity: heating_degree_days, unit: degC.d}
kpis:
  - {id: saving, kind: adjusted_saving, granularity: bill_month, energy: energy, variables: [output, cold]}
  - {id: intensity, kind: energy_intensity, energy: energy, output: output}
"""
READINGS = (
    "2023-01-04",
    "2023-02-03",
    "2023-03-06",
    "2023-04-04",
    "2023-05-05",
    "2023-06-05",
    "2023-07-04",
    "2023-08-04",
)
READINGS += (
    "2023-09-05",
    "2023-10-04",
    "2023-11-03",
    "2023-12-05",
    "2024-01-05",
    "2024-02-02",
    "2024-03-05",
    "2024-04-03",
)
READINGS += ("2024-05-06", "2024-06-04", "2024-07-03")


@pytest.fixture
def plan() -> Plan:
    return load_plan(PLAN, "plan.yaml")


def rows(effect: float = -0.1, noise: float = 0.0, seed: int = 1) -> list[list[Any]]:
    """Bills of a plant: 500 kWh a day, 3 kWh a tonne, 20 kWh a degree day; ``effect`` from 2024-01-05 on."""
    random = np.random.default_rng(seed)
    made = []
    for first, end in pairwise(map(date.fromisoformat, READINGS)):
        days = (end - first).days
        output = float(np.round(days * random.uniform(80, 140)))
        cold = float(np.round(days * max(0.0, 12 + 10 * np.cos((first.timetuple().tm_yday - 15) / 58)), 1))
        energy = 500 * days + 3 * output + 20 * cold + noise * np.sqrt(days) * random.normal()
        made.append([first, end, energy * (1 + effect if first >= date(2024, 1, 5) else 1), output, cold])
    return made


def text(bills: list[list[Any]], header: str = "from,to,energy,output,cold") -> str:
    return "\n".join([header, *(",".join("" if cell is None else str(cell) for cell in row) for row in bills)]) + "\n"


def result(plan: Plan, bills: list[list[Any]]) -> Any:
    return evaluate_bills(plan, read_bills(text(bills), plan)).kpis[0]


def test_bills_of_uneven_length_without_noise_give_the_model_back(plan: Plan) -> None:
    bills = rows()
    found = result(plan, bills)
    model = found.model
    assert model.granularity == "bill_month"
    assert [one.value for one in model.coefficients] == pytest.approx([500, 3, 20], rel=1e-9)
    assert [one.unit for one in model.coefficients] == ["kWh/d", "kWh/t", "kWh/degC.d"]
    assert found.reporting == pytest.approx(sum(row[2] for row in bills[12:]))
    assert found.change == pytest.approx(-0.1)
    assert found.verdict is Verdict.MET
    assert (model.n, model.m, model.days.baseline.used, model.days.baseline.days) == (12, 6, 366, 366)
    assert [one.first for one in model.bills] == [row[0] for row in bills]
    assert model.bills[0].measured == pytest.approx(bills[0][2])


def test_it_is_least_squares_of_energy_a_day_weighted_by_days(plan: Plan) -> None:
    bills = rows(noise=80.0)
    model = result(plan, bills).model
    lengths = np.array([(row[1] - row[0]).days for row in bills], dtype=float)
    values = np.array([[row[2], row[3], row[4]] for row in bills]) / lengths[:, None]
    root = np.sqrt(lengths[:12])
    design = np.column_stack([np.ones(12), values[:12, 1:]])
    coefficients = np.linalg.lstsq(design * root[:, None], values[:12, 0] * root, rcond=None)[0]
    assert [one.value for one in model.coefficients] == pytest.approx(coefficients.tolist(), rel=1e-9)
    residuals = values[:12, 0] - design @ coefficients
    weights = lengths[:12] / lengths[:12].mean()
    variance = weights @ residuals**2 / 9
    covariance = np.linalg.inv((design * weights[:, None]).T @ design) * variance
    column = lengths[12:] @ np.column_stack([np.ones(6), values[12:, 1:]])
    noise = variance * lengths[:12].mean() * lengths[12:].sum()
    assert model.standard_error == pytest.approx(np.sqrt(column @ covariance @ column + noise), rel=1e-9)
    assert model.cv_rmse == pytest.approx(np.sqrt(variance) / (values[:12, 0] @ weights / 12), rel=1e-9)


def test_the_fractional_saving_uncertainty_of_months_stands_beside_it(plan: Plan) -> None:
    found = result(plan, rows(noise=80.0))
    (ashrae,) = found.model.alternative_intervals
    months = 180 / (365.25 / 12)
    assert k_monthly(months) == pytest.approx(-0.00022 * months**2 + 0.03306 * months + 0.94054)
    fsu = found.model.t * k_monthly(months) * found.model.cv_rmse * np.sqrt((1 + 2 / 12) / 6)
    assert ashrae.method == "ashrae_months"
    assert ashrae.half_width == pytest.approx(fsu * found.baseline)
    codes = [reason.code for reason in found.reasons]
    assert "placebo_not_determinable" in codes
    assert "minimum_detectable" in codes


def test_an_estimated_bill_is_joined_with_the_next_that_was_read(plan: Plan) -> None:
    bills = rows(noise=80.0)
    marked = [[*row, "yes" if position == 3 else ""] for position, row in enumerate(bills)]
    table = read_bills(text(marked, "from,to,energy,output,cold,estimated"), plan)
    assert len(table.first) == len(bills) - 1
    assert (table.first[3], table.end[3]) == (bills[3][0], bills[4][1])
    assert table.values["energy"][3] == pytest.approx(bills[3][2] + bills[4][2])
    model: Any = evaluate_bills(plan, table).kpis[0].model
    assert model.n == 11
    last = read_bills(text([*marked[:-1], [*bills[-1], "yes"]], "from,to,energy,output,cold,estimated"), plan)
    assert np.isnan(last.values["energy"][-1]), "what was never read is not known"


def test_bills_that_do_not_count_are_named(plan: Plan) -> None:
    bills = rows(noise=80.0)
    bills[5][2] = None
    bills[0][0] = date(2022, 12, 20)
    split = bills[7]
    middle = split[0] + timedelta(days=10)
    bills[7:8] = [[split[0], middle, 9000.0, 900.0, 10.0], [middle, split[1], 19000.0, 2000.0, 20.0]]
    codes = [reason.code for reason in result(plan, bills).reasons]
    assert {
        "bill_not_used_baseline_2022-12-20",
        f"bill_not_used_baseline_{bills[5][0]}",
        f"bill_not_used_baseline_{split[0]}",
        "low_coverage_baseline",
    } <= set(codes)


def test_a_handful_of_bills_gives_no_verdict(plan: Plan) -> None:
    found = result(plan, rows()[5:])
    assert found.verdict is Verdict.INSUFFICIENT_DATA
    assert "too_few_bills_baseline" in [reason.code for reason in found.reasons]


def test_what_needs_days_says_so_and_shows_no_figure(plan: Plan) -> None:
    evaluation = evaluate_bills(plan, read_bills(text(rows()), plan))
    intensity = evaluation.kpis[1]
    assert (intensity.verdict, intensity.baseline) == (Verdict.INSUFFICIENT_DATA, None)
    assert intensity.reasons[0].code == "needs_intervals"
    assert evaluation.totals["energy"].sum == pytest.approx(sum(row[2] for row in rows()))
    assert (evaluation.totals["energy"].months, evaluation.totals["energy"].coverage) == ({}, 1.0)


def test_results_of_bills_are_of_the_published_form(plan: Plan) -> None:
    document = evaluate_bills(plan, read_bills(text(rows(noise=80.0)), plan)).to_json()
    problems = [error.message for error in Draft202012Validator(closed_result_schema()).iter_errors(document)]
    assert problems == []


def test_recorded_events_are_said_not_to_be_taken_out(plan: Plan) -> None:
    event = (
        "non_routine_events:\n  - {id: fire, what: a fire, from: 2023-05-01, to: 2023-05-04, series: energy, "
        "factor: other, recorded_by: Li, recorded: 2023-05-05, treatment: exclude}\n"
    )
    told = load_plan(PLAN + event, "plan.yaml")
    codes = [reason.code for reason in result(told, rows(noise=80.0)).reasons]
    assert "events_not_taken_out" in codes
    assert "events_not_taken_out" not in [reason.code for reason in result(plan, rows(noise=80.0)).reasons]


def test_days_can_be_taken_by_months(plan: Plan) -> None:
    days = np.arange(366 + 180)
    random = np.random.default_rng(3)
    output, cold = random.uniform(60, 140, len(days)), 10 + 9 * np.cos(days / 58)
    values = {"energy": 500 + 3 * output + 20 * cold, "output": output, "cold": cold}
    values["energy"][366:] *= 0.9
    values["energy"][40] = np.nan
    times = np.array([midnight_ms(plan.baseline.start + timedelta(days=int(day)), plan.zone) for day in days])
    table = IntervalTable(times, DAY_MS, values, plan.series, plan.zone)
    found: Any = evaluate(plan, table).kpis[0]
    assert [one.value for one in found.model.coefficients] == pytest.approx([500, 3, 20], rel=1e-6)
    assert found.change == pytest.approx(-0.1, abs=1e-6)
    months = [one.first for one in found.model.bills]
    assert months[:2] == [date(2023, 1, 4), date(2023, 2, 1)]
    # 2024-01-01 to 2024-01-05 and 2024-07-01 to 2024-07-03 are too short to be months.
    assert len(months) == 12 + 6


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({2: "2023-02-03,2023-03-36,1,1,1"}, "3: column 'to': '2023-03-36' is no date"),
        ({2: "2023-02-03,2023-02-01,1,1,1"}, "3: the bill ends (2023-02-01) before it begins (2023-02-03)"),
        (
            {2: "2023-02-01,2023-03-06,1,1,1"},
            "3: the bill begins 2023-02-01, before the one above it ends (2023-02-03)",
        ),
        ({2: "2023-02-03,2023-03-06,-1,1,1"}, "3: column 'energy': -1 is negative"),
        ({2: "2023-02-03,2023-03-06,1,1"}, "3: 4 cells, but the header names 5 columns"),
        ({0: "from,to,energy,output"}, "1: column 'cold' (a series of the plan) is missing"),
        ({0: "from,to,energy,output,cold,estimate"}, "1: unknown column 'estimate'"),
    ],
)
def test_rows_that_are_no_bills_are_named(plan: Plan, change: dict[int, str], problem: str) -> None:
    lines = text(rows()).splitlines()
    for position, line in change.items():
        lines[position] = line
    with pytest.raises(TableError) as caught:
        read_bills("\n".join(lines), plan, "bills.csv")
    assert f"bills.csv:{problem}" in caught.value.problems[0]


def test_the_columns_tell_bills_from_intervals() -> None:
    assert is_bill_table("\ufefffrom,to,energy\n")
    assert not is_bill_table("time,energy\n")
    assert not is_bill_table("")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("granularity: bill_month, model: auto", "'auto' chooses between models of days"),
        ("granularity: bill_month, model: weekday", "cannot be learnt from bill_month; use one of: linear, mean"),
        ("granularity: day, bill_basis: bill", "is for bills"),
    ],
)
def test_a_plan_that_asks_what_bills_cannot_give_is_refused(words: str, problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        load_plan(PLAN.replace("granularity: bill_month", words), "plan.yaml")


KWH_PER_MMBTU = 293.07107


def test_the_command_line_reaches_the_coefficients_of_verifi(shared_data: Path, tmp_path: Path) -> None:
    """ORNL's VERIFI fits totals of months, each weighing the same: coefficients and R2 to 1e-9."""
    with (shared_data / "verifi" / "monthly_groups.csv").open(encoding="utf-8") as file:
        months = list(csv.DictReader(file))
    models = json.loads((shared_data / "verifi" / "expected_models.json").read_text(encoding="utf-8"))
    for expected in models:
        group = [month for month in months if month["group"] == expected["group"]]
        names = ["x1", "x2"][: len(expected["predictors"])]
        year = int(group[0]["year"])
        first = [date(int(month["year"]), int(month["month"]), 1) for month in group]
        ends = [*first[1:], date(year + (first[-1].month == 12), first[-1].month % 12 + 1, 1)]
        bills = [
            [start, end, float(month["energy_mmbtu"]) * KWH_PER_MMBTU, *(month[name] for name in names)]
            for start, end, month in zip(first, ends, group, strict=True)
        ]
        # The reporting period is there to be compared with; the first bill of the next year is the last one again.
        bills.append([ends[-1], ends[-1] + timedelta(days=30), *bills[-1][2:]])
        (tmp_path / "bills.csv").write_text(text(bills, ",".join(["from,to,energy", *names])), encoding="utf-8")
        plan = (
            f"plan: 1\nproject: verifi\nenterprise: e\nboundary: b\n"
            f"baseline: {{from: {first[0]}, to: {ends[-1]}}}\nreporting: {{from: {ends[-1]}, to: {bills[-1][1]}}}\n"
            "series:\n  energy: {quantity: active_energy_import, unit: kWh}\n"
            + "".join(f"  {name}: {{quantity: output, unit: any}}\n" for name in names)
            + "kpis:\n  - {id: saving, kind: adjusted_saving, granularity: bill_month, bill_basis: bill, "
            "energy: energy, "
            f"variables: [{', '.join(names)}]}}\n"
        )
        (tmp_path / "plan.yaml").write_text(plan, encoding="utf-8")
        command = [sys.executable, "-m", "shopfloor", "evidence", "evaluate", "plan.yaml", "--data", "bills.csv"]
        done = subprocess.run([*command, "--json", "-"], cwd=tmp_path, capture_output=True, text=True, check=True)
        model = json.loads(done.stdout)["kpis"][0]["model"]
        found = [one["value"] / KWH_PER_MMBTU for one in model["coefficients"]]
        assert found == pytest.approx(expected["coef"], rel=1e-9)
        assert model["r2"] == pytest.approx(expected["R2"], abs=1e-9)


def test_the_command_line_tries_another_model_and_prints_bills(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "bills.csv").write_text(text(rows(noise=80.0)), encoding="utf-8")
    command = [sys.executable, "-m", "shopfloor", "evidence", "evaluate", "plan.yaml", "--data", "bills.csv"]

    def run(*arguments: str) -> str:
        done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    shown = run()
    assert "saving (adjusted_saving)   MET" in shown
    assert "intensity (energy_intensity)   INSUFFICIENT DATA" in shown
    tried = json.loads(run("--model", "mean", "--json", "-"))["kpis"][0]
    assert tried["model"]["kind"] == "mean"
    assert "model_not_of_plan" in [reason["code"] for reason in tried["reasons"]]


@pytest.mark.soak
def test_coverage_of_independent_and_of_daily_correlated_noise(plan: Plan) -> None:
    """2000 plants whose days have AR(1) noise: over months it is nearly gone, and 90 % intervals cover 88 to 92 %."""
    for rho in (0.0, 0.6):
        random = np.random.default_rng(11)
        inside = 0
        draws = 2000
        spans = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in pairwise(READINGS)]
        lengths = np.array([(end - first).days for first, end in spans])
        edges = np.concatenate([[0], np.cumsum(lengths)])
        for _ in range(draws):
            noise = random.normal(size=edges[-1] + 100)
            for position in range(1, len(noise)):
                noise[position] = rho * noise[position - 1] + np.sqrt(1 - rho**2) * noise[position]
            noise = noise[100:]
            output = lengths * random.uniform(60, 140, len(lengths))
            cold = lengths * random.uniform(0, 22, len(lengths))
            energy = 500 * lengths + 3 * output + 20 * cold
            energy = energy + 100 * np.array([noise[a:b].sum() for a, b in pairwise(edges)])
            table = BillTable(
                tuple(first for first, _ in spans),
                tuple(end for _, end in spans),
                {"energy": energy, "output": output, "cold": cold},
                plan.series,
            )
            comparison: Any = evaluate_bills(plan, table).kpis[0]
            low, high = comparison.interval or (1.0, 1.0)
            inside += low <= 0.0 <= high
        assert inside / draws == pytest.approx(0.9, abs=0.02), rho
