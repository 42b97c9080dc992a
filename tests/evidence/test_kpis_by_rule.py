"""Figures that are compared as they are: peaks, shares of machines, continuity, excursions, stock."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evidence.equipment import band_points
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.table import IntervalTable, read_csv
from evidence.verdict import Verdict

HALF = 35 * 24


def result_of(plan: Plan, table: IntervalTable, kpi_id: str) -> KpiResult:
    return next(kpi for kpi in plan.kpis if kpi.id == kpi_id).evaluate(plan, table)


def changed(table: IntervalTable, **columns: np.ndarray) -> IntervalTable:
    return replace(table, values={**table.values, **columns})


def codes(result: KpiResult) -> list[str]:
    return [reason.code for reason in result.reasons]


def test_a_required_value_decides(every_kpi: Plan, every_kpi_text: str, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "peak")
    assert result.reporting == workshop.values["energy"][HALF:].max()
    assert (result.verdict, result.interval, codes(result)[:2]) == (
        Verdict.MET,
        None,
        ["by_rule_met", "verdict_by_rule"],
    )
    lower = load_plan(every_kpi_text.replace("required: 480", "required: 300"), "plan.yaml")
    assert result_of(lower, workshop, "peak").verdict is Verdict.NOT_MET


def test_a_target_is_held_against_the_baseline_value(every_kpi_text: str, workshop: IntervalTable) -> None:
    peaks = workshop.values["energy"].copy()
    peaks[[100, HALF + 100]] = 1000.0, 900.0
    table = changed(workshop, energy=peaks)
    for target, verdict in (("-0.1", Verdict.MET), ("-0.11", Verdict.NOT_MET)):
        text = every_kpi_text.replace("required: 480", f"target: {{change: {target}}}")
        assert result_of(load_plan(text, "plan.yaml"), table, "peak").verdict is verdict


def test_without_target_an_equal_value_is_no_improvement(every_kpi_text: str, workshop: IntervalTable) -> None:
    plan = load_plan(every_kpi_text.replace("total: machines, required: 0.4", "total: machines"), "plan.yaml")
    result = result_of(plan, workshop, "connected")
    assert (result.verdict, codes(result)[0]) == (Verdict.NOT_DISTINGUISHABLE, "by_rule_not_distinguishable")


@pytest.mark.parametrize(
    ("share", "points"),
    [
        (0.0, 0),
        (0.10, 0),
        (0.101, 1.5),
        (0.20, 1.5),
        (0.40, 3),
        (0.41, 4.5),
        (0.60, 4.5),
        (0.601, 6),
        (1.0, 6),
        (1.2, 6),
    ],
)
def test_the_bands_of_the_yardstick(share: float, points: float) -> None:
    assert band_points(share) == points


def test_a_machine_is_connected_when_it_delivers_on_nine_of_ten_days(every_kpi: Plan, workshop: IntervalTable) -> None:
    bearing = workshop.values["bearing"].copy()
    bearing[: 4 * 24] = np.nan
    tubes = workshop.values["tubes"].copy()
    tubes[: 3 * 24] = np.nan
    result = result_of(every_kpi, changed(workshop, bearing=bearing, tubes=tubes), "connected")
    model: Any = result.model
    assert (model.baseline["delivering"], model.reporting["delivering"]) == (4, 5)
    assert (result.baseline, result.reporting) == (4 / 12, 5 / 12)
    assert (model.baseline["points"], model.reporting["points"]) == (3.0, 4.5)


def test_a_factory_without_any_connected_machine_can_still_reach_what_is_required(
    every_kpi: Plan, every_kpi_text: str, workshop: IntervalTable
) -> None:
    nothing = np.where(np.arange(2 * HALF) < HALF, np.nan, 1.0)
    table = changed(workshop, **dict.fromkeys(("energy", "gas", "plates", "tubes", "bearing"), nothing))
    result = result_of(every_kpi, table, "connected")
    assert (result.baseline, result.change, result.verdict) == (0.0, None, Verdict.MET)
    relative = every_kpi_text.replace("total: machines, required: 0.4", "total: machines, target: {change: 0.5}")
    refused = result_of(load_plan(relative, "plan.yaml"), table, "connected")
    assert (refused.verdict, codes(refused)) == (Verdict.INSUFFICIENT_DATA, ["no_relative_change"])


def test_continuity_counts_every_interval_of_every_series(every_kpi: Plan, workshop: IntervalTable) -> None:
    energy = workshop.values["energy"].copy()
    energy[HALF : HALF + 84] = np.nan
    result = result_of(every_kpi, changed(workshop, energy=energy), "continuity")
    assert result.reporting == pytest.approx(1 - 84 / (3 * HALF))
    model: Any = result.model
    assert model.reporting["lowest_share"] == pytest.approx(1 - 84 / HALF)
    assert result.verdict is Verdict.MET


def test_time_outside_limits_is_counted_with_its_excursions(every_kpi: Plan, workshop: IntervalTable) -> None:
    bearing = np.full(2 * HALF, 60.0)
    bearing[HALF + 5 : HALF + 8] = 80.0
    bearing[HALF + 20] = 76.0
    bearing[HALF + 30] = 75.0
    result = result_of(every_kpi, changed(workshop, bearing=bearing), "bearing")
    model: Any = result.model
    assert result.reporting == pytest.approx(4 / 35)
    assert (model.reporting["excursions"], model.reporting["highest"]) == (2, 80.0)
    assert (result.baseline, result.verdict) == (0.0, Verdict.MET)


def test_stock_turns_of_a_year(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "turns")
    goods = workshop.values["goods"][:HALF].sum()
    assert result.baseline == pytest.approx(goods / 35 * 365 / 6e6)
    assert result.verdict is Verdict.MET


def test_peak_of_days_is_no_demand(every_kpi: Plan, workshop: IntervalTable) -> None:
    days = IntervalTable(
        workshop.time_ms[::24] - 8 * 3_600_000,
        86_400_000,
        {name: values[::24] for name, values in workshop.values.items()},
        workshop.series,
        workshop.zone,
    )
    result = result_of(every_kpi, days, "peak")
    assert (result.reporting, result.verdict) == (None, Verdict.INSUFFICIENT_DATA)


STEEL = """plan: 1
project: steel
enterprise: Gwangyang steel
boundary: works
timezone: Asia/Seoul
baseline:  {from: 2018-01-01, to: 2018-07-01}
reporting: {from: 2018-07-01, to: 2019-01-01}
series:
  energy: {quantity: active_energy_import, unit: kWh, resolution: 0.01}
  lagging: {quantity: reactive_energy_import, unit: kvarh, resolution: 0.01}
