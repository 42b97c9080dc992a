"""The page of incidents: what is open, what was settled and why, page by page."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient

from dashboards.incidents_page import PAGE_ROWS
from dashboards.language import catalogue
from ingest.admission import IncidentKind
from ingest.enrolment import ENROLMENT_REFUSED, SECOND_KEY
from ingest.jobs import CERTIFICATE_EXPIRES, TABLES_DIFFER
from ingest.readmission import READMITTED
from ingest.refusal import FOREIGN_GATEWAY, UNKNOWN_KEY
from ingest.replay import REPLAYED
from ingest.transaction import FLOOD, QUARANTINE_FULL
from ingest.trust import REVOKED_KEY
from ingest.worker import DAY_CLOSED, INTERVALS_FAILED, UNREADABLE_RECORD
from store.database import connect
from store.incident_decisions import close_incidents
from store.incidents import add_incident, list_incidents

AT_MS = 1_757_952_000_000  # 2025-09-16T00:00:00+08:00


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


def raise_incidents(factory: Stored, gateway: str, kind: str, count: int = 1) -> list[int]:
    with connect(factory.database_url) as connection:
        for seq in range(count):
            add_incident(connection, gateway, kind, seq + 1, {"reason": "<b>bold</b>"}, None, AT_MS)
        return sorted(one.id for one in list_incidents(connection, gateway, count))


def close(factory: Stored, incident: int, reason: str) -> None:
    with connect(factory.database_url) as connection:
        close_incidents(connection, [incident], "li.wei", reason, AT_MS + 3_600_000)


def numbers(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'<li id="incident-(\d+)">', html)]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_open_incidents_are_shown_and_closed_ones_on_request(
    client: TestClient, factory: Stored, language: str
) -> None:
    first, second = raise_incidents(factory, "gw-01", "fork", 2)
    close(factory, first, "the spool was copied & sent twice")
    shown = client.get("/incidents", params={"lang": language}).text
    text = catalogue(language)
    assert numbers(shown) == [second]
    assert text("incidents.open_now", n=1) in shown
    assert text("incidents.kinds.fork") in shown
    assert "&lt;b&gt;bold" in shown and "<b>bold" not in shown  # noqa: PT018 - one matter
    settled = client.get("/incidents", params={"state": "closed", "lang": language}).text
    said = text(
        "incidents.was_closed",
        time="2025-09-16 01:00:00",
        actor="li.wei",
        reason="the spool was copied &amp; sent twice",
    )
    assert numbers(settled) == [first]
    assert said in settled
    assert numbers(client.get("/incidents", params={"state": "all"}).text) == [second, first]


def test_many_incidents_come_page_by_page_and_by_gateway(client: TestClient, factory: Stored) -> None:
    made = raise_incidents(factory, "gw/02 ?", "hole", PAGE_ROWS + 1)
    raise_incidents(factory, "gw-03", "of-the-future")
    first = client.get("/incidents", params={"gateway": "gw/02 ?"}).text
    assert numbers(first) == made[:0:-1]
    (older,) = re.findall(r'href="([^"]*)" rel="next"', first)
    assert numbers(client.get(older.replace("&amp;", "&")).text) == made[:1]
    assert "of-the-future" in client.get("/incidents", params={"gateway": "gw-03"}).text


def test_the_live_page_leads_to_the_open_ones(client: TestClient, factory: Stored) -> None:
    assert '<a href="/incidents">' in client.get("/live").text
    raise_incidents(factory, "gw-01", "fork")
    assert client.get("/live.json").json()["incidents"] == 1
    close(factory, raise_incidents(factory, "gw-01", "fork")[0], "settled")
    assert client.get("/live.json").json()["incidents"] == 1


@pytest.mark.parametrize("query", ["state=lost", "before=0", "before=x", f"before={2**63}"])
def test_a_mistyped_address_is_a_page_that_says_so(client: TestClient, query: str) -> None:
    answer = client.get(f"/incidents?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert query.partition("=")[0] in answer.text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_kind_that_ingestion_raises_has_a_name(language: str) -> None:
    raised = {*IncidentKind, FLOOD, QUARANTINE_FULL, REPLAYED, READMITTED, UNKNOWN_KEY, FOREIGN_GATEWAY, REVOKED_KEY}
    raised |= {ENROLMENT_REFUSED, SECOND_KEY, CERTIFICATE_EXPIRES, TABLES_DIFFER, UNREADABLE_RECORD}
    raised |= {INTERVALS_FAILED, DAY_CLOSED}
    prefix = "incidents.kinds."
    named = {key.removeprefix(prefix) for key in catalogue(language).texts if key.startswith(prefix)}
    assert named == {str(kind) for kind in raised}
