"""Standard coal, CO2 and cost: factors with their source, one on both sides; prices by the hour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evidence.factors import COAL_EQUIVALENT, GRID_CARBON
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.table import IntervalTable
from evidence.verdict import Verdict


def result_of(plan: Plan, table: IntervalTable, kpi_id: str) -> KpiResult:
    return next(kpi for kpi in plan.kpis if kpi.id == kpi_id).evaluate(plan, table)


def test_standard_coal_adds_up_all_carriers_by_their_factors(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "coal")
    first = slice(0, 35 * 24)
    amount = 0.1229 * workshop.values["energy"][first].sum() + 35544 / 29307.6 * workshop.values["gas"][first].sum()
    assert result.baseline == pytest.approx(amount / workshop.values["plates"][first].sum(), rel=1e-12)
    assert result.unit == "kgce/piece"
    model: Any = result.model
    assert [(one.name, one.year) for one in model.factors] == [("electricity", 2020), ("natural_gas", 2020)]
    assert "measured net calorific value 35544" in model.factors[1].citation


def test_carbon_comes_from_energies_by_one_factor_on_both_sides(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "carbon")
    for side, part in (("baseline", slice(0, 35 * 24)), ("reporting", slice(35 * 24, None))):
        values = workshop.values
        amount = 0.6187 * values["energy"][part].sum() + 2.16 * values["gas"][part].sum()
        assert getattr(result, side) == pytest.approx(amount / values["plates"][part].sum(), rel=1e-12)


def test_a_mix_of_products_counts_by_its_weights(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "intensity")
    first = slice(0, 35 * 24)
    equivalent = workshop.values["plates"][first].sum() + 1.35 * workshop.values["tubes"][first].sum()
    assert result.baseline == pytest.approx(workshop.values["energy"][first].sum() / equivalent, rel=1e-12)


@pytest.mark.parametrize(
    ("stated", "changed", "problem"),
    [
        ("factor: electricity}", "factor: electricty}", "unknown factor; did you mean 'electricity'"),
        (
            "factor: natural_gas, net_calorific_value: 35544}",
            "factor: natural_gas}",
            "is a range of 1.1000 to 1.3300; state the value and the reason",
        ),
        (
            "factor: natural_gas, net_calorific_value: 35544}",
            "factor: natural_gas, value: 1.4, reason: guess}",
            "1.4 lies outside 1.1000 to 1.3300",
        ),
        (
            "{series: energy, factor: electricity}",
            "{series: gas, factor: electricity}",
            "is per kWh, but 'gas' is in m3",
        ),
        ("{series: energy, factor: electricity}", "{series: energy, factor: heat}", "is for heat_energy"),
        ("{series: energy, factor: electricity}", "{series: gas, factor: oxygen}", "'gas' stands twice"),
        ("factor: {value: 2.16, unit: m3", "factor: {value: 2.16, unit: kg", "is per kg, but 'gas' is in m3"),
        ("gas: {quantity: gas_volume, unit: m3}", "gas: {quantity: active_energy_import, unit: kWh}", "is per m3"),
    ],
)
def test_a_factor_that_does_not_fit_is_refused(every_kpi_text: str, stated: str, changed: str, problem: str) -> None:
    assert stated in every_kpi_text
    with pytest.raises(Exception, match=problem):
        load_plan(every_kpi_text.replace(stated, changed), "plan.yaml")


def test_a_range_may_be_decided_with_a_reason(every_kpi_text: str, workshop: IntervalTable) -> None:
    stated = "factor: natural_gas, net_calorific_value: 35544}"
    text = every_kpi_text.replace(stated, "factor: natural_gas, value: 1.2143, reason: row of the 2008 edition}")
    model: Any = result_of(load_plan(text, "plan.yaml"), workshop, "coal").model
    assert (model.factors[1].value, model.factors[1].reason) == (1.2143, "row of the 2008 edition")


def test_two_factor_years_of_electricity_are_refused(every_kpi_text: str) -> None:
    text = every_kpi_text.replace(
        "gas: {quantity: gas_volume, unit: m3}", "gas: {quantity: active_energy_import, unit: kWh}"
    )
    text = text.replace("factor: {value: 2.16, unit: m3, year: 2025", "factor: ningxia_2022 #")
    with pytest.raises(Exception, match="mixes factors of 2022, 2023 for electricity"):
        load_plan(text, "plan.yaml")


def test_a_cleaner_grid_would_be_a_false_saving() -> None:
    """What one factor year on both sides avoids: Ningxia's factor alone fell by 3.7 % from 2022 to 2023."""
    assert GRID_CARBON["ningxia_2023"].low / GRID_CARBON["ningxia_2022"].low - 1 == pytest.approx(-0.0367, abs=5e-5)


