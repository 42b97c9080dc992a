"""The project page has a line for each criterion of sufficiency, in both languages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dashboards.language import catalogue
from dashboards.project_page import model_view
from evidence.comparison import avoided_energy
from evidence.hours import HOUR_MS
from evidence.models import MODELS
from evidence.plan import load_plan
from evidence.saving_rows import Drivers, rows_of_bills, rows_of_days, rows_of_hours
from evidence.saving_sufficiency import criteria
from evidence.table import IntervalTable, midnight_ms

DAYS = {"baseline": {"used": 90, "excluded": []}, "reporting": {"used": 45, "excluded": []}}


def criterion(name: str, of: str, **other: Any) -> dict[str, Any]:
    line = {
        "name": name,
        "of": of,
        "value": 328.0,
        "asked": "at_least",
        "threshold": 365.0,
        "unit": "d",
        "passed": False,
    }
    return {**line, "effect": "warning", "source": "CalTRACK 2.0", **other}


def lines(language: str, *criteria: dict[str, Any]) -> dict[str, str]:
    kpi = {
        "id": "saving",
        "kind": "adjusted_saving",
        "model": {"kind": "linear", "days": DAYS, "sufficiency": criteria},
    }
    return dict(model_view(kpi, catalogue(language), "Asia/Shanghai")["sufficiency"])


def test_a_line_has_value_threshold_source_and_outcome() -> None:
    shown = lines("en", criterion("calendar_days", "baseline"))
    (said,) = shown.items()
    assert said[0] == "Days in the calendar: baseline"
    assert "328" in said[1]
    assert "at least 365" in said[1]
    assert said[1].endswith("(CalTRACK 2.0): not met, a warning")
    assert "不小于" in "".join(lines("zh", criterion("calendar_days", "baseline")).values())


def test_months_variables_and_what_was_not_judged() -> None:
    shown = lines(
        "en",
        criterion("share_of_hours_of_a_month", "reporting 2025-04", value=0.95, unit="1", threshold=0.9, passed=True),
        criterion("p_of_variable", "output", value=None, unit="1", asked="at_most", threshold=0.2, passed=None),
    )
    assert shown["Share of the hours of a month: reporting period 2025-04"].startswith("0.9500, at least 0.9000 ")
    assert shown["p of the variable: output"].endswith("not judged")


PLAN = """\
plan: 1
project: p
enterprise: e
boundary: b
baseline: {from: 2025-01-01, to: 2025-04-01}
reporting: {from: 2025-04-01, to: 2025-06-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: output, unit: piece}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, variables: [output]}
"""


def every_criterion() -> list[dict[str, Any]]:
    """The lines of a saving from days, from hours, and from bills."""
    plan = load_plan(PLAN, "plan.yaml")
    random = np.random.default_rng(1)
    output = random.uniform(50, 100, 24 * 151)
    values = {"output": output, "energy": 40 + 0.6 * output + random.normal(0, 2, len(output))}
    times = midnight_ms(plan.baseline.start, plan.zone) + HOUR_MS * np.arange(len(output), dtype=np.int64)
    table = IntervalTable(times, HOUR_MS, values, plan.series, plan.zone)
    drivers = Drivers("energy", ("output",), {})
    found = []
    for rows in (
        rows_of_days(plan, table, drivers),
        rows_of_hours(plan, table, drivers),
        rows_of_bills(plan, table, drivers, "day"),
    ):
        compared = avoided_energy(MODELS["linear"], rows.data, 0.9)
        assert compared is not None
        found += [one.model_dump(mode="json") for one in criteria(rows, 7, compared.learnt, compared.uncertainty)]
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_criterion_of_a_saving_has_a_name(language: str) -> None:
    found = every_criterion()
    known = catalogue(language)
    for one in found:
        assert f"names.{one['name']}" not in known(f"sufficiency.names.{one['name']}")
    assert {"share_of_hours_of_a_month", "used_bills", "missing_days"} <= {one["name"] for one in found}
    labels = lines(language, *found)
    assert len(labels) == len({(one["name"], one["of"]) for one in found})
