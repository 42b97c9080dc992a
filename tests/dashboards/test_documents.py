"""Projects whose values come from documents or from what meters had stored: graded, shown, and read again each time."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboards.dossier import load_dossier
from dashboards.errors import ImportAlteredError
from evidence.errors import TableError
from evidence.imports.mapping import load_mapping
from evidence.imports.reading import read_bytes
from evidence.imports.rows import checked, take_rows
from store.database import connect
from store.imports import ImportedDocument, ImportedValue, NewDocument, put_document, withdraw_document
from store.projects import put_project
from wire.record import Body

PROJECT = "PL-TEST-001"
PAGE = f"/projects/{PROJECT}"
FIRST, DAYS = date(2025, 7, 1), 77
MAPPING = """mapping: 1
name: report
time: {period: day, column: 日期}
series:
  output: {column: 产量, quantity: good_count, unit: piece}
  energy: {column: 用电量, quantity: active_energy_import, unit: kWh}
"""
OUTPUT = "output: {quantity: good_count, unit: piece, from: [gw-01/plc-1/good_count]}"
ENERGY = "energy: {quantity: active_energy_import, unit: kWh, from: [gw-01/meter-1/active_energy_import]}"
ContinueChain = Callable[..., None]
StoredDays = Callable[[int], list[Body]]


def report(first: date = FIRST, days: int = DAYS) -> bytes:
    """A production report: 4000 pieces a working day and 2400 + 0.6 kWh a piece, less 15 % from the retrofit on."""
    lines = ["日期,产量(件),用电量(kWh)"]
    for number in range(days):
        day = first + timedelta(days=number)
        pieces = 4000 + 13 * (number * 7 % 11) - (2000 if day.weekday() == 6 else 0)
        energy = (2400 + 0.6 * pieces + 3 * (number * 5 % 13)) * (0.85 if day >= date(2025, 8, 17) else 1.0)
        lines.append(f"{day},{pieces},{energy:.2f}")
    return "\n".join(lines).encode()


def import_report(connection: Any, content: bytes, mapping: str = MAPPING) -> ImportedDocument:
    rows = checked(take_rows(read_bytes(content, "日报.csv"), load_mapping(mapping, "mapping")))
    values = [ImportedValue(one.series, one.start_ms, one.end_ms, one.value, one.row) for one in rows.values]
    new = NewDocument(PROJECT, rows.mapping.name, "日报.csv", content, mapping, ["row 99: has no value"])
    return put_document(connection, new, values, "<张三>", 1_751_000_000_000)[0]


def amend(connection: Any, plan: str) -> None:
    put_project(connection, PROJECT, plan, hashlib.sha256(plan.encode()).digest(), 1_751_100_000_000)


def evidence(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"{PAGE}/evidence.json")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def grades(content: dict[str, Any]) -> dict[str, str]:
    return {kpi["id"]: kpi["grade"] for kpi in content["evaluation"]["kpis"]}


def test_a_project_of_gateways_alone_is_signed_throughout(untouched_client: TestClient) -> None:
    content = evidence(untouched_client)
    assert set(grades(content).values()) == {"gateway_signed"}
    assert not content["proof"]["unsigned"]
    html = untouched_client.get(f"{PAGE}?lang=zh").text
    assert "证据等级：网关签名" in html
    assert "导入的文件" not in html.split("documents")[-1].split("</section>")[0]


def test_signed_energy_beside_imported_output_is_worth_the_document(
    factory: Any, client: TestClient, plan_text: str
) -> None:
    with connect(factory.database_url) as connection:
        stored = import_report(connection, report())
        amend(
            connection,
            plan_text.replace(OUTPUT, OUTPUT.replace("from: [gw-01/plc-1/good_count]", "documents: [report/output]")),
        )
    content = evidence(client)
    assert grades(content) == {"intensity": "imported_document", "saving": "imported_document"}
    inputs = {one["series"]: one["grade"] for one in content["evaluation"]["kpis"][1]["inputs"]}
    assert inputs == {
        "energy": "gateway_signed",
        "output": "imported_document",
        "outdoor_temperature": "gateway_signed",
    }
    assert content["evaluation"]["step_ms"] == 86_400_000
    assert content["proof"]["proven"]
    # The screens go on looking at what the gateway measured by the quarter of an hour.
    assert {one["state"] for one in content["evaluation"]["screens"] if one["name"] == "frozen_readings"} == {
        "not_checked"
    }
    assert any(one["state"] == "clear" for one in content["evaluation"]["screens"])

    html = client.get(f"{PAGE}?lang=en").text
    assert "Evidence: imported document, not signed" in html
    assert stored.sha256.hex() in html
    assert "&lt;张三&gt;" in html
    assert f"{PAGE}/documents/{stored.id}/original" in html
    assert "导入文件（未签名）" in client.get(f"{PAGE}?lang=zh").text
    series = json.loads(client.get(f"{PAGE}/series/output.json").text)
    assert (series["rows"][0]["value"], series["rows"][0]["coverage"]) == (4000, 1.0)


def test_the_document_page_gives_back_the_bytes_and_every_row(factory: Any, client: TestClient) -> None:
    content = report(days=3)
    with connect(factory.database_url) as connection:
        stored = import_report(connection, content)
    answer = client.get(f"{PAGE}/documents/{stored.id}/original")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    html = client.get(f"{PAGE}/documents/{stored.id}?lang=en").text
    assert "built-in" not in html + client.get(f"{PAGE}?lang=en").text
    for text in (
        "<small>6</small>",
        "4,800 kWh",
        stored.sha256.hex(),
        "row 99: has no value",
        "&lt;张三&gt;",
        "name: report",
        "2025-07-03 00:00",
    ):
        assert text in html
    rows = list(
        csv.DictReader(io.StringIO(client.get(f"{PAGE}/documents/{stored.id}.csv").text.removeprefix("\ufeff")))
    )
    assert rows[0] == {
        "series": "energy", "start": "2025-07-01T00:00:00+08:00", "end": "2025-07-02T00:00:00+08:00",
        "value": "4800.0", "unit": "kWh", "row": "2",
    }  # fmt: skip
    assert len(rows) == 6
    assert client.get(f"{PAGE}/documents/{stored.id + 1}").status_code == 404
    assert client.get(f"/projects/OTHER/documents/{stored.id}/original").status_code == 404


def test_a_project_of_documents_alone_has_a_verdict_and_says_that_nothing_is_signed(
    factory: Any, client: TestClient, plan_text: str
) -> None:
    plan = plan_text.replace(OUTPUT, OUTPUT.replace("from: [gw-01/plc-1/good_count]", "documents: [report/output]"))
    plan = plan.replace(
        ENERGY, ENERGY.replace("from: [gw-01/meter-1/active_energy_import]", "documents: [report/energy]")
    )
    plan = "\n".join(line for line in plan.splitlines() if "outdoor_temperature: {" not in line)
    plan = plan.replace("variables: [output, outdoor_temperature]", "variables: [output]")
    with connect(factory.database_url) as connection:
        import_report(connection, report())
        amend(connection, plan)
    content = evidence(client)
    saving = content["evaluation"]["kpis"][1]
    assert saving["verdict"] == "met"
    assert saving["change"] == pytest.approx(-0.15, abs=0.01)
    assert content["proof"]["unsigned"]
    html = client.get(f"{PAGE}?lang=en").text
    assert "Nothing of this project was signed by a gateway" in html
    assert "not proven" not in html.lower().split('id="proof"')[0]


def test_before_the_gateway_came_the_meters_own_history_counts(
    factory: Any, client: TestClient, plan_text: str, continue_chain: ContinueChain, stored_days: StoredDays
) -> None:
    continue_chain(factory, stored_days(62))
    plan = plan_text.replace("{from: 2025-07-01, to: 2025-08-10}", "{from: 2025-05-01, to: 2025-07-01}")
    plan = plan.replace("{from: 2025-08-10, to: 2025-08-17}", "{from: 2025-07-01, to: 2025-08-17}")
    plan = plan.replace(ENERGY, ENERGY[:-1] + ", earlier: {until: 2025-07-01, stored: [gw-01/meter-9/daily_energy]}}")
    plan = plan.replace(OUTPUT, OUTPUT.replace("from: [gw-01/plc-1/good_count]", "documents: [report/output]"))
    plan = "\n".join(line for line in plan.splitlines() if "outdoor_temperature" not in line)
    with connect(factory.database_url) as connection:
        import_report(connection, report(date(2025, 5, 1), 138))
        amend(connection, plan)
    content = evidence(client)
    (intensity,) = content["evaluation"]["kpis"]
    assert [(one["series"], one["first"], one["end"], one["grade"]) for one in intensity["inputs"]] == [
        ("energy", "2025-05-01", "2025-07-01", "meter_history"),
        ("energy", "2025-07-01", "2025-09-16", "gateway_signed"),
        ("output", "2025-05-01", "2025-09-16", "imported_document"),
    ]
    assert intensity["model"]["days"]["baseline"]["used"] == 61
    rows = json.loads(client.get(f"{PAGE}/series/energy.json").text)["rows"]
    assert [row["value"] for row in rows[:61]] == pytest.approx([10.0] * 61)
    html = client.get(f"{PAGE}?lang=zh").text
    assert "电表自存数据（网关签名）" in html
    assert "gw-01/meter-9/daily_energy" in html


def test_a_history_that_no_record_holds_is_said(factory: Any, plan_text: str) -> None:
    plan = plan_text.replace(
        ENERGY, ENERGY[:-1] + ", earlier: {until: 2025-07-20, stored: [gw-01/meter-9/daily_energy]}}"
    )
    with connect(factory.database_url) as connection:
        amend(connection, plan)
        with pytest.raises(TableError, match="no record of gw-01 holds such a history of meter-9"):
            load_dossier(connection, PROJECT)


@pytest.fixture
def imported_plan(plan_text: str) -> str:
    return plan_text.replace(OUTPUT, OUTPUT.replace("from: [gw-01/plc-1/good_count]", "documents: [report/output]"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE imported_document SET content = content || 'x'::bytea", "does not have the hash"),
        ("UPDATE imported_value SET value = value * 1.01 WHERE row = 7", "are not those of its bytes"),
        ("DELETE FROM imported_value WHERE row = 7", "are not those of its bytes"),
        ("UPDATE imported_document SET mapping = replace(mapping, 'piece', 'box')", "does not have the hash"),
    ],
)
def test_an_altered_document_is_found_at_the_next_look(
    change: str, what: str, factory: Any, client: TestClient, imported_plan: str
) -> None:
    with connect(factory.database_url) as connection:
        import_report(connection, report())
        amend(connection, imported_plan)
    assert client.get(PAGE).status_code == 200
    with connect(factory.database_url) as connection:
        connection.execute(change)
        with pytest.raises(ImportAlteredError, match=what):
            load_dossier(connection, PROJECT)
    assert client.get(PAGE).status_code == 422


def test_a_withdrawn_document_counts_no_more_and_stays_on_the_page(
    factory: Any, client: TestClient, imported_plan: str, plan_text: str
) -> None:
    with connect(factory.database_url) as connection:
        stored = import_report(connection, report())
        amend(connection, imported_plan)
    assert client.get(PAGE).status_code == 200
    with connect(factory.database_url) as connection:
        withdraw_document(connection, stored.id, "李四", "wrong line", 1_752_000_000_000)
        with pytest.raises(TableError, match="series 'output' needs the document series 'report/output'"):
            load_dossier(connection, PROJECT)
        amend(connection, plan_text)
    html = client.get(f"{PAGE}?lang=en").text
    assert "by 李四: wrong line" in html