def test_every_factor_names_its_source_and_year() -> None:
    for row in (*COAL_EQUIVALENT.values(), *GRID_CARBON.values()):
        assert len(row.citation) > 10
        assert 2018 <= row.year <= 2026
        assert 0 < row.low <= row.high


def test_the_cost_is_price_times_energy_by_the_hour(every_kpi: Plan, workshop: IntervalTable) -> None:
    prices = {**dict.fromkeys(range(24), 0.29), **dict.fromkeys([6, 7, *range(11, 18)], 0.57)}
    prices |= {**dict.fromkeys([8, 9, 10, 20, 21], 0.86), 18: 1.05, 19: 1.05}
    local_hour = (workshop.time_ms // 3_600_000 + 8) % 24
    cost = workshop.values["energy"] * np.array([prices[hour] for hour in local_hour.tolist()])
    result = result_of(every_kpi, workshop, "cost")
    first = slice(0, 35 * 24)
    assert result.baseline == pytest.approx(cost[first].sum() / workshop.values["energy"][first].sum(), rel=1e-12)
    model: Any = result.model
    assert sum(one.energy_kwh[0] for one in model.tariff) == pytest.approx(workshop.values["energy"][first].sum())
    assert [one.name for one in model.tariff] == ["尖", "峰", "平", "谷"]
    assert result.unit == "CNY/kWh"


def test_a_cost_by_output_is_a_ratio_of_both_sums(every_kpi_text: str, workshop: IntervalTable) -> None:
    text = every_kpi_text.replace("kind: energy_cost\n", "kind: energy_cost\n    output: plates\n")
    result = result_of(load_plan(text, "plan.yaml"), workshop, "cost")
    assert result.unit == "CNY/piece"
    assert result.verdict is Verdict.MET


@pytest.mark.parametrize(
    ("stated", "changed", "problem"),
    [
        ("times: ['22:00-06:00']", "times: ['22:00-05:30']", "month 1 has no price at 05:30"),
        ("times: ['22:00-06:00']", "times: ['21:00-06:00']", "month 1 has several prices at 21:00"),
        ("times: ['22:00-06:00']", "times: ['22-6']", "'22-6' is no span of a day"),
        ("times: ['22:00-06:00']", "months: [13], times: ['22:00-06:00']", "months are numbers from 1 to 12"),
    ],
)
def test_a_tariff_has_one_price_for_every_minute(every_kpi_text: str, stated: str, changed: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        load_plan(every_kpi_text.replace(stated, changed), "plan.yaml")


def test_intervals_that_are_too_long_for_the_tariff_give_no_cost(every_kpi_text: str, workshop: IntervalTable) -> None:
    text = every_kpi_text.replace("'11:00-18:00'", "'11:00-17:30'").replace("'18:00-20:00'", "'17:30-20:00'")
    result = result_of(load_plan(text, "plan.yaml"), workshop, "cost")
    assert (result.baseline, result.verdict) == (None, Verdict.INSUFFICIENT_DATA)
    assert [reason.code for reason in result.reasons] == ["intervals_too_long_for_tariff"]


def test_idle_energy_is_what_is_used_while_nothing_is_made(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "idle")
    first = slice(0, 35 * 24)
    energy, idle = workshop.values["energy"][first], workshop.values["plates"][first] == 0
    assert result.baseline == pytest.approx(energy[idle].sum() / energy.sum(), rel=1e-12)


def test_the_mean_power_factor_is_that_of_the_sums(every_kpi: Plan, workshop: IntervalTable) -> None:
    result = result_of(every_kpi, workshop, "cosphi")
    first = slice(0, 35 * 24)
    active, reactive = workshop.values["energy"][first].sum(), workshop.values["reactive"][first].sum()
    assert result.baseline == pytest.approx(active / np.hypot(active, reactive), rel=1e-12)
