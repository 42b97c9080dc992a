"""The worked numbers of the page on KPIs are what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from evidence.carriers import Carrier, used_factor
from evidence.equipment import band_points
from evidence.event_rates import mean_time_change_interval
from evidence.factors import COAL_EQUIVALENT
from evidence.plan import load_plan
from evidence.table import DAY_MS, IntervalTable, midnight_ms

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "evidence" / "kpis-in-a-plan.md").read_text(encoding="utf-8")
LINES = re.findall(r"```\n(.*?)```", PAGE.split("\n## Worked numbers\n")[1], flags=re.DOTALL)[0].strip().splitlines()
SHIFT = {"shift": 480.0, "breaks": 60.0, "down": 47.0, "pieces": 19271.0, "rejects": 423.0}


def published_example() -> dict[str, str]:
    plan = load_plan((HERE / "plans" / "oee_vorne.yaml").read_text(encoding="utf-8"), "oee_vorne.yaml")
    times = np.array([midnight_ms(plan.baseline.start, plan.zone)], dtype=np.int64)
    table = IntervalTable(times, DAY_MS, {n: np.array([v]) for n, v in SHIFT.items()}, plan.series, plan.zone)
    names = {"a": "availability", "e": "effectiveness", "q": "quality ratio", "oee": "OEE"}
    values = {kpi.id: kpi.evaluate(plan, table).baseline for kpi in plan.kpis}
    return {f"OEE, published example (Vorne): {name}": f"{values[kpi]:.9f}" for kpi, name in names.items()}


def worked() -> dict[str, str]:
    gas = Carrier(series="gas", factor="natural_gas", net_calorific_value=35544)
    ends = mean_time_change_interval((1000, 10), (1000, 5), 0.9)
    assert ends is not None
    return published_example() | {
        "natural gas of 35544 kJ/m3 in kgce": f"{used_factor(gas, COAL_EQUIVALENT).value:.6f}",
        "band_points(0.20)": str(band_points(0.20)),
        "band_points(0.61)": str(band_points(0.61)),
        "mean_time_change_interval((1000, 10), (1000, 5), 0.9)": f"{ends[0]:.3f} to {ends[1]:.3f}",
    }


@pytest.mark.parametrize("line", LINES)
def test_a_worked_number_is_what_the_code_computes(line: str) -> None:
    expression, printed = line.rsplit(" = ", 1)
    assert worked()[expression] == printed
