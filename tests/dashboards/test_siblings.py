"""What the meters of a plan told beside its series reaches the screens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dashboards.siblings import sibling_channels
from evidence.plan import load_plan
from evidence.screen import subject_of
from evidence.screens import screen
from evidence.signed_facts import SignedFacts
from evidence.table import IntervalTable, midnight_ms
from store.database import connect
from store.gateways import add_gateway
from store.intervals import IntervalRow, replace_intervals
from wire.descriptor import Series
from wire.keys import SigningKey
from wire.words import WordOrder, WordType

QUARTER_MS = 900_000
ROWS = 96 * 10
METER = "gw-02/meter-1"
PLAN = load_plan(
    "plan: 1\nproject: p\nenterprise: e\nboundary: b\n"
    "baseline: {from: 2025-07-01, to: 2025-07-06}\nreporting: {from: 2025-07-06, to: 2025-07-11}\n"
    f"series: {{energy: {{quantity: active_energy_import, unit: kWh, from: [{METER}/energy]}}}}\n"
    "kpis: [{id: i, kind: energy_intensity, energy: energy}]\n",
    "siblings.yaml",
)
TIMES = midnight_ms(PLAN.baseline.start, PLAN.zone) + QUARTER_MS * np.arange(ROWS, dtype=np.int64)


def series(name: str, quantity: str, unit: str) -> Series:
    return Series(name, quantity, unit, "gauge", 3, 0, WordType.FLOAT32, WordOrder.ABCD)


SIGNED = SignedFacts(
    series={
        f"{METER}/energy": series("energy", "active_energy_import", "kWh"),
        f"{METER}/active_power": series("active_power", "active_power", "W"),
        **{f"{METER}/active_power_l{n}": series(f"active_power_l{n}", "active_power", "W") for n in (1, 2, 3)},
        f"{METER}/energy_flat": series("energy_flat", "active_energy_import", "kWh"),
        f"{METER}/voltage_l1": series("voltage_l1", "voltage", "V"),
        "gw-02/meter-2/active_power": series("active_power", "active_power", "W"),
    }
)


def row(name: str, time_ms: int, mean: float, coverage: float = 1.0) -> IntervalRow:
    return IntervalRow(name, time_ms, mean, mean, mean, mean, mean, 1, mean, None, coverage)


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_power_and_phases_of_the_plans_meter_are_compared(factory: Any, share: float) -> None:
    """The register is that of the power, or nine tenths of it; power is in W, the plan's energy in kWh."""
    kw = 100 + 40 * np.sin(np.arange(ROWS) / 7)
    rows = []
    for position, time_ms in enumerate(TIMES.tolist()):
        watts = 1000 * float(kw[position])
        # An interval that is not covered is no value.
        coverage, wrong = (0.5, 3.0) if position == 50 else (1.0, 1.0)
        rows.append(row(f"{METER}/active_power", time_ms, watts * wrong, coverage))
        rows += [row(f"{METER}/active_power_l{n}", time_ms, watts * wrong / 3, coverage) for n in (1, 2, 3)]
        rows += [row("gw-02/meter-2/active_power", time_ms, 1.0), row(f"{METER}/energy_flat", time_ms, 1.0)]
    table = IntervalTable(TIMES, QUARTER_MS, {"energy": share * kw / 4}, PLAN.series, PLAN.zone)
    with connect(factory.database_url) as connection:
        add_gateway(connection, "gw-02", SigningKey.generate().public.raw, "")
        replace_intervals(connection, "gw-02", int(TIMES[0]), int(TIMES[-1]) + QUARTER_MS, rows)
        channels = sibling_channels(connection, PLAN, table, SIGNED)
    assert sorted(channel.name for channel in channels) == [
        f"{METER}/active_power", *(f"{METER}/active_power_l{n}" for n in (1, 2, 3))
    ]  # fmt: skip
    power = next(channel for channel in channels if not channel.phase)
    assert np.isnan(power.values[50])
    assert np.allclose(np.delete(power.values, 50), np.delete(kw, 50))
    found = {one.name: one for one in screen(subject_of(PLAN, table, SIGNED, channels))}
    assert found["phase_sums"].state == "clear"
    assert found["register_against_power"].state == ("clear" if share == 1.0 else "anomaly")
