"""Plans, tables and real data that the tests of the evidence engine share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, midnight_ms

HERE = Path(__file__).parent
SHARED_DATA = HERE.parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def retrofit_text() -> str:
    """The plan of a retrofit with 90 baseline days, a week of blackout and 45 reporting days."""
    return (HERE / "plans" / "retrofit.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def retrofit(retrofit_text: str) -> Plan:
    return load_plan(retrofit_text, "retrofit.yaml")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data that nobody on this project made; it stands beside the repository and is never committed."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: {SHARED_DATA}")
    return SHARED_DATA


DailyTable = Callable[[Plan, dict[str, NDArray[np.float64]]], IntervalTable]


@pytest.fixture(scope="session")
def daily_table() -> DailyTable:
    """Make a table of daily values that begin on the first baseline day."""

    def make(plan: Plan, values: dict[str, NDArray[np.float64]]) -> IntervalTable:
        length = len(next(iter(values.values())))
        days: list[date] = [plan.baseline.start + timedelta(days=offset) for offset in range(length)]
        times = np.array([midnight_ms(day, plan.zone) for day in days], dtype=np.int64)
        return IntervalTable(times, DAY_MS, values, plan.series, plan.zone)

    return make


Factory = Callable[..., dict[str, NDArray[np.float64]]]


@pytest.fixture(scope="session")
def factory_days() -> Factory:
    """Make 142 days of a factory: base load, output with a weekly pattern, weather, dependent noise.

    ``effect`` is the true change of energy from day 97 on (the reporting period of the retrofit plan).
    """

    def dependent(random: np.random.Generator, rho: float, size: int) -> NDArray[np.float64]:
        values = np.empty(size)
        values[0] = random.normal()
        for position in range(1, size):
            values[position] = rho * values[position - 1] + np.sqrt(1 - rho**2) * random.normal()
        return values

    def make(seed: int, effect: float = 0.0, rho: float = 0.4) -> dict[str, NDArray[np.float64]]:
        random = np.random.default_rng(seed)
        day = np.arange(142)
        weekly = np.array([1.0, 1.05, 1.0, 1.0, 0.95, 0.6, 0.0])[day % 7]
        output = np.round(2000 * weekly * np.maximum(0.1, 1 + 0.12 * dependent(random, rho, 142)))
        temperature = 9 + 14 * np.cos(2 * np.pi * (day - 18) / 365) + 2.5 * dependent(random, 0.7, 142)
        energy = 400 + 0.4 * output + 6 * temperature + 35 * dependent(random, rho, 142)
        energy[97:] *= 1 + effect
        return {"energy": energy, "output": output, "outdoor_temperature": temperature}

    return make
