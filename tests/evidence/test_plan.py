"""Plans: the plan of the documentation works as written, and every mistake is named with its line."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest
import yaml

from evidence.errors import PlanError
from evidence.plan import Plan, load_plan
from wire.errors import DocumentError

PLANS = Path(__file__).parent / "plans"
EXPECTED: dict[str, str] = yaml.safe_load((PLANS / "expected_problems.yaml").read_text(encoding="utf-8"))


def test_the_documented_plan_is_read(retrofit: Plan) -> None:
    assert retrofit.project == "PL-2026-001"
    assert retrofit.baseline.start == date(2025, 7, 1)
    assert retrofit.reporting.to == date(2025, 11, 20)
    assert retrofit.series["energy"].sources == ("gw-01/meter-1/active_energy_import",)
    assert [kpi.kind for kpi in retrofit.kpis] == ["energy_intensity", "adjusted_saving"]
    assert [kpi.target_change for kpi in retrofit.kpis] == [-0.08, -0.08]
    assert [kpi.confidence for kpi in retrofit.kpis] == [0.90, 0.90]


def test_the_hash_of_a_plan_is_the_hash_of_its_file(retrofit: Plan) -> None:
    content = (PLANS / "retrofit.yaml").read_bytes()
    assert retrofit.hash == hashlib.sha256(content).hexdigest()


def test_parts_that_a_table_does_not_need_may_be_left_out(retrofit_text: str) -> None:
    lines = [line for line in retrofit_text.splitlines() if not line.startswith(("blackout", "timezone", "programme"))]
    text = (
        "\n".join(lines).replace(", from: [gw-01/meter-1/active_energy_import]", "").replace(", output: output,", ",")
    )
    plan = load_plan(text, "short.yaml")
    assert plan.blackout is None
    assert plan.timezone == "Asia/Shanghai"
    assert plan.series["energy"].sources == ()


@pytest.mark.parametrize("name", sorted(path.name for path in (PLANS / "invalid").glob("*.yaml")))
def test_a_wrong_plan_is_refused_with_file_line_and_field(name: str) -> None:
    with pytest.raises((PlanError, DocumentError)) as caught:
        load_plan((PLANS / "invalid" / name).read_text(encoding="utf-8"), name)
    assert f"{name}:{EXPECTED[name]}" in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_expected_problem_has_its_plan() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in (PLANS / "invalid").glob("*.yaml"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("energy_intensty", "15: kpis[0].kind: unknown 'energy_intensty'; did you mean 'energy_intensity'?"),
        ("overall", "15: kpis[0].kind: unknown 'overall'; known are: adjusted_saving, allocation_efficiency, "),
    ],
)
def test_a_mistyped_kind_is_the_only_complaint(retrofit_text: str, kind: str, said: str) -> None:
    lines = retrofit_text.replace("kind: energy_intensity", f"kind: {kind}").splitlines()
    with pytest.raises(DocumentError) as caught:
        load_plan("\n".join(lines[:15]), "plan.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"plan.yaml:{said}")


def test_all_problems_of_a_plan_are_named_at_once(retrofit_text: str) -> None:
    text = retrofit_text.replace("output: output", "output: outptu").replace("variables: [output", "variables: [ouput")
    with pytest.raises(PlanError) as caught:
        load_plan(text, "plan.yaml")
    assert len(caught.value.problems) == 2
