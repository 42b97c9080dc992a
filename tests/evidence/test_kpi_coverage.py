"""How often the intervals of the KPIs that are no plain ratio cover the truth, by simulation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evidence.event_rates import mean_time_change_interval
from evidence.plan import Plan, load_plan
from evidence.table import IntervalTable

pytestmark = pytest.mark.soak

DRAWS = 1000
DAYS = 90

PLAN = """plan: 1
project: coverage
enterprise: e
boundary: b
baseline: {from: 2026-01-05, to: 2026-04-05}
reporting: {from: 2026-04-05, to: 2026-07-04}
series:
  active: {quantity: active_energy_import, unit: kWh}
  reactive: {quantity: reactive_energy_import, unit: kvarh}
  pbt: {quantity: planned_busy_time, unit: min}
  aust: {quantity: setup_time, unit: min}
  apt: {quantity: production_time, unit: min}
  gq: {quantity: good_count, unit: piece}
kpis:
  - {id: cosphi, kind: power_factor, active: active, reactive: reactive}
  - id: nee
    kind: nee
    planned_run_time: {value: 10, unit: s}
    good: gq
    processing_time: aust + apt
    production_time: apt
    planned_busy_time: pbt
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(PLAN, "plan.yaml")


def dependent(random: np.random.Generator, rho: float) -> np.ndarray:
    """AR(1) noise of unit variance over both periods."""
    values = np.empty(2 * DAYS)
    values[0] = random.normal()
    for position in range(1, 2 * DAYS):
        values[position] = rho * values[position - 1] + np.sqrt(1 - rho**2) * random.normal()
    return values


def factory(random: np.random.Generator, rho: float) -> dict[str, np.ndarray]:
    """Two shifts on weekdays, one on Saturdays; load, reactive load, set-up and pace wander from day to day."""
    planned = np.array([900.0] * 5 + [450.0, 450.0])[np.arange(2 * DAYS) % 7]
    production = planned * (0.7 + 0.05 * dependent(random, rho))
    pieces = production * 5 * (1 + 0.06 * dependent(random, rho))
    energy = 200 + 0.4 * pieces
    return {
        "pbt": planned,
        "aust": planned * (0.1 + 0.02 * dependent(random, rho)),
        "apt": production,
        "gq": pieces,
        "active": energy,
        "reactive": energy * (0.5 + 0.04 * dependent(random, rho)),
    }


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_linearised_intervals_cover_as_often_as_they_say(
    plan: Plan, daily_table: Callable[..., IntervalTable], rho: float
) -> None:
    inside = np.zeros(len(plan.kpis))
    for seed in range(DRAWS):
        table = daily_table(plan, factory(np.random.default_rng(seed), rho))
        for position, kpi in enumerate(plan.kpis):
            low, high = kpi.evaluate(plan, table).interval or (1.0, 1.0)
            inside[position] += low <= 0.0 <= high
    covered = inside / DRAWS
    assert ((covered > 0.86) & (covered < 0.94)).all()


@pytest.mark.parametrize("expected", [(5.0, 4.0), (30.0, 20.0)])
def test_the_exact_interval_never_covers_less_than_it_says(expected: tuple[float, float]) -> None:
    random = np.random.default_rng(1)
    true_change = expected[0] / expected[1] - 1
    inside = told = 0
    for before, after in zip(*(random.poisson(mean, DRAWS).tolist() for mean in expected), strict=True):
        interval = mean_time_change_interval((100.0, before), (100.0, after), 0.9)
        if interval is not None:
            told += 1
            inside += interval[0] <= true_change <= interval[1]
    assert inside / told > 0.88
