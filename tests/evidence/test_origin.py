"""Every figure says who vouches for its values, and a figure is worth its weakest input."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from evidence.errors import PlanError, TableError
from evidence.evaluate import evaluate
from evidence.grade import EvidenceGrade, weakest
from evidence.imports.mapping import load_mapping
from evidence.imports.reading import read_bytes
from evidence.imports.rows import ImportedRows, take_rows
from evidence.imports.series import table_of_documents
from evidence.origin import origin_of_plan, origin_of_table
from evidence.plan import Plan, load_plan
from evidence.table import DAY_MS, IntervalTable, midnight_ms
from evidence.verdict import Verdict
from wire.errors import DocumentError

TEXT = """plan: 1
project: p
enterprise: e
boundary: b
baseline: {from: 2025-01-01, to: 2025-03-01}
reporting: {from: 2025-03-01, to: 2025-05-01}
series:
  energy:
    quantity: active_energy_import
    unit: kWh
    from: [gw-01/meter-1/active_energy_import]
    earlier: {until: 2025-03-01, stored: [gw-01/meter-1/daily_active_energy_import]}
  output: {quantity: good_count, unit: piece, from: [gw-01/plc-1/good_count]}
  sales: {quantity: produced_mass, unit: t, documents: [report/sales]}
kpis:
  - {id: intensity, kind: energy_intensity, energy: energy, output: output}
  - {id: weight, kind: energy_intensity, energy: energy, output: sales}
"""
GATEWAY, HISTORY, DOCUMENT = EvidenceGrade


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(TEXT, "plan.yaml")


def days_of(plan: Plan, values: dict[str, float]) -> IntervalTable:
    count = (plan.reporting.to - plan.baseline.start).days
    times = midnight_ms(plan.baseline.start, plan.zone) + DAY_MS * np.arange(count, dtype=np.int64)
    wobble = 1 + 0.05 * np.sin(np.arange(count))
    return IntervalTable(times, DAY_MS, {k: v * wobble for k, v in values.items()}, plan.series, plan.zone)


def test_a_figure_has_the_grade_of_its_weakest_input(plan: Plan) -> None:
    table = days_of(plan, {"energy": 1000.0, "output": 500.0, "sales": 5.0})
    intensity, weight = evaluate(plan, table, origin=origin_of_plan(plan)).kpis
    assert (intensity.grade, weight.grade) == (HISTORY, DOCUMENT)
    assert [(one.series, one.first, one.end, one.grade, one.sources) for one in weight.inputs] == [
        ("energy", date(2025, 1, 1), date(2025, 3, 1), HISTORY, ("gw-01/meter-1/daily_active_energy_import",)),
        ("energy", date(2025, 3, 1), date(2025, 5, 1), GATEWAY, ("gw-01/meter-1/active_energy_import",)),
        ("sales", date(2025, 1, 1), date(2025, 5, 1), DOCUMENT, ("report/sales",)),
    ]
    document = evaluate(plan, table, origin=origin_of_plan(plan)).to_json()
    assert document["kpis"][0]["grade"] == "meter_history"


def test_a_table_that_nobody_signed_is_an_imported_document(plan: Plan) -> None:
    table = days_of(plan, {"energy": 1000.0, "output": 500.0, "sales": 5.0})
    assert {kpi.grade for kpi in evaluate(plan, table).kpis} == {DOCUMENT}
    assert evaluate(plan, table) == evaluate(plan, table, origin=origin_of_table(plan))


def test_the_weakest_of_grades() -> None:
    assert weakest([GATEWAY, GATEWAY]) is GATEWAY
    assert weakest([GATEWAY, HISTORY]) is HISTORY
    assert weakest([HISTORY, DOCUMENT, GATEWAY]) is DOCUMENT
    assert weakest([]) is DOCUMENT


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("documents: [report/sales]", "documents: [report]", "should match pattern"),
        ("documents: [report/sales]", "documents: [report/sales, report/sales]", "would be counted twice"),
        ("documents: [report/sales]", "documents: [a/b], from: [g/d/s]", "is said by 'earlier'"),
        ("until: 2025-03-01,", "until: 2025-06-01,", "is not within the plan"),
        ("until: 2025-03-01,", "until: 2025-03-01, documents: [a/b],", "give either 'documents' or 'stored'"),
        ("    from: [gw-01/meter-1/active_energy_import]\n", "", "what the series is made of since"),
        ("quantity: good_count, unit: piece, from: [gw-01/plc-1/good_count]", "quantity: temperature, unit: degC, "
         "stored: [g/d/s]", "meters freeze registers that count on"),
    ],
)  # fmt: skip
def test_sources_that_make_no_sense_are_refused_with_their_line(old: str, new: str, what: str) -> None:
    with pytest.raises((PlanError, DocumentError)) as caught:
        load_plan(TEXT.replace(old, new), "plan.yaml")
    assert what in str(caught.value)
    assert "plan.yaml:" in str(caught.value)


BILLS = "账期,电量(kWh)\n" + "".join(f"2025年{month}月,{31_000 - 2000 * (month > 2)}\n" for month in range(1, 5))
MONTHLY = "mapping: 1\nname: bills\ntime: {period: month, column: 账期}\n" + (
    "series:\n  energy: {column: 电量, quantity: active_energy_import, unit: kWh}\n"
)
PIECES = "mapping: 1\nname: report\ntime: {period: day, column: 日期}\n" + (
    "series:\n  output: {column: 产量, quantity: good_count, unit: piece}\n"
)


def rows(content: str, mapping: str, name: str = "document.csv") -> ImportedRows:
    return take_rows(read_bytes(content.encode(), name), load_mapping(mapping, "mapping"))


@pytest.fixture(scope="module")
def by_documents() -> Plan:
    text = """plan: 1
