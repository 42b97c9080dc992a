"""Totals: right to the stated digit, by local month, with peak and load factor."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, midnight_ms, read_csv
from evidence.totals import series_totals, totals

QUARTER_MS = 900_000


@pytest.fixture(scope="module")
def stated(retrofit_text: str) -> Plan:
    """The retrofit plan with energy stated to 0.01 kWh."""
    return load_plan(retrofit_text.replace("unit: kWh,", "unit: kWh, resolution: 0.01,"), "stated.yaml")


def energy_table(plan: Plan, energy: list[float], start_ms: int | None = None) -> IntervalTable:
    start = midnight_ms(plan.baseline.start, plan.zone) if start_ms is None else start_ms
    values = {name: np.array(energy, dtype=np.float64) for name in plan.series}
    return IntervalTable(start + QUARTER_MS * np.arange(len(energy)), QUARTER_MS, values, plan.series, plan.zone)


@given(pulses=st.lists(st.integers(0, 5000), min_size=1, max_size=300))
def test_a_sum_of_stated_values_is_exact(stated: Plan, pulses: list[int]) -> None:
    # A pulse is 0.036 kWh: measured values have three decimals, stated ones two.
    total = series_totals(energy_table(stated, [0.036 * count for count in pulses]), "energy")
    exact = sum((round(Fraction(36 * count, 10)) for count in pulses), 0)
    assert total.sum == float(Fraction(exact, 100))
    assert total.sum_unrounded == pytest.approx(0.036 * sum(pulses), rel=1e-12, abs=1e-12)


def test_without_a_resolution_nothing_is_rounded(retrofit: Plan) -> None:
    total = series_totals(energy_table(retrofit, [0.1234, 0.1234]), "energy")
    assert total.sum == total.sum_unrounded == 0.2468


def test_months_are_local(stated: Plan) -> None:
    # 2025-07-31T16:00Z is August in Shanghai.
    start = midnight_ms(stated.baseline.start, stated.zone) + 31 * DAY_MS - QUARTER_MS
    total = series_totals(energy_table(stated, [1.0, 2.0], start), "energy")
    assert total.months == {"2025-07": 1.0, "2025-08": 2.0}


def test_peak_and_load_factor_of_energy(stated: Plan) -> None:
    table = energy_table(stated, [10.0, 25.0, float("nan"), 25.0, 0.0])
    total = series_totals(table, "energy")
    assert total.peak_kw == 100.0
    assert total.peak_start_ms == table.time_ms[1]
    assert total.load_factor == pytest.approx(60.0 / 1.0 / 100.0)
    assert total.coverage == pytest.approx(4 / 5)


def test_only_energy_has_a_peak_and_only_increments_have_totals(stated: Plan) -> None:
    result = totals(energy_table(stated, [1.0, 2.0]))
    assert sorted(result) == ["energy", "output"]
    assert result["output"].sum == 3.0
    assert (result["output"].peak_kw, result["output"].load_factor) == (None, None)


def test_the_power_of_a_day_is_over_the_hours_that_it_has() -> None:
    plan = load_plan(
        "plan: 1\nproject: p\nenterprise: e\nboundary: b\ntimezone: Europe/Berlin\n"
        "baseline: {from: 2025-01-01, to: 2025-03-01}\nreporting: {from: 2025-03-01, to: 2025-12-01}\n"
        "series: {energy: {quantity: active_energy_import, unit: MWh}}\n"
        "kpis: [{id: saving, kind: adjusted_saving, energy: energy}]\n",
        "berlin.yaml",
    )
    table = read_csv("time,energy\n2025-03-29,2.4\n2025-03-30,2.3\n2025-03-31,2.4\n", plan)
    assert series_totals(table, "energy").load_factor == pytest.approx(1.0)
    assert series_totals(table, "energy").peak_kw == pytest.approx(100.0)
