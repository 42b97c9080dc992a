"""The page on screens: its plan is read as printed, every screen is described, worked numbers are computed."""

from __future__ import annotations

import re
from math import log2
from pathlib import Path

import numpy as np
import pytest

from evidence.lattice import Lattice, learn_lattice, learn_resolution
from evidence.plan import load_plan
from evidence.screens import SCREENS
from evidence.screens.replay_exact import SPARE_BITS

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "screens.md").read_text(encoding="utf-8")


def block(heading: str) -> str:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)```", section, flags=re.DOTALL)[0]


def test_every_screen_is_described_with_its_strength() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (strong|weak) \|", PAGE, flags=re.MULTILINE)
    assert sorted(rows) == sorted((screen.name, screen.strength.value) for screen in SCREENS)


def test_the_printed_plan_is_read() -> None:
    head = "plan: 1\nproject: p\nenterprise: e\nboundary: b\nbaseline: {from: 2025-07-01, to: 2025-09-29}\n"
    rest = "reporting: {from: 2025-10-06, to: 2025-11-20}\nkpis: [{id: i, kind: energy_intensity, energy: gate}]\n"
    plan = load_plan(head + rest + block("What a plan can say"), "docs/evidence/screens.md")
    assert plan.series["gate"].parts == ("line", "compressor")
    assert plan.series["line"].meter_constant == 0.036


def worked() -> dict[str, str]:
    values = np.round(0.036 * np.arange(1, 400), 2)
    learned = learn_lattice(values, learn_resolution(values) or 0.0)
    assert learned is not None
    return {
        "chance of 0.036 kWh on 0.01 kWh": f"{Lattice(0.01, 0.036).chance:.6f}",
        "chance of 0.3 kWh on 0.01 kWh": f"{Lattice(0.01, 0.3).chance:.6f}",
        "learned constant of 7, 11, 14, 18 ... x 0.01 kWh": f"{learned.constant:g}",
        "bits that a window of a year of quarters needs": f"{2 * log2(35_040) + SPARE_BITS:.2f}",
        "share of factories below which 0 of 60 lies, 95 %": f"{1 - 0.05 ** (1 / 60):.6f}",
    }


@pytest.mark.parametrize("line", block("Worked numbers").strip().splitlines())
def test_a_worked_number_is_what_the_code_computes(line: str) -> None:
    expression, printed = line.rsplit(" = ", 1)
    assert worked()[expression] == printed
