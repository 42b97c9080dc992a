"""Every kind of KPI is shown: its line, its sentence, its model, its days; in both languages, on a real page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from dashboards.application import create_application
from dashboards.days import day_table
from dashboards.kpi_names import kpi_name
from dashboards.language import LANGUAGES, catalogue
from dashboards.project_page import kpi_view, model_view
from evidence.evaluate import evaluate
from evidence.explanation.explain import explain
from evidence.kpis import KPIS
from evidence.models import MODELS
from evidence.plan import Plan, load_plan
from evidence.table import IntervalTable
from store.database import connect
from store.gateways import add_gateway
from store.intervals import IntervalRow, replace_intervals
from store.projects import put_project
from wire.keys import SigningKey

PAGE = Path(__file__).parents[2] / "docs" / "evidence" / "kpis-in-a-plan.md"
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def plan_of_every_kind() -> str:
    return re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]


@pytest.fixture(scope="module")
def every_kind(plan_of_every_kind: str) -> Plan:
    return load_plan(plan_of_every_kind, "plan.yaml")


@pytest.fixture(scope="module")
def hours(every_kind: Plan) -> IntervalTable:
    """Any numbers for its series: what is shown is at stake here, not what it means."""
    from_ms, to_ms = every_kind.span_ms
    times = np.arange(from_ms, to_ms, HOUR_MS, dtype=np.int64)
    random = np.random.default_rng(11)
    values = {name: random.uniform(20, 60, len(times)) for name in every_kind.series}
    return IntervalTable(times, HOUR_MS, values, every_kind.series, every_kind.zone, every_kind.day_start)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_kind_has_a_line_with_name_and_sentence(every_kind: Plan, hours: IntervalTable, language: str) -> None:
    text = catalogue(language)
    assert {kpi.kind for kpi in every_kind.kpis} == {kind.description.kind for kind in KPIS}
    evaluation = evaluate(every_kind, hours)
    told = explain(every_kind, evaluation, proven=True).model_dump(mode="json")["kpis"]
    for kpi, words in zip(evaluation.to_json()["kpis"], told, strict=True):
        view = kpi_view(kpi, words, text)
        assert view["name"] == kpi_name(kpi["kind"], text)
        assert view["sentence"] == words["sentence"][language]
        assert len(view["sentence"]) > 20


def test_each_kind_has_its_days(every_kind: Plan, hours: IntervalTable) -> None:
    for kpi in every_kind.kpis:
        table = day_table(every_kind, kpi, kpi.evaluate(every_kind, hours), hours)
        assert len(table.days) == 70, kpi.kind
        assert len(next(iter(table.rows()))) == len(table.columns())


@pytest.fixture
def pages(database_url: str) -> Iterator[TestClient]:
    with TestClient(create_application(database_url)) as client:
        yield client


def test_the_project_page_shows_a_plan_of_every_kind(
    pages: TestClient, database_url: str, plan_of_every_kind: str
) -> None:
    text = re.sub(r"(  \w+: \{quantity: \w+, unit: [^}]+)\}", r"\1, from: [gw-01/meter-1/x]}", plan_of_every_kind)
    text = text.replace("project: EVERY-KPI", "project: PL-EVERY-KPI")
    with connect(database_url) as connection:
        put_project(connection, "PL-EVERY-KPI", text, hashlib.sha256(text.encode()).digest(), 0)
    for language in LANGUAGES:
        response = pages.get(f"/projects/PL-EVERY-KPI?lang={language}")
        assert response.status_code == 200
        for kind in KPIS:
            assert kpi_name(kind.description.kind, catalogue(language)) in response.text


def test_the_model_shows_factors_tariff_and_counts(every_kind: Plan, hours: IntervalTable) -> None:
    def facts(kpi_id: str) -> dict[str, str]:
        kpi = next(one for one in every_kind.kpis if one.id == kpi_id)
        shown = kpi.evaluate(every_kind, hours).model_dump(mode="json")
        return dict(model_view(shown, catalogue("en"), "Asia/Shanghai")["facts"])

    assert facts("coal")["factor of gas"].startswith("1.21279 /m3 · 2020 · measured net calorific value 35544")
    assert facts("carbon")["factor of gas"] == "2.16 /m3 · 2025 · statement of the gas supplier, 2025"
    assert facts("cost")["tariff 尖"].startswith("1.05 CNY/kWh: ")
    assert facts("cost")["tariff document"] == "time-of-use tariff of the grid company, as published (2026-01-01)"
    assert re.fullmatch(r"2026-\d\d-\d\d \d\d:00:00 → 2026-\d\d-\d\d \d\d:00:00", facts("peak")["interval of the peak"])
    assert facts("continuity")["intervals with data"] == "2,520 → 2,520"


PLAN_OF_STATES = """plan: 1
project: PL-STATES
enterprise: e
boundary: b
baseline: {from: 2026-01-05, to: 2026-01-06}
reporting: {from: 2026-01-06, to: 2026-01-07}
series:
  running: {quantity: production_time, unit: min, from: [gw-09/plc-1/line_state], states: [2]}
  busy: {quantity: busy_time, unit: h, from: [gw-09/plc-1/line_state], states: [1, 2, 3]}
kpis: [{id: u, kind: utilisation_efficiency, production_time: running, busy_time: busy}]
"""


def test_durations_come_from_the_states_of_a_machine(pages: TestClient, database_url: str) -> None:
    """A line that runs 10, sets up 3 and waits 2 minutes of each quarter of an hour on the first day; 12, 1, 2 then."""
    plan = load_plan(PLAN_OF_STATES, "plan.yaml")
    from_ms, to_ms = plan.span_ms
    quarter_ms, minute_ms = 900_000, 60_000
    rows = []
    for time_ms in range(from_ms, to_ms, quarter_ms):
        running, setting_up = (10, 3) if time_ms < from_ms + 24 * HOUR_MS else (12, 1)
        states = {"2": running * minute_ms, "1": setting_up * minute_ms, "0": (15 - running - setting_up) * minute_ms}
        rows.append(
            IntervalRow("gw-09/plc-1/line_state", time_ms, 2.0, 0.0, 0.0, 2.0, None, 15, None, None, 1.0, states)
        )
    with connect(database_url) as connection:
        add_gateway(connection, "gw-09", SigningKey.generate().public.raw, "gateway")
        replace_intervals(connection, "gw-09", from_ms, to_ms, rows)
        digest = hashlib.sha256(PLAN_OF_STATES.encode()).digest()
        put_project(connection, "PL-STATES", PLAN_OF_STATES, digest, 0)
    shown = pages.get("/projects/PL-STATES/evidence.json").json()
    kpi = shown["evaluation"]["kpis"][0]
    assert (kpi["baseline"], kpi["reporting"]) == (pytest.approx(10 / 13), pytest.approx(12 / 13))
    assert shown["plan"]["series"]["busy"]["from"] == ["gw-09/plc-1/line_state = 1, 2, 3"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_baseline_model_has_a_name(language: str) -> None:
    assert {f"model.kinds.{name}" for name in MODELS} <= set(catalogue(language).texts)