kpis:
  - {id: peak, kind: peak_demand, energy: energy}
  - {id: load, kind: load_factor, energy: energy}
  - {id: cosphi, kind: power_factor, active: energy, reactive: lagging}
"""


def test_the_demand_of_a_steel_works(shared_data: Path) -> None:
    """A real year of 15 min: the published peak is that of the second half; each row's stamp is its end."""
    lines = ["time,energy,lagging"]
    with (shared_data / "steel" / "steel_industry_energy.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            end = datetime.strptime(row["date"], "%d/%m/%Y %H:%M").replace(tzinfo=UTC)
            if (end.hour, end.minute) == (0, 0):
                end += timedelta(days=1)
            start = (end - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M")
            lines.append(f"{start},{row['Usage_kWh']},{row['Lagging_Current_Reactive_Power_kVarh']}")
    plan = load_plan(STEEL, "steel.yaml")
    table = read_csv("\n".join(lines), plan)
    peak, load, cosphi = (kpi.evaluate(plan, table) for kpi in plan.kpis)
    assert peak.reporting == pytest.approx(628.72)
    assert peak.baseline is not None
    assert peak.baseline < 628.72
    energy = (521_199.76, 438_436.95)  # the published months, added up
    assert load.baseline == pytest.approx(energy[0] / (181 * 24) / peak.baseline, rel=1e-9)
    assert load.reporting == pytest.approx(energy[1] / (184 * 24) / 628.72, rel=1e-9)
    assert cosphi.interval is not None
    assert cosphi.interval[0] < float(cosphi.change or 0) < cosphi.interval[1]
