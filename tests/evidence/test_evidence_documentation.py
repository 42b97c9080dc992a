"""The documentation's plan is read as printed, and its worked numbers are what the code computes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from evidence.plan import load_plan
from evidence.uncertainty import correlated_sum_factor, debiased_autocorrelation, effective_size
from evidence.verdict import decide

PAGE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)```", section, flags=re.DOTALL)


def test_the_printed_plan_is_read() -> None:
    plan = load_plan(blocks("The plan")[0], "docs/evidence.md")
    assert [kpi.id for kpi in plan.kpis] == ["intensity", "saving"]


WORKED = {
    "effective_size(90, 0.4)": f"{effective_size(90, 0.4):.6f}",
    "debiased_autocorrelation(0.4, 90)": f"{debiased_autocorrelation(0.4, 90):.6f}",
    "correlated_sum_factor(45 days, 0.4)": f"{correlated_sum_factor(np.arange(45), 0.4):.6f}",
    "decide((-0.12, -0.09), -0.08)": decide((-0.12, -0.09), -0.08).value,
    "decide((-0.12, -0.07), -0.08)": decide((-0.12, -0.07), -0.08).value,
    "decide((-0.07, -0.02), -0.08)": decide((-0.07, -0.02), -0.08).value,
    "decide((-0.02, 0.02), None)": decide((-0.02, 0.02), None).value,
}


@pytest.mark.parametrize("line", blocks("Worked numbers")[0].strip().splitlines())
def test_a_worked_number_is_what_the_code_computes(line: str) -> None:
    expression, printed = line.split(" = ")
    assert WORKED[expression] == printed
