"""``shopfloor evidence events``: candidates, records, and figures with and without them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from shopfloor.main import main

PLAN = """
plan: 1
project: EXAMPLE
enterprise: 示例新材料有限公司
boundary: 2# 生产线
baseline:  {from: 2025-01-01, to: 2025-05-01}
reporting: {from: 2025-05-01, to: 2025-06-10}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: good_count, unit: piece}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, variables: [output], target: {saving: 0.08}}
"""
EVENT = """
non_routine_events:
  - {id: outage, what: 停炉检修, from: 2025-01-31, to: 2025-02-10, series: energy, factor: 在用炉数, treatment: model,
     recorded_by: 王工, recorded: 2025-02-10}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, list[str]]:
    """A factory whose furnace stood still for ten days of the baseline, and the arguments that name its table."""
    day = np.arange(160)
    output = np.round(2000.0 + 300.0 * np.sin(1.7 * day))
    energy = 400.0 + 0.4 * output + 25.0 * np.sin(0.9 * day + 0.01 * day**2)
    energy[120:] *= 0.9
    energy[30:40] -= 150.0
    rows = [
        f"{date(2025, 1, 1) + timedelta(days=position)},{energy[position]:.2f},{output[position]:.0f}"
        for position in day.tolist()
    ]
    table, plan = tmp_path / "table.csv", tmp_path / "plan.yaml"
    table.write_text("\n".join(["time,energy,output", *rows]) + "\n", encoding="utf-8")
    plan.write_text(PLAN, encoding="utf-8")
    return plan, [str(plan), "--data", str(table)]


def test_days_that_stand_apart_are_asked_about(
    files: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "events", *files[1]]) == 0
    shown = capsys.readouterr().out
    assert "2025-01-31 to 2025-02-09" in shown
    assert "no event recorded" in shown
    assert "Needs checking on site" in shown


def test_a_recorded_event_stands_with_its_energy_and_both_figures(
    files: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    plan, arguments = files
    plan.write_text(PLAN + EVENT, encoding="utf-8")
    assert main(["evidence", "events", *arguments, "--language", "zh"]) == 0
    shown = capsys.readouterr().out
    assert "已登记：outage" in shown
    assert "停炉检修" in shown
    assert "2025-02-10 由 王工 登记" in shown
    assert "按实测，均不扣除" in shown
    assert main(["evidence", "events", *arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (quantity,) = document["recorded"][0]["taken_out"]
    assert quantity["energy"] == pytest.approx(-1500, abs=150)
    assert [one["events"] for one in document["figures"][0]["variants"]] == ["all", "none"]


def test_the_whole_result_has_them_too(files: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    plan, arguments = files
    plan.write_text(PLAN + EVENT, encoding="utf-8")
    assert main(["evidence", "evaluate", *arguments, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["events"]["figures"][0]["variants"][0]["change"] == document["kpis"][0]["change"]
    assert main(["evidence", "evaluate", *arguments]) == 0
    assert "all events taken out" in capsys.readouterr().out


def test_a_mistyped_key_is_named_with_its_line(
    files: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    plan, arguments = files
    plan.write_text(PLAN + EVENT.replace("treatment", "treatmnt"), encoding="utf-8")
    assert main(["evidence", "events", *arguments]) == 2
    assert (
        "plan.yaml:15: non_routine_events[0].treatmnt: unknown key; did you mean 'treatment'?"
        in capsys.readouterr().err
    )
