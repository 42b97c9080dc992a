"""The read API over a real database of signed records."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from ingest.api.parameters import instant_text
from ingest.api.router import PREFIX, read_api
from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool
from store.incident_decisions import close_incidents
from store.readers import READER_KEY, Reader, Scope
from wire.record import open_record, record_hash
from wire.record_file import read_records
from wire.topics import record_topic

ENERGY, POWER = "gw-01/meter-1/energy", "gw-01/meter-1/power"
RECORDS = 62
START_MS = 1_760_000_000_000
END_MS = START_MS + (RECORDS - 2) * 10_000


class LetIn:
    """Serves an application to one reader, as whoever has checked a token does."""

    def __init__(self, application: ASGIApp, reader: Reader | None) -> None:
        self.reader = reader
        self._application = application

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if self.reader is not None:
            scope[READER_KEY] = self.reader
        await self._application(scope, receive, send)


@dataclass(frozen=True)
class Served:
    """The API of a filled database; `door` says who comes in."""

    client: TestClient
    door: LetIn
    gateway: Any
    database_url: str

    def get(self, path: str, **parameters: Any) -> Any:
        return self.client.get(f"{PREFIX}{path}", params=parameters)

    def range(self, path: str, series: Any = ENERGY, **parameters: Any) -> Any:
        bounds = {"from": instant_text(START_MS), "to": instant_text(END_MS)}
        return self.get(path, **({"series": series} | bounds | parameters))


@pytest.fixture
def served(database_url: str, new_gateway: Callable[[str], Any], fill: Callable[..., None]) -> Iterator[Served]:
    """Two gateways, of which the first is asked about."""
    gateway = new_gateway("gw-01")
    fill(database_url, gateway, new_gateway("gw-02"), records=RECORDS)
    application = FastAPI(openapi_url=None)
    with pool(database_url, 2) as connections:
        application.include_router(read_api(connections))
        door = LetIn(application, Reader("test"))
        with TestClient(door) as client:
            yield Served(client, door, gateway, database_url)


def test_samples_are_what_the_gateway_read(served: Served) -> None:
    answer = served.range("/samples", [POWER, ENERGY]).json()
    rows = answer["samples"]
    assert len(rows) == 2 * 10 * (RECORDS - 2)
    assert answer["next"] is None
    assert (answer["skipped_records"], answer["skipped"]) == (0, [])
    assert rows[:3] == [
        {"time": instant_text(START_MS), "series": ENERGY, "value": 0.0, "unit": "kWh", "status": 0, "record": 3},
        {"time": instant_text(START_MS), "series": POWER, "value": 5.0, "unit": "kW", "status": 0, "record": 3},
        {
            "time": instant_text(START_MS + 1000),
            "series": ENERGY,
            "value": 0.01,
            "unit": "kWh",
            "status": 0,
            "record": 3,
        },
    ]


def test_a_failed_read_is_a_sample_without_value(served: Served) -> None:
    frame = served.gateway.frame(failing=4)
    record = served.gateway.chain.append((frame,), time_ms=END_MS + 10_000)
    with pool(served.database_url, 2) as connections:
        AdmissionTransactions(connections).commit([Message(record_topic("gw-01"), record.data, START_MS)])
    bounds = {"from": instant_text(END_MS), "to": instant_text(END_MS + 10_000)}
    rows = served.range("/samples", POWER, **bounds).json()["samples"]
    assert [(row["value"], row["status"]) for row in rows[5:8]] == [(5.005, 0), (None, 0xF0), (None, 0xF0)]
    assert {row["record"] for row in rows} == {record.payload.seq}
    table = csv.DictReader(io.StringIO(served.range("/samples", POWER, format="csv", **bounds).text))
    assert [row["value"] for row in table][5:7] == ["5.005", ""]


def test_the_three_forms_say_the_same(served: Served) -> None:
    rows = served.range("/samples", [ENERGY, POWER]).json()["samples"]
    arrow = served.range("/samples", [ENERGY, POWER], format="arrow")
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table.schema.field("time").type == pa.timestamp("ms", tz="UTC")
    plain = [row | {"time": instant_text(round(row["time"].timestamp() * 1000))} for row in table.to_pylist()]
    assert plain == rows
    text = served.client.get(
        f"{PREFIX}/samples",
        params={"series": [ENERGY, POWER], "from": instant_text(START_MS), "to": instant_text(END_MS)},
        headers={"accept": "application/xml, text/csv;q=0.9, application/json;q=0.1"},
    )
    assert text.headers["content-type"].startswith("text/csv")
    read = [
        row | {"value": float(row["value"]), "status": int(row["status"]), "record": int(row["record"])}
        for row in csv.DictReader(io.StringIO(text.text))
    ]
    assert read == rows


@pytest.mark.parametrize("path", ["/samples", "/intervals"])
@pytest.mark.parametrize("limit", [1, 7, 100_000])
def test_pages_together_are_the_whole(served: Served, path: str, limit: int) -> None:
    name, to = path[1:], instant_text(START_MS + 40_000 if path == "/samples" else END_MS)
    whole = served.range(path, [ENERGY, POWER], to=to).json()[name]
    address, pages = served.range(path, [ENERGY, POWER], to=to, limit=limit), []
    while True:
        page = address.json()
        pages.append(page[name])
        assert len(page[name]) <= limit
        if page["next"] is None:
            assert "link" not in address.headers
            break
        following = address.headers["link"].removeprefix("<").partition(">")[0]
        address = served.client.get(f"{PREFIX}{path}{following}")
    assert [row for page in pages for row in page] == whole
    assert len(pages) == -(-len(whole) // limit)


def test_a_cursor_belongs_to_its_query(served: Served) -> None:
    cursor = served.range("/samples", limit=3).json()["next"]
    for wrong in (cursor[:-3], "x", "e30", served.get("/series", limit=1).json()["next"]):
        answer = served.range("/samples", limit=3, cursor=wrong)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "cursor"
    assert served.range("/samples", POWER, limit=3, cursor=cursor).status_code == 422


def test_ranges_are_half_open(served: Served) -> None:
    rows = served.range("/samples", to=instant_text(START_MS + 10_000)).json()["samples"]
    assert [rows[0]["time"], rows[-1]["time"]] == [instant_text(START_MS), instant_text(START_MS + 9_000)]
    shanghai = served.range("/samples", **{"from": "2025-10-09T16:53:21+08:00"}).json()["samples"]
    assert shanghai[0]["time"] == "2025-10-09T08:53:21.000Z"


def test_a_year_without_data_is_answered_at_once(served: Served) -> None:
    answer = served.range("/samples", **{"from": "1970-01-01T00:00:00Z", "to": "9998-12-31T00:00:00Z"}).json()
    assert len(answer["samples"]) == 10 * (RECORDS - 2)
    assert served.range("/intervals", to="9998-12-31T00:00:00Z").json()["intervals"]


def test_windows_make_no_difference(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = served.range("/samples", [ENERGY, POWER]).json()
    monkeypatch.setattr("ingest.api.samples.WINDOW_SAMPLES", 50)
    monkeypatch.setattr("ingest.api.samples.MAXIMUM_WINDOWS_A_DAY", 86_400)
    assert served.range("/samples", [ENERGY, POWER]).json() == whole


def test_a_record_that_was_changed_is_named(served: Served) -> None:
    with connect(served.database_url) as conn:
        conn.execute(
            "UPDATE record SET data = set_byte(data, 200, get_byte(data, 200) # 1) WHERE gateway = 'gw-01' AND seq = 10"
        )
    answer = served.range("/samples", limit=100_000)
    assert answer.headers["shopfloor-skipped-records"] == "1"
    assert [(one["gateway"], one["record"]) for one in answer.json()["skipped"]] == [("gw-01", 10)]
    assert len(answer.json()["samples"]) == 10 * (RECORDS - 3)


def test_intervals_have_units_and_tell_what_a_counter_grew_by(served: Served) -> None:
    answer = served.range("/intervals", [ENERGY, POWER], **{"from": "2025-10-09T08:45:00Z"}).json()
    assert answer["interval_ms"] == 900_000
    energy = [row for row in answer["intervals"] if row["series"] == ENERGY]
    assert {row["unit"] for row in energy} == {"kWh"}
    assert sum(row["increase"] for row in energy) == pytest.approx(0.01 * (10 * (RECORDS - 2) - 1))
    assert sum(row["count"] for row in energy) == 10 * (RECORDS - 2)
    table = pa.ipc.open_stream(
        served.range("/intervals", [ENERGY, POWER], format="arrow", **{"from": "2025-10-09T08:45:00Z"}).content
    ).read_all()
    assert table.column("increase").to_pylist() == [row["increase"] for row in answer["intervals"]]


def test_catalogue_names_gateways_devices_and_series(served: Served) -> None:
    page = served.get("/gateways", limit=1)
    assert [one["id"] for one in page.json()["gateways"]] == ["gw-01"]
    other = served.get("/gateways", limit=1, cursor=page.json()["next"]).json()
    assert [one["id"] for one in other["gateways"]] == ["gw-02"]
    one = served.get("/gateways/gw-01").json()
    assert (one["head_seq"], one["public_key"]) == (RECORDS, served.gateway.key.public.text)
    devices = served.get("/gateways/gw-01/devices")
    assert [series["unit"] for series in devices.json()["devices"][0]["series"]] == ["kWh", "kW"]
    tag = devices.headers["etag"]
    assert tag == f'"{served.gateway.records[0].hash.hex()}"'
    again = served.client.get(f"{PREFIX}/gateways/gw-01/devices", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    series = served.get("/series", gateway="gw-01").json()["series"]
    assert [(one["id"], one["unit"], one["kind"], one["latest"]["value"]) for one in series] == [
        (ENERGY, "kWh", "counter", 5.99),
        (POWER, "kW", "gauge", 5.009),
    ]


def test_records_are_the_signed_bytes(served: Served) -> None:
    made = served.gateway.records
    listed = served.get("/gateways/gw-01/records", limit=2).json()
    assert [(one["record"], one["kind"]) for one in listed["records"]] == [(1, "descriptor"), (2, "event")]
    listed = served.get("/gateways/gw-01/records", limit=2, cursor=listed["next"]).json()["records"]
    assert [one["sha256"] for one in listed] == [one.hash.hex() for one in made[2:4]]
    record = served.get("/gateways/gw-01/records/5")
    assert record.headers["content-type"].startswith("application/cose")
    assert record.headers["etag"] == f'"{record_hash(record.content).hex()}"'
    assert open_record(record.content, served.gateway.key.public).payload.seq == 5
    file = served.get("/gateways/gw-01/records-file", first=2, last=40)
    assert list(read_records(io.BytesIO(file.content))) == [one.data for one in made[1:40]]


def test_incidents_and_quarantine(served: Served) -> None:
    chain, frame = served.gateway.chain, served.gateway.frame()
    other = copy.copy(chain)
    record = chain.append((frame,), time_ms=END_MS + 10_000)
    fork = other.append((frame,), time_ms=END_MS + 20_000)
    assert (record.payload.seq, record.payload.prev) == (fork.payload.seq, fork.payload.prev)
    with pool(served.database_url, 2) as connections:
        transactions = AdmissionTransactions(connections)
        for one in (record, fork):
            transactions.commit([Message(record_topic("gw-01"), one.data, END_MS)])
    found = served.get("/incidents").json()["incidents"]
    assert [(one["gateway"], one["kind"], one["record"]) for one in found] == [("gw-01", "fork", fork.payload.seq)]
    assert served.get(f"/incidents/{found[0]['id']}/bytes").content == fork.data
    assert served.get("/incidents", **{"from": found[0]["at"]}).json()["incidents"] == found
    assert served.get("/incidents", to=found[0]["at"]).json()["incidents"] == []
    assert served.get("/incidents", gateway="gw-02").json()["incidents"] == []
    assert served.get("/incidents", kind="hole").json()["incidents"] == []
    assert (found[0]["closed"], found[0]["decisions"]) == (None, [])
    assert served.get("/incidents", state="open").json()["incidents"] == found
    with connect(served.database_url) as conn:
        close_incidents(conn, [found[0]["id"]], "li.wei", "the spool was copied", END_MS)
    assert served.get("/incidents", state="open").json()["incidents"] == []
    (closed,) = served.get("/incidents", state="closed").json()["incidents"]
    told = {"closed": True, "actor": "li.wei", "reason": "the spool was copied", "at": closed["closed"]}
    assert closed == found[0] | {"closed": closed["closed"], "decisions": [told]}
    refused = served.get("/quarantine").json()
    assert (refused["messages"], refused["bytes"], refused["reasons"][0]["reason"]) == (1, 7, "not-a-record")
    assert served.get("/incidents/999/bytes").status_code == 404


@dataclass(frozen=True)
class Mistake:
    """A request that makes no sense, and what is said about it."""

    path: str
    parameters: dict[str, Any]
    status: int
    parameter: str | None
    advice: str


RANGE = {"series": ENERGY, "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
MISTAKES = {
    "no-zone": Mistake("/samples", RANGE | {"from": "2026-01-01T00:00:00"}, 422, "from", "has no zone; append Z"),
    "unescaped-plus": Mistake("/samples", RANGE | {"to": "2026-01-02T00:00:00 08:00"}, 422, "to", "%2B"),
    "no-time": Mistake("/intervals", RANGE | {"from": "yesterday"}, 422, "from", "ISO 8601"),
    "backwards": Mistake("/samples", RANGE | {"to": "2025-01-01T00:00:00Z"}, 422, "to", "must be after from"),
    "before-time": Mistake("/samples", RANGE | {"from": "1969-12-31T23:59:59Z"}, 422, "from", "years 1970"),
    "missing": Mistake("/samples", {"series": ENERGY, "to": "2026-01-02T00:00:00Z"}, 422, "from", "is missing; add it"),
    "series-id": Mistake("/samples", RANGE | {"series": "energy"}, 422, "series.0", "pattern"),
    "unknown-series": Mistake(
        "/samples", RANGE | {"series": "gw-01/meter-1/none"}, 404, None, "series gw-01/meter-1/none"
    ),
    "format": Mistake("/samples", RANGE | {"format": "xlsx"}, 422, "format", "arrow"),
    "mistyped": Mistake("/incidents", {"gatway": "gw-01"}, 422, "gatway", "did you mean 'gateway'?"),
    "limit": Mistake("/series", {"limit": 0}, 422, "limit", "greater than or equal to 1"),
    "record-number": Mistake("/gateways/gw-01/records/0", {}, 422, "record", "greater than or equal to 1"),
    "no-record": Mistake("/gateways/gw-01/records/9999", {}, 404, None, "record 9999 of gateway gw-01"),
    "no-gateway": Mistake("/gateways/gw-77/devices", {}, 404, None, "gateway gw-77"),
    "no-route": Mistake("/sample", {}, 404, None, "/api/v1/openapi.json"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_a_problem_that_names_it(served: Served, mistake: Mistake) -> None:
    answer = served.get(mistake.path, **mistake.parameters)
    assert answer.status_code == mistake.status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].startswith("urn:shopfloor:problem:")
    assert problem["status"] == mistake.status
    assert mistake.advice in problem["detail"]
    assert [fault["parameter"] for fault in problem["errors"]] == ([mistake.parameter] if mistake.parameter else [])


def test_nothing_can_be_changed(served: Served) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = served.client.request(method, f"{PREFIX}/gateways/gw-01")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        assert answer.json()["type"] == "urn:shopfloor:problem:method-not-allowed"


def test_where_nobody_let_the_reader_in_there_is_nothing_to_read(served: Served) -> None:
    served.door.reader = None
    for path in ("/gateways", "/samples", "/openapi.json", "/quarantine", "/nothing"):
        answer = served.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="shopfloor"')


NEEDED = {
    "/gateways": Scope.GATEWAYS,
    "/gateways/gw-01": Scope.GATEWAYS,
    "/gateways/gw-01/devices": Scope.GATEWAYS,
    "/series": Scope.SERIES,
    f"/samples?series={ENERGY}&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z": Scope.SAMPLES,
    f"/intervals?series={ENERGY}&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z": Scope.INTERVALS,
    "/incidents": Scope.INCIDENTS,
    "/quarantine": Scope.QUARANTINE,
    "/gateways/gw-01/records": Scope.RECORDS,
    "/gateways/gw-01/records/1": Scope.RECORDS,
    "/gateways/gw-01/records-file": Scope.RECORDS,
}


@pytest.mark.parametrize("path", NEEDED)
def test_a_route_opens_with_its_own_scope_only(served: Served, path: str) -> None:
    served.door.reader = Reader("one", frozenset({NEEDED[path]}))
    assert served.client.get(f"{PREFIX}{path}").status_code == 200
    served.door.reader = Reader("others", frozenset(Scope) - {NEEDED[path]})
    refused = served.client.get(f"{PREFIX}{path}")
    assert refused.status_code == 403
    assert NEEDED[path] in refused.json()["detail"]


def test_of_other_gateways_a_restricted_reader_sees_nothing(served: Served) -> None:
    served.door.reader = Reader("restricted", gateways=frozenset({"gw-02"}))
    assert [one["id"] for one in served.get("/gateways").json()["gateways"]] == ["gw-02"]
    assert {one["gateway"] for one in served.get("/series").json()["series"]} == {"gw-02"}
    assert served.get("/incidents").json()["incidents"] == []
    assert served.range("/samples", "gw-02/meter-1/power").status_code == 200
    for answer in (
        served.get("/gateways/gw-01"),
        served.get("/gateways/gw-01/devices"),
        served.get("/gateways/gw-01/records"),
        served.get("/gateways/gw-01/records/1"),
        served.get("/gateways/gw-01/records-file"),
        served.get("/series", gateway="gw-01"),
        served.get("/incidents", gateway="gw-01"),
        served.range("/samples", [POWER, "gw-02/meter-1/power"]),
        served.range("/intervals", POWER),
    ):
        assert answer.status_code == 404
    assert served.get("/quarantine").status_code == 403


def test_the_document_is_openapi_of_every_route(served: Served) -> None:
    document = served.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        f"{PREFIX}{path}"
        for path in (
            "/gateways",
            "/gateways/{gateway}",
            "/gateways/{gateway}/devices",
            "/gateways/{gateway}/records",
            "/gateways/{gateway}/records/{record}",
            "/gateways/{gateway}/records-file",
            "/series",
            "/samples",
            "/intervals",
            "/incidents",
            "/incidents/{incident}/bytes",
            "/quarantine",
        )
    }
    assert json.dumps(document).count("operationId") == 12
