"""Commissioning, declared losses and stored readings: from signed records to the page and the files beside it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from wire.event import Event, Gap
from wire.keys import SigningKey
from wire.record import Body

GATEWAY = "gw-01"
PAGE = "/projects/PL-TEST-001"
START_MS = 1_751_299_200_000
REPORT = bytes(range(32))
ContinueChain = Callable[..., None]
StoredDays = Callable[[int], list[Body]]


def commissioned(device: str, failed: int = 0, accepted: str = "") -> Event:
    detail: dict[str, Any] = {
        "operator": "李伟", "device": device, "model": "acrel-adl400", "serial_number": "A-77", "time_ms": START_MS,
        "passed": 14, "failed": failed, "not_checked": 2, "checks_failed": "voltage" if failed else "",
        "checks_not_made": "", "report": REPORT,
    }  # fmt: skip
    return Event("commissioned", detail | ({"accepted": accepted} if accepted else {}))


def field(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"{PAGE}/field.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.text)
    return found


def test_without_events_the_page_says_what_is_missing(untouched_client: TestClient) -> None:
    found = field(untouched_client)
    assert (found["commissioned"], found["losses"], found["stored"]) == ([], [], [])
    assert found["not_commissioned"] == ["gw-01/meter-1", "gw-01/plc-1", "gw-01/plc-2"]
    page = untouched_client.get(f"{PAGE}?lang=en").text
    assert "No commissioning is on record." in page
    assert "No loss is declared." in page
    assert "No meter of this project has given stored readings." in page


def test_commissioning_is_shown_with_what_a_reviewer_compares(
    factory: Any, client: TestClient, continue_chain: ContinueChain
) -> None:
    continue_chain(factory, [commissioned("meter-1"), commissioned("plc-1", 1, "<no load>")])
    found = field(client)
    assert found["not_commissioned"] == ["gw-01/plc-2"]
    assert [(one["device"], one["checks"]["failed"], one["accepted"]) for one in found["commissioned"]] == [
        ("meter-1", 0, ""), ("plc-1", 1, "<no load>"),
    ]  # fmt: skip
    assert found["commissioned"][0]["report_sha256"] == REPORT.hex()
    assert found["commissioned"][0]["record"] == factory.records + 1
    english = client.get(f"{PAGE}?lang=en").text
    for text in ("李伟", "A-77", "14 / 0 / 2", f'title="{REPORT.hex()}"', "accepted because: &lt;no load&gt;"):
        assert text in english
    assert "调试人员" in client.get(f"{PAGE}?lang=zh").text


def test_declared_losses_are_shown_with_what_was_lost(
    factory: Any, client: TestClient, continue_chain: ContinueChain
) -> None:
    gap = Gap(100, 109, bytes(32), bytes(32), 1_200, "the spool is full")
    lost = {"samples": 30, "first_ms": START_MS, "last_ms": START_MS + 5_000, "reason": "the disk took nothing"}
    continue_chain(factory, [gap.to_event(), Event("loss", lost)])
    found = field(client)
    assert found["lost_samples"] == {"gw-01": 1_230}
    assert [one["samples"] for one in found["losses"]] == [1_200, 30]
    assert found["losses"][1]["lost_time"] == ["2025-07-01T00:00:00+08:00", "2025-07-01T00:00:05+08:00"]
    page = client.get(f"{PAGE}?lang=en").text
    assert "1,230 reads are declared lost." in page
    assert "records 100 to 109" in page
    assert "reads from 2025-07-01 00:00:00 to 2025-07-01 00:00:05" in page


def test_stored_readings_are_shown_and_are_a_file(
    factory: Any, client: TestClient, continue_chain: ContinueChain, stored_days: StoredDays
) -> None:
    continue_chain(factory, stored_days(62))
    (one,) = field(client)["stored"]
    assert (one["device"], one["name"], one["good"], one["found"]) == ("meter-9", "daily", 62, 62)
    assert one["series"] == [
        {
            "name": "daily_energy", "quantity": "active_energy_import", "unit": "kWh",
            "newest": {"entry": 1, "value": 1000.0}, "oldest": {"entry": 62, "value": 390.0},
        }
    ]  # fmt: skip
    page = client.get(f"{PAGE}?lang=en").text.replace("\u202f", " ").replace("\xa0", " ")
    assert "62 of 62" in page
    assert "1,000 kWh (entry 1)" in page
    assert "390.0 kWh (entry 62)" in page
    answer = client.get(f"{PAGE}/stored.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(rows) == 62
    assert rows[61] | {"read": ""} == {
        "gateway": GATEWAY, "device": "meter-9", "history": "daily", "entry": "62", "read": "",
        "series": "daily_energy", "value": "390.0", "unit": "kWh",
    }  # fmt: skip


def test_what_the_enrolled_key_does_not_verify_is_not_shown_as_fact(
    factory: Any, client: TestClient, continue_chain: ContinueChain
) -> None:
    continue_chain(factory, [commissioned("meter-1")], SigningKey.generate())
    found = field(client)
    assert (found["commissioned"], found["unverified_records"]) == ([], 1)
    assert "1 event records are not signed by the enrolled key" in client.get(f"{PAGE}?lang=en").text


@pytest.mark.parametrize("file", ["field.json", "stored.csv"])
def test_an_unknown_project_has_no_files(untouched_client: TestClient, file: str) -> None:
    assert untouched_client.get(f"/projects/none/{file}").status_code == 404
