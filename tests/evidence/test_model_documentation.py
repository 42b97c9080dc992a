"""The worked numbers of the page on models are what the code computes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evidence.baseline_model import Conditions
from evidence.bill_uncertainty import ashrae_half_width, k_monthly
from evidence.bills import read_bills
from evidence.comparison import BeforeAndAfter, avoided_energy
from evidence.kpis.adjusted_saving import AdjustedSaving
from evidence.models import MODELS
from evidence.operating_modes import OperatingMode, with_modes
from evidence.plan import load_plan
from evidence.saving_sufficiency import correlation_limit

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "models.md").read_text(encoding="utf-8")
LINES = re.findall(r"```\n(.*?)```", PAGE.split("\n## Worked numbers\n")[1], flags=re.DOTALL)[0].strip().splitlines()
LENGTHS = (31, 29, 31, 30, 33, 28, 31, 32, 30, 31, 29, 31)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.3f} %"


def interval(ends: tuple[float, float] | None) -> str:
    assert ends is not None
    return f"{percent(ends[0])} to {percent(ends[1])}"


def bills() -> dict[str, str]:
    """The plant of the page: 12 + 6 bills, energy a day 500 + 3 output + 20 cold and a swing, a tenth less after."""
    bill = np.arange(18)
    lengths = np.array([*LENGTHS, *LENGTHS[:6]], dtype=float)
    output, cold = 100 + 20 * np.sin(1.7 * bill), np.maximum(0.0, 10 * np.cos(bill / 2))
    energy = 500 + 3 * output + 20 * cold + 10 * np.sin(2.3 * bill)
    energy[12:] *= 0.9
    conditions = Conditions(739_000 + 31 * bill, {"output": output, "cold": cold}, lengths=lengths)
    before = bill < 12
    data = BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])
    found = avoided_energy(MODELS["linear"], data, 0.9)
    assert found is not None
    days = float(lengths[12:].sum())
    half = ashrae_half_width(found.learnt, data.after, found.adjusted_baseline, days, confidence=0.9)
    b0, output_slope, cold_slope = found.learnt.fit.coefficients.tolist()
    return {
        "bills: coefficients": f"{b0:.3f}, {output_slope:.4f}, {cold_slope:.4f}",
        "bills: change": percent(found.change or 0.0),
        "bills: interval": interval(found.interval),
        "bills: interval, ASHRAE for months": interval(found.interval_with(half)),
        "k_monthly(6)": f"{k_monthly(6):.5f}",
        "k_monthly(12)": f"{k_monthly(12):.5f}",
        "correlation_limit(12)": f"{correlation_limit(12):.4f}",
    }


def hours() -> dict[str, str]:
    """The workshop of the page: 56 + 28 days of hours, a swing over days and one over hours, a tenth less after."""
    hour = np.arange(24 * 84)
    day, clock = hour // 24, hour % 24
    output = np.where((clock >= 8) & (clock < 18) & (day % 7 < 5), 100.0 + 10 * np.sin(1.1 * day), 0.0)
    energy = 50 + 0.8 * output + 6 * np.sin(0.6 * day + 0.004 * day**2) + 3 * np.sin(0.31 * hour)
    energy[24 * 56 :] *= 0.9
    conditions = Conditions(739_000 + day, {"output": output}, hours=clock)
    before = day < 56
    data = BeforeAndAfter(conditions.only(before), energy[before], conditions.only(~before), energy[~before])
    found = avoided_energy(MODELS["linear"], data, 0.9)
    assert found is not None
    fit, column = found.learnt.fit, found.learnt.design(data.after).sum(axis=0)
    variance = fit.variance * (float(column @ fit.inverse @ column) + data.after.n)
    ordinary = float(stats.t.ppf(0.95, fit.n - fit.p)) * variance**0.5
    return {
        "hours: change": percent(found.change or 0.0),
        "hours: interval": interval(found.interval),
        "hours: what least squares on hours would say": interval(found.interval_with(ordinary)),
        "hours: degrees of freedom": f"{found.degrees_of_freedom:.1f}",
    }


def modes() -> dict[str, str]:
    """The factory of the page: closed on Sundays, when it needs 150 kWh less than its base load."""
    days = np.arange(739_000, 739_056)
    sunday = (days - 1) % 7 == 6
    output = np.where(sunday, 0.0, 2000 + 300 * np.sin(1.7 * np.arange(56)))
    conditions = Conditions(days, {"output": output})
    closed = with_modes(conditions, {"closed": OperatingMode(variable="output", at_most=0.0)})
    learnt = MODELS["linear"].learn(closed, 400 + 0.4 * output - 150 * sunday)
    assert learnt is not None
    return {"modes: coefficients": ", ".join(f"{value:.4g}" for value in learnt.fit.coefficients.tolist())}


@cache
def worked() -> dict[str, str]:
    return bills() | hours() | modes()


@pytest.mark.parametrize("line", LINES)
def test_a_worked_number_is_what_the_code_computes(line: str) -> None:
    name, printed = line.split(" = ")
    assert worked()[name] == printed


def test_every_worked_number_is_printed() -> None:
    assert [line.split(" = ")[0] for line in LINES] == list(worked())


def test_every_model_stands_on_the_page() -> None:
    for name, model in MODELS.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
        told = row.split("|")[3]
        assert {word.strip() for word in told.split(",")} == {
            {"day": "days", "hour": "hours", "bill_month": "bills"}[one] for one in model.granularities
        }


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


PERIODS = """\
plan: 1
project: page
enterprise: e
boundary: b
baseline: {from: 2024-01-04, to: 2025-01-04}
reporting: {from: 2025-01-04, to: 2025-11-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: produced_mass, unit: t}
"""


def test_the_printed_kpi_is_read() -> None:
    series = PERIODS + "  outdoor_temperature: {quantity: temperature, unit: degC}\n"
    kpi = load_plan(series + block("yaml"), "docs/evidence/models.md").kpis[0]
    assert isinstance(kpi, AdjustedSaving)
    assert list(kpi.modes) == ["closed", "sunday", "holidays"]


def test_the_printed_bills_are_read() -> None:
    kpis = "kpis:\n  - {id: s, kind: adjusted_saving, granularity: bill_month, energy: energy, variables: [output]}\n"
    plan = load_plan(
        PERIODS + "  heating_degree_days: {quantity: heating_degree_days, unit: K.d}\n" + kpis, "plan.yaml"
    )
    bills = read_bills(block("csv"), plan, "docs/evidence/models.md")
    assert [(end - first).days for first, end in zip(bills.first, bills.end, strict=True)] == [30, 61]
    assert bills.values["energy"].tolist() == [31250.0, 57810.0]
