"""What the KPIs say of themselves: complete, for every objective, and the page is made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from evidence.errors import PlanError
from evidence.evaluate import evaluate
from evidence.kpi import KpiPlan
from evidence.kpi_description import Better, IntervalMethod, Objective
from evidence.kpi_page import descriptions, markdown
from evidence.kpis import KPIS
from evidence.plan import Plan, load_plan
from evidence.result import KpiResult
from evidence.table import IntervalTable
from evidence.verdict import Verdict
from shopfloor.main import main

PAGE = Path(__file__).parents[2] / "docs" / "evidence" / "kpis.md"


@pytest.fixture(scope="module")
def results(every_kpi: Plan, workshop: IntervalTable) -> Mapping[str, KpiResult]:
    """The result of each kind."""
    return {kpi.kind: kpi.evaluate(every_kpi, workshop) for kpi in every_kpi.kpis}


@pytest.mark.parametrize("kind", KPIS, ids=lambda kind: kind.description.kind)
def test_a_description_is_that_of_its_kpi(kind: type[KpiPlan]) -> None:
    description = kind.description
    assert kind.model_fields["kind"].annotation.__args__ == (description.kind,)  # type: ignore[union-attr]
    stated = {field.field for field in description.inputs}
    assert stated <= set(kind.model_fields)
    needed = {name for name, field in kind.model_fields.items() if field.is_required()} - {"id", "kind"}
    assert needed <= {field.field for field in description.inputs if not field.optional}


def test_every_objective_of_a_retrofit_has_a_kpi() -> None:
    assert {objective for one in descriptions() for objective in one.objectives} == set(Objective)


def test_the_page_is_made_from_the_descriptions() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run: shopfloor evidence kpis --markdown > docs/evidence/kpis.md"
    )


def test_the_printed_plan_has_every_kind(every_kpi: Plan) -> None:
    assert sorted(kpi.kind for kpi in every_kpi.kpis) == [one.kind for one in descriptions()]


@pytest.mark.parametrize("kind", KPIS, ids=lambda kind: kind.description.kind)
def test_each_kind_is_judged_as_its_description_says(kind: type[KpiPlan], results: Mapping[str, KpiResult]) -> None:
    result, description = results[kind.description.kind], kind.description
    assert result.baseline is not None
    assert result.reporting is not None
    assert result.change == pytest.approx(result.reporting / result.baseline - 1)
    assert result.verdict is not Verdict.INSUFFICIENT_DATA
    assert (result.interval is None) == (description.interval is IntervalMethod.NONE)
    if result.interval is not None:
        assert result.interval[0] <= result.change <= result.interval[1]
    elif result.target is None and result.model.required is None:  # type: ignore[attr-defined]
        better = result.change > 0 if description.better is Better.HIGHER else result.change < 0
        assert (result.verdict is Verdict.MET) == better


def test_the_result_is_one_document(every_kpi: Plan, workshop: IntervalTable) -> None:
    document = evaluate(every_kpi, workshop).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_no_data_are_a_result_for_every_kind(every_kpi: Plan, workshop: IntervalTable) -> None:
    empty = IntervalTable(
        workshop.time_ms[:0],
        workshop.step_ms,
        {name: values[:0] for name, values in workshop.values.items()},
        workshop.series,
        workshop.zone,
        workshop.day_start,
    )
    for kpi in every_kpi.kpis:
        result = kpi.evaluate(every_kpi, empty)
        if kpi.kind == "data_continuity":
            assert (result.reporting, result.verdict) == (0.0, Verdict.NOT_MET)
        else:
            assert (result.verdict, result.reporting) == (Verdict.INSUFFICIENT_DATA, None), kpi.kind


@pytest.mark.parametrize(
    ("stated", "turned", "problem"),
    [
        ("target: {change: 0.01}}", "target: {change: -0.01}}", "higher is better; turn the sign"),
        ("target: {change: -0.03}", "target: {change: 0.03}", "lower is better; turn the sign"),
        ("required: 480}", "required: 480, target: {change: -0.1}}", "state either the change or the value"),
    ],
)
def test_a_target_of_the_wrong_direction_is_refused(
    every_kpi_text: str, stated: str, turned: str, problem: str
) -> None:
    assert stated in every_kpi_text
    with pytest.raises(PlanError, match=problem):
        load_plan(every_kpi_text.replace(stated, turned), "plan.yaml")


def test_the_command_lists_one_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "kpis", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in listed] == [one.kind for one in descriptions()]
    assert main(["evidence", "kpis", "oee", "--language", "zh"]) == 0
    assert "设备综合效率" in capsys.readouterr().out
    assert main(["evidence", "kpis", "oeee"]) == 2
    assert "did you mean 'oee'" in capsys.readouterr().err
