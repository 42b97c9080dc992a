"""The project page shows what happened beside the retrofit: events, figures with and without, meters, time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboards.language import LANGUAGES
from store.database import connect
from store.projects import put_project
from wire.event import Event

PROJECT = "PL-TEST-001"
AMENDED_MS = int(datetime(2025, 8, 25, tzinfo=UTC).timestamp()) * 1000
EVENTS = """
non_routine_events:
  - id: second-press
    what: 第二台压机试运行
    from: 2025-08-20
    to: '2025-08-24 12:00'
    series: energy
    factor: 在用压机台数
    treatment: adjust
    energy: 4000
    standard_uncertainty: 500
    basis: 铭牌功率乘以运行时间
    recorded_by: 王工
    recorded: 2025-08-25
    evidence: [{file: 运行记录.pdf, sha256: %s}]
  - id: outage
    what: 停炉检修
    from: 2025-07-05
    to: 2025-07-07
    series: energy
    factor: 在用炉数
    treatment: exclude
    recorded_by: 王工
    recorded: 2025-08-25
""" % ("ab" * 32)


@pytest.fixture
def amend(factory: Any, plan_text: str) -> Callable[..., None]:
    """Register the plan with something more as its next revision."""

    def register(more: str, at_ms: int = AMENDED_MS) -> None:
        text = plan_text + more
        with connect(factory.database_url) as connection:
            put_project(connection, PROJECT, text, hashlib.sha256(text.encode()).digest(), at_ms)

    return register


def page(client: TestClient, language: str = "en") -> str:
    answer = client.get(f"/projects/{PROJECT}?lang={language}")
    assert answer.status_code == 200
    return answer.text


def part(html: str) -> str:
    return html.split('aria-labelledby="events"')[1].split("</section>", maxsplit=1)[0]


def dossier(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/projects/{PROJECT}/evidence.json").json()
    return found


def test_figures_stand_side_by_side_with_their_verdicts(client: TestClient, amend: Callable[[str], None]) -> None:
    amend(EVENTS)
    shown = part(page(client))
    for row in ("All taken out (the figure of the plan)", "As measured, none taken out", "All but outage taken out"):
        assert shown.count(row) == 2, "once for each KPI of energy"
    assert 'class="badge met"' in shown
    assert re.search(r"[Rr]eporting[^<]*: \+4,000 ± 500", shown)
    figures = {one["kpi"]: one for one in dossier(client)["evaluation"]["events"]["figures"]}
    taken, *_, measured = figures["saving"]["variants"]
    assert taken["reporting"] == pytest.approx(measured["reporting"] - 4000)


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_recorded_what_and_when_it_was_registered(
    client: TestClient, amend: Callable[[str], None], language: str
) -> None:
    amend(EVENTS)
    shown = part(page(client, language))
    for told in ("第二台压机试运行", "在用压机台数", "王工", "运行记录.pdf", "abababababababab", "2025-08-25 08:00"):
        assert told in shown
    assert ("during the reporting period" if language == "en" else "报告期内登记") in shown


def test_the_date_of_the_server_counts_not_that_of_the_record(client: TestClient, amend: Callable[..., None]) -> None:
    amend(EVENTS, at_ms=int(datetime(2025, 10, 1, tzinfo=UTC).timestamp()) * 1000)
    shown = part(page(client))
    assert shown.count('<span class="bad">after the reporting period</span>') == 2
    assert "2025-10-01 08:00" in shown


def test_a_recorded_event_does_not_make_the_plan_late(client: TestClient, amend: Callable[[str], None]) -> None:
    amend(EVENTS)
    plan = dossier(client)["plan"]
    assert plan["registered_before_reporting"] is True
    assert plan["records"] == {"event second-press": 2, "event outage": 2}
    assert len(plan["revisions"]) == 2


def test_another_target_beside_a_record_does(client: TestClient, factory: Any, plan_text: str) -> None:
    text = plan_text.replace("{saving: 0.08}", "{saving: 0.05}") + EVENTS
    with connect(factory.database_url) as connection:
        put_project(connection, PROJECT, text, hashlib.sha256(text.encode()).digest(), AMENDED_MS)
    assert dossier(client)["plan"]["registered_before_reporting"] is False


def test_days_that_are_left_out_say_so_and_the_chart_marks_the_event(
    client: TestClient, amend: Callable[[str], None]
) -> None:
    amend(EVENTS)
    html = page(client)
    assert html.count("non-routine event</small>") == 2
    data = json.loads(re.findall(r'id="data-daily-saving">(.*?)</script>', html, flags=re.DOTALL)[0])
    assert data["events"] == [
        {"label": "second-press", "first": "2025-08-20", "last": "2025-08-24"},
        {"label": "outage", "first": "2025-07-05", "last": "2025-07-06"},
    ]


def test_a_ratio_that_changed_without_a_record_leaves_no_verdict(
    client: TestClient, continue_chain: Callable[..., None], factory: Any, amend: Callable[[str], None]
) -> None:
    noon = int(datetime(2025, 7, 20, 4, tzinfo=UTC).timestamp()) * 1000
    detail: dict[str, int | float | str | bytes] = {
        "device": "meter-1",
        "setting": "ct_ratio",
        "time_ms": noon,
        "before": 40.0,
        "after": 60.0,
    }
    continue_chain(factory, [Event("ratio_changed", detail)])
    found = {kpi["id"]: kpi for kpi in dossier(client)["evaluation"]["kpis"]}
    assert found["saving"]["verdict"] == found["intensity"]["verdict"] == "insufficient_data"
    assert found["saving"]["interval"] is None
    shown = part(page(client))
    assert "2025-07-20 12:00" in shown
    assert "energy figures have no verdict" in shown
    amend(
        """
measurement_changes:
  - id: ct-1
    what: 互感器与变比同时更换
    device: gw-01/meter-1
    at: '2025-07-20 11:30'
    treatment: as_measured
    recorded_by: 王工
    recorded: 2025-07-21
"""
    )
    found = {kpi["id"]: kpi for kpi in dossier(client)["evaluation"]["kpis"]}
    assert found["saving"]["verdict"] == "met"
    assert "A person recorded that values before and after are both right." in part(page(client))


def test_without_events_the_search_and_the_timeline_are_shown(untouched_client: TestClient) -> None:
    shown = part(page(untouched_client))
    assert "No run of days stands apart" in shown
    assert "Timeline" in shown
    assert "variants" not in shown