project: p
enterprise: e
boundary: b
baseline: {from: 2025-01-01, to: 2025-03-01}
reporting: {from: 2025-03-01, to: 2025-05-01}
series:
  energy: {quantity: active_energy_import, unit: kWh}
  output: {quantity: good_count, unit: piece, documents: [report/output]}
kpis:
  - {id: intensity, kind: energy_intensity, energy: energy, output: output}
  - id: coal
    kind: comprehensive_energy
    output: output
    carriers: [{series: energy, factor: electricity}]
"""
    return load_plan(text, Path("plan.yaml"))


def daily_pieces(plan: Plan) -> str:
    first = plan.baseline.start.toordinal()
    count = plan.reporting.to.toordinal() - first
    return "日期,产量(件)\n" + "".join(f"{date.fromordinal(first + n)},{500 + n % 7}\n" for n in range(count))


def test_days_of_a_bill_give_sums_but_no_verdict_that_rests_on_days(by_documents: Plan) -> None:
    table, origin = table_of_documents(by_documents, [rows(BILLS, MONTHLY), rows(daily_pieces(by_documents), PIECES)])
    evaluation = evaluate(by_documents, table, origin=origin)
    intensity = evaluation.kpis[0]
    assert origin.spread == frozenset({"energy"})
    assert evaluation.totals["energy"].months == pytest.approx(
        {f"2025-{m:02d}": 31_000 - 2000 * (m > 2) for m in range(1, 5)}
    )
    assert evaluation.totals["energy"].peak_kw is None, "equal parts of a month have no peak of their own"
    assert intensity.change is not None
    assert (intensity.verdict, intensity.interval) == (Verdict.INSUFFICIENT_DATA, None)
    assert [reason.code for reason in intensity.reasons if reason.level == "blocking"] == ["spread_over_days"]
    assert {one.grade for one in intensity.inputs} == {DOCUMENT}
    assert not [reason for reason in intensity.reasons if reason.level == "finding"]


def test_a_saving_learnt_from_months_of_bills_has_a_verdict_and_one_learnt_from_days_has_none() -> None:
    kpi = "{{id: {0}, kind: adjusted_saving, energy: energy, variables: [output], granularity: {0}}}"
    plan = load_plan(
        "plan: 1\nproject: p\nenterprise: e\nboundary: b\n"
        "baseline: {from: 2023-01-01, to: 2024-01-01}\nreporting: {from: 2024-01-01, to: 2025-01-01}\n"
        "series:\n  energy: {quantity: active_energy_import, unit: kWh}\n"
        "  output: {quantity: good_count, unit: piece}\n"
        f"kpis: [{kpi.format('bill_month')}, {kpi.format('day')}]\n",
        "plan.yaml",
    )
    lines = ["账期,电量(kWh),产量(件)"]
    for number in range(24):
        pieces = 1000 + 37 * (number * 5 % 12)
        energy = (20_000 + 30 * pieces + 200 * (number * 7 % 5)) * (0.88 if number >= 12 else 1.0)
        lines.append(f"{2023 + number // 12}年{number % 12 + 1}月,{energy:.1f},{pieces}")
    mapping = MONTHLY + "  output: {column: 产量, quantity: good_count, unit: piece}\n"
    table, origin = table_of_documents(plan, [rows("\n".join(lines), mapping)])
    by_months, by_days = evaluate(plan, table, origin=origin).kpis
    assert by_months.verdict is Verdict.MET
    assert by_months.change == pytest.approx(-0.12, abs=0.01)
    assert by_days.change is not None
    assert (by_days.verdict, by_days.interval) == (Verdict.INSUFFICIENT_DATA, None)
    model = by_days.model.model_dump()
    assert (model["half_width"], model["specification_curve"], model["alternative_intervals"]) == (None, None, ())
    assert by_days.reasons[0].code == "spread_over_days"


def test_documents_that_do_not_have_what_the_plan_needs_are_named(by_documents: Plan) -> None:
    pieces = rows(daily_pieces(by_documents), PIECES)
    with pytest.raises(TableError, match="series 'energy' is in none of the documents"):
        table_of_documents(by_documents, [pieces])
    other = MONTHLY.replace("kWh}", "MWh}")
    with pytest.raises(TableError, match="series 'energy' is active_energy_import in kWh, but 'bills/energy'"):
        table_of_documents(by_documents, [rows(BILLS, other), pieces])
    with pytest.raises(TableError, match="two documents have values of the same time"):
        table_of_documents(by_documents, [rows(BILLS, MONTHLY), rows(BILLS, MONTHLY, "again.csv"), pieces])
    with pytest.raises(TableError, match="is in several documents: bills/energy, more/energy"):
        table_of_documents(by_documents, [rows(BILLS, MONTHLY), rows(BILLS, MONTHLY.replace("bills", "more")), pieces])
