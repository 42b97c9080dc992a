"""Plans, tables and real data that the tests of the evidence engine share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, day_start_ms, midnight_ms

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


KPI_PAGE = HERE.parents[1] / "docs" / "evidence" / "kpis-in-a-plan.md"


@pytest.fixture(scope="session")
def every_kpi_text() -> str:
    """The documentation's plan with every kind of KPI, as printed."""
    page = KPI_PAGE.read_text(encoding="utf-8")
    return re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)[0]


@pytest.fixture(scope="session")
def every_kpi(every_kpi_text: str) -> Plan:
    return load_plan(every_kpi_text, "docs/evidence/kpis-in-a-plan.md")


@pytest.fixture(scope="session")
def workshop(every_kpi: Plan) -> IntervalTable:
    """Hours of 70 days for that plan: two shifts of eight hours, none on Sundays; the second half runs better."""
    plan = every_kpi
    random = np.random.default_rng(7)
    days = (plan.reporting.to - plan.baseline.start).days
    hours = 24 * days
    hour, day = np.arange(hours) % 24, np.arange(hours) // 24
    after = day >= (plan.reporting.start - plan.baseline.start).days
    works = (hour < 16) & (day % 7 != 6)
    shift, breaks = 60.0 * works, np.where(works & (hour % 8 == 4), 30.0, 0.0)
    setup = np.where(after, 0.05, 0.09) * (shift - breaks)
    delays = np.where(after, 0.05, 0.10) * (shift - breaks) * random.uniform(0.5, 1.5, hours)
    running = shift - breaks - setup - delays
    plates = np.round(running * 60 / 12 * 0.9 * random.uniform(0.85, 1.0, days)[day])
    outdoor = 12 + 6 * np.sin(2 * np.pi * (hour - 2) / 24) + 3 * random.normal(size=days)[day]
    energy = (60 + 1.2 * plates + 2 * outdoor + 5 * random.normal(size=hours)) * np.where(after, 0.85, 1.0)
    failures = random.poisson(np.where(works, np.where(after, 0.03, 0.06), 0.0))
    values = {
        "energy": energy,
        "reactive": energy * np.where(after, 0.3, 0.5) * random.uniform(0.9, 1.1, hours),
        "gas": 10 + 0.02 * plates + random.uniform(0, 1, hours),
        "shift": shift,
        "breaks": breaks,
        "setup": setup,
        "running": running,
        "delays": delays,
        "orders": np.where(works, 1.0, 0.0),
        "plates": plates,
        "tubes": np.round(0.3 * plates),
        "rejects": np.minimum(random.poisson(np.where(after, 0.01, 0.02) * plates), plates),
        "reworked": np.minimum(random.poisson(0.02 * plates), plates),
        "failures": failures,
        "repair": failures * random.uniform(10, 50, hours),
        "outdoor": outdoor,
        "bearing": 60 + 8 * works + 4 * random.normal(size=hours),
        "machines": np.full(hours, 12.0),
        "digital_machines": np.where(after, 9.0, 4.0),
        "goods": 500.0 * plates,
        "stock": np.where(after, 4e6, 6e6),
    }
    start = day_start_ms(plan.baseline.start, plan.day_start, plan.zone)
    times = start + 3_600_000 * np.arange(hours, dtype=np.int64)
    columns = {name: np.asarray(values[name], dtype=np.float64) for name in plan.series}
    return IntervalTable(times, 3_600_000, columns, plan.series, plan.zone, plan.day_start)
