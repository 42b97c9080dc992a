"""A cleaner grid is no saving: one factor year stands on both sides, and what the other would have said is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.factor_years import factor_in_force
from evidence.factors import COAL_EQUIVALENT, GRID_CARBON
from evidence.plan import Period, Plan, load_plan
from evidence.result import KpiResult
from evidence.table import DAY_MS, IntervalTable, midnight_ms

CARBON = "  - {id: carbon, kind: carbon_emissions, carriers: [{series: energy, factor: FACTOR}], output: output}\n"


def period(start: str, to: str) -> Period:
    return Period.model_validate({"from": start, "to": to})


@pytest.fixture
def carbon(retrofit_text: str, factory_days: Any) -> Any:
    """Evaluate CO2 of a factory in which nothing changed, with the periods of other years."""

    def make(factor: str, baseline: int, reporting: int) -> KpiResult:
        text = retrofit_text.replace("2025-07-01", f"{baseline}-07-01").replace("2025-09-29", f"{baseline}-09-29", 1)
        text = text.replace("blackout:  {from: 2025-09-29, to: 2025-10-06}\n", "")
        text = text.replace("{from: 2025-10-06, to: 2025-11-20}", f"{{from: {reporting}-10-06, to: {reporting}-11-20}}")
        plan: Plan = load_plan(text + CARBON.replace("FACTOR", factor), "plan")
        values = {name: column[:90] for name, column in factory_days(1).items()}
        days = [plan.baseline.start.toordinal() + i for i in range(90)]
        days += [plan.reporting.start.toordinal() + i for i in range(45)]
        times = [midnight_ms(type(plan.baseline.start).fromordinal(day), plan.zone) for day in days]
        both = {name: np.concatenate([column, column[:45]]) for name, column in values.items()}
        table = IntervalTable(np.array(times, dtype=np.int64), DAY_MS, both, plan.series, plan.zone)
        return next(kpi for kpi in evaluate(plan, table).kpis if kpi.id == "carbon")

    return make


def test_the_factor_in_force_is_the_newest_of_its_area() -> None:
    in_force = [
        factor_in_force(GRID_CARBON, "ningxia_2022", period(f"{year}-01-01", f"{year}-12-31"))
        for year in (2022, 2023, 2026)
    ]
    assert in_force == ["ningxia_2022", "ningxia_2023", "ningxia_2023"]
    assert factor_in_force(GRID_CARBON, "ningxia_2023", period("2020-01-01", "2020-12-31")) == "ningxia_2022"
    assert factor_in_force(GRID_CARBON, "national_2021", period("2022-11-01", "2023-04-01")) == "national_2023"
    assert factor_in_force(COAL_EQUIVALENT, "electricity", period("2022-01-01", "2022-12-31")) == "electricity"


def test_a_change_of_year_is_shown_by_both_and_mixed(carbon: Any) -> None:
    result = carbon("ningxia_2022", 2022, 2023)
    by = {one.basis: one for one in result.model.factor_years}
    assert by["baseline_year"].change == pytest.approx(result.change)
    assert by["reporting_year"].change == pytest.approx(result.change)
    assert by["reporting_year"].baseline == pytest.approx(result.baseline * 0.6187 / 0.6423)
    assert by["mixed"].factors == (("ningxia_2022",), ("ningxia_2023",))
    assert (1 + by["mixed"].change) / (1 + result.change) - 1 == pytest.approx(0.6187 / 0.6423 - 1)
    (reason,) = [one for one in result.reasons if one.code == "factor_year_changed"]
    assert "ningxia_2022 → ningxia_2023" in reason.en
    assert "并不是节能" in reason.zh


def test_the_verdict_is_that_of_one_year(carbon: Any) -> None:
    """Ningxia's factor fell by 3.7 %: nothing of it may reach the figure."""
    changed, steady = carbon("ningxia_2022", 2022, 2023), carbon("ningxia_2022", 2024, 2025)
    assert changed.change == pytest.approx(steady.change)
    assert changed.interval == pytest.approx(steady.interval)
    assert changed.verdict is steady.verdict


def test_where_the_year_did_not_change_nothing_is_said(carbon: Any) -> None:
    result = carbon("ningxia_2023", 2024, 2025)
    assert result.model.factor_years == ()
    assert "factor_year_changed" not in {reason.code for reason in result.reasons}


def test_a_factor_that_the_plan_states_itself_has_one_year(carbon: Any) -> None:
    stated = "{value: 0.6, unit: kWh, year: 2022, citation: statement of the supplier}"
    assert carbon(stated, 2022, 2023).model.factor_years == ()
