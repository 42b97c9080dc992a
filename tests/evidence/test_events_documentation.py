"""The worked numbers of the page on events are what the code computes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from evidence.evaluate import evaluate
from evidence.events.detection import critical_value, variance_of_mean
from evidence.factors import GRID_CARBON
from evidence.plan import load_plan
from evidence.result import Evaluation, EventVariant
from evidence.table import DAY_MS, IntervalTable, midnight_ms, read_csv

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "events.md").read_text(encoding="utf-8")
LINES = re.findall(r"```\n(.*?)```", PAGE.split("\n## Worked numbers\n")[1], flags=re.DOTALL)[0].strip().splitlines()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
PLAN = """
plan: 1
project: EXAMPLE
enterprise: example
boundary: line 2
baseline:  {from: 2025-01-01, to: 2025-05-01}
reporting: {from: 2025-05-01, to: 2025-06-10}
series:
  energy: {quantity: active_energy_import, unit: kWh, from: [gw-01/meter-1/active_energy_import]}
  output: {quantity: good_count, unit: piece}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, model: linear, variables: [output], target: {saving: 0.08}}
"""

BUILDING = """
plan: 1
project: building
enterprise: a real building
boundary: main meter
timezone: America/New_York
baseline:  {from: 2012-03-01, to: 2013-02-28}
reporting: {from: 2014-02-28, to: 2015-02-28}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  outdoor_temperature: {quantity: temperature, unit: degF}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, model: time_of_week_and_temperature,
     variables: [outdoor_temperature]}
"""


def percent(fraction: float | None) -> str:
    assert fraction is not None
    return f"{100 * fraction:.2f} %"


def told(one: EventVariant) -> str:
    assert one.interval is not None
    return f"{percent(one.change)}, {percent(one.interval[0])} to {percent(one.interval[1])}, {one.verdict}"


@pytest.fixture(scope="module")
def factory() -> Evaluation:
    """The factory of the page: that of the page on uncertainty with an outage and a second press."""
    plan = load_plan(PLAN + EXAMPLES[0], "docs/evidence/events.md")
    day = np.arange(160)
    output = 2000.0 + 300.0 * np.sin(1.7 * day)
    energy = 400.0 + 0.4 * output + 25.0 * np.sin(0.9 * day + 0.01 * day**2)
    energy[120:] *= 0.9
    energy[30:40] -= 150.0
    energy[130:140] += 80.0
    first = plan.baseline.start.toordinal()
    times = [midnight_ms(type(plan.baseline.start).fromordinal(first + offset), plan.zone) for offset in range(160)]
    values = {"energy": energy, "output": output}
    table = IntervalTable(np.array(times, dtype=np.int64), DAY_MS, values, plan.series, plan.zone)
    return evaluate(plan, table)


@pytest.fixture(scope="module")
def worked(factory: Evaluation) -> dict[str, str]:
    events = factory.events
    outage, press = events.recorded
    baseline, reporting = events.searches
    (figure,) = events.figures
    variants = {f"{one.events} {one.event or ''}".strip(): one for one in figure.variants}
    (first,), (second,) = baseline.candidates, reporting.candidates
    lines = {
        "variance_of_mean(14 days, 0.4)": f"{float(variance_of_mean(14, 0.4)):.6f}",
        "critical_value(90 days, 0.4)": f"{critical_value(90, 0.4):.3f}",
        "candidate in the baseline": f"{first.first} to {first.end}, {first.level:.1f} kWh/d",
        "candidate in the reporting period": f"{second.first} to {second.end}, {second.level:.1f} kWh/d",
        "factor year": percent(GRID_CARBON["ningxia_2023"].low / GRID_CARBON["ningxia_2022"].low - 1.0),
    }
    for record in (outage, press):
        (estimate,) = record.estimated
        lines[f"{record.id}, by the residuals"] = f"{estimate.energy:.1f} ± {estimate.standard_uncertainty:.1f} kWh"
    lines |= {f"saving, {name}": told(one) for name, one in variants.items()}
    return lines


@pytest.mark.parametrize("line", LINES)
def test_worked_number(worked: dict[str, str], line: str) -> None:
    name, stated = line.split(" = ")
    assert worked[name] == stated


def test_every_worked_number_stands_on_the_page(worked: dict[str, str]) -> None:
    assert {line.split(" = ")[0] for line in LINES} == set(worked)


def test_the_runs_of_the_real_building(shared_data: Path) -> None:
    columns = []
    for name, unit in (("eload", "eload"), ("temp", "temp")):
        with (shared_data / "nmecr" / f"{name}.csv").open(encoding="utf-8") as file:
            columns.append({row["time"][:10]: row[unit] for row in csv.DictReader(file)})
    energy, temperature = columns
    rows = [f"{day},{energy[day]},{temperature[day]}" for day in sorted(energy)]
    plan = load_plan(BUILDING, "building")
    table = read_csv("\n".join(["time,energy,outdoor_temperature", *rows]), plan)
    found = [[run.days for run in search.candidates] for search in evaluate(plan, table).events.searches]
    assert found == [[75], [117]]
    assert "75 days" in PAGE
    assert "117 days" in PAGE


def test_every_record_on_the_page_is_one_that_a_plan_may_hold() -> None:
    assert len(EXAMPLES) == 2
    for example in EXAMPLES:
        load_plan(PLAN + example, "docs/evidence/events.md")
