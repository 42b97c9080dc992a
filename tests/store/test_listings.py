"""Listings in pages, and the questions that walking through a range of samples asks."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from store.database import Connection, pool, reading
from store.errors import DatabaseUnreachableError
from store.gateways import add_gateway
from store.incident_decisions import close_incidents
from store.incidents import add_incident
from store.intervals import IntervalRow, intervals_between, next_interval_ms, replace_intervals
from store.latest import LatestValue, upsert_latest
from store.listings import (
    incident_bytes,
    list_gateways,
    list_series,
    page_of_incidents,
    page_of_records,
    quarantine_summary,
)
from store.quarantine import add_quarantine
from store.records import (
    NO_HASH,
    ChainHead,
    NewRecord,
    advance_head,
    count_records,
    insert_records,
    lock_head,
    newest_descriptor,
    next_samples_ms,
)

HOUR_MS = 3_600_000
NOW_MS = 1_760_000_000_000


def record(seq: int, *, begin: int | None = None, end: int | None = None, kind: int = 0) -> NewRecord:
    """A record closed ``seq`` hours after the start, with samples from ``begin`` to ``end`` (ms after the start)."""
    data = f"record {seq}".encode()
    return NewRecord(
        gateway="gw-01",
        seq=seq,
        time_ms=NOW_MS + seq * HOUR_MS,
        first_sample_ms=None if begin is None else NOW_MS + begin,
        last_sample_ms=None if end is None else NOW_MS + end,
        kind=kind,
        hash=hashlib.sha256(data).digest(),
        descriptor_hash=NO_HASH,
        samples=0 if begin is None else 10,
        data=data,
        received_ms=NOW_MS,
    )


@pytest.fixture
def filled(conn: Connection) -> Connection:
    """Two gateways; the first has a descriptor, three records with samples, and an event."""
    for name in ("gw-01", "gw-02"):
        add_gateway(conn, name, bytes(32))
    lock_head(conn, "gw-01")
    made = [
        record(1, kind=1),
        record(2, begin=0, end=HOUR_MS - 1),
        record(3, begin=HOUR_MS, end=3 * HOUR_MS),
        record(4, kind=2),
        record(5, begin=40 * 24 * HOUR_MS, end=40 * 24 * HOUR_MS + 5),
        record(6, kind=1),
    ]
    insert_records(conn, made)
    advance_head(conn, "gw-01", ChainHead(6, made[-1].hash))
    return conn


def test_gateways_in_pages(filled: Connection) -> None:
    (first,) = list_gateways(filled, "", 1, None)
    assert (first.id, first.head_seq, first.newest_time_ms) == ("gw-01", 6, NOW_MS + 6 * HOUR_MS)
    (second,) = list_gateways(filled, "gw-01", 1, None)
    assert (second.id, second.head_seq, second.newest_time_ms) == ("gw-02", 0, None)
    assert list_gateways(filled, "gw-02", 1, None) == []
    assert [one.id for one in list_gateways(filled, "", 9, ["gw-02", "gw-03"])] == ["gw-02"]
    assert list_gateways(filled, "", 9, []) == []


def test_series_in_pages(filled: Connection) -> None:
    values = [LatestValue(f"{gateway}/m/p", NOW_MS, 1.5, "kW", 0, NOW_MS) for gateway in ("gw-01", "gw-02")]
    upsert_latest(filled, values)
    assert [(one.id, one.unit) for one in list_series(filled, "", 1, None)] == [("gw-01/m/p", "kW")]
    assert [one.id for one in list_series(filled, "gw-01/m/p", 9, None)] == ["gw-02/m/p"]
    assert [one.id for one in list_series(filled, "", 9, ["gw-02"])] == ["gw-02/m/p"]


def test_incidents_the_newest_first(filled: Connection) -> None:
    for index in range(4):
        kind, data = ("fork", b"second") if index == 2 else ("hole", None)
        add_incident(filled, f"gw-0{index % 2 + 1}", kind, index, {}, data, NOW_MS + index)

    def numbers(**conditions: object) -> list[int | None]:
        asked = {"before": None, "limit": 9, "among": None, "kind": None, "from_ms": None, "to_ms": None}
        return [one.seq for one in page_of_incidents(filled, **(asked | conditions))]  # type: ignore[arg-type]

    assert numbers() == [3, 2, 1, 0]
    last = page_of_incidents(filled, before=None, limit=2, among=None, kind=None, from_ms=None, to_ms=None)[-1]
    assert (last.seq, last.bytes) == (2, 6)
    assert numbers(before=last.id) == [1, 0]
    assert numbers(among=["gw-02"]) == [3, 1]
    assert numbers(kind="fork") == [2]
    assert numbers(from_ms=NOW_MS + 1, to_ms=NOW_MS + 3) == [2, 1]
    close_incidents(filled, [last.id], "li.wei", "settled", NOW_MS + 9)
    assert (numbers(closed=True), numbers(closed=False)) == ([2], [3, 1, 0])
    assert [one.closed_ms for one in page_of_incidents(filled, before=None, limit=2, among=None)] == [None, NOW_MS + 9]
    assert incident_bytes(filled, last.id) == ("gw-01", b"second")
    assert incident_bytes(filled, last.id + 1) == ("gw-02", None)
    assert incident_bytes(filled, 10**9) is None


def test_records_in_pages(filled: Connection) -> None:
    assert [one.seq for one in page_of_records(filled, "gw-01", after=0, limit=4)] == [1, 2, 3, 4]
    assert [one.seq for one in page_of_records(filled, "gw-01", after=4, limit=4)] == [5, 6]
    bounds = {"from_ms": NOW_MS + 2 * HOUR_MS, "to_ms": NOW_MS + 4 * HOUR_MS}
    (second, third) = page_of_records(filled, "gw-01", after=0, limit=9, **bounds)
    assert (second.seq, second.bytes, second.hash) == (2, 8, hashlib.sha256(b"record 2").digest())
    assert third.first_sample_ms == NOW_MS + HOUR_MS
    assert page_of_records(filled, "gw-02", after=0, limit=9) == []


def test_quarantine_by_reason(filled: Connection) -> None:
    for index, reason in enumerate(("bad-signature", "not-a-record", "bad-signature")):
        add_quarantine(filled, "topic", reason, "", b"x" * index, NOW_MS + index)
    first, second = quarantine_summary(filled)
    assert (first.reason, first.messages, first.bytes) == ("bad-signature", 2, 2)
    assert (first.first_received_ms, first.latest_received_ms) == (NOW_MS, NOW_MS + 2)
    assert (second.reason, second.messages) == ("not-a-record", 1)


def test_the_newest_descriptor(filled: Connection) -> None:
    newest = newest_descriptor(filled, "gw-01")
    assert newest is not None
    assert newest.seq == 6
    assert newest_descriptor(filled, "gw-02") is None


@pytest.mark.parametrize(
    ("from_ms", "expected"),
    [
        (-HOUR_MS, 0),
        (0, 0),
        (HOUR_MS // 2, HOUR_MS // 2),
        (3 * HOUR_MS, 3 * HOUR_MS),
        (3 * HOUR_MS + 1, 40 * 24 * HOUR_MS),
        (40 * 24 * HOUR_MS + 6, None),
    ],
)
def test_where_samples_go_on(filled: Connection, from_ms: int, expected: int | None) -> None:
    found = next_samples_ms(filled, "gw-01", NOW_MS + from_ms)
    assert found == (None if expected is None else NOW_MS + expected)


def test_how_much_a_range_holds(filled: Connection) -> None:
    assert count_records(filled, "gw-01", NOW_MS, NOW_MS + HOUR_MS) == (1, 10)
    assert count_records(filled, "gw-01", NOW_MS, NOW_MS + 90 * 24 * HOUR_MS) == (6, 30)
    assert count_records(filled, "gw-02", NOW_MS, NOW_MS + HOUR_MS) == (0, 0)


def test_intervals_of_several_series_by_time(conn: Connection) -> None:
    def row(series: str, time_ms: int) -> IntervalRow:
        return IntervalRow(series, time_ms, 1.0, 2.0, 1.0, 2.0, 3.0, 2, 1.5, 1.0, 1.0, {"1": 900_000})

    rows = [row("gw-01/m/b", NOW_MS), row("gw-01/m/a", NOW_MS), row("gw-01/m/a", NOW_MS + HOUR_MS)]
    replace_intervals(conn, "gw-01", NOW_MS, NOW_MS + 2 * HOUR_MS, rows)
    names = ["gw-01/m/a", "gw-01/m/b", "gw-01/m/none"]
    assert intervals_between(conn, names, NOW_MS, NOW_MS + 2 * HOUR_MS) == [rows[1], rows[0], rows[2]]
    assert intervals_between(conn, names, NOW_MS, NOW_MS + HOUR_MS) == [rows[1], rows[0]]
    assert next_interval_ms(conn, names, NOW_MS - HOUR_MS) == NOW_MS
    assert next_interval_ms(conn, names, NOW_MS + 1) == NOW_MS + HOUR_MS
    assert next_interval_ms(conn, ["gw-01/m/b"], NOW_MS + 1) is None
    assert next_interval_ms(conn, [], NOW_MS) is None


def test_strangers_questions_change_nothing_and_do_not_last(database_url: str) -> None:
    with pool(database_url, 1) as connections:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), reading(connections) as conn:
            add_gateway(conn, "gw-01", bytes(32))
        slow = pytest.raises(DatabaseUnreachableError, match="no answer within 50 ms")
        with slow, reading(connections, timeout_ms=50) as conn:
            conn.execute("SELECT pg_sleep(30)")
        with reading(connections) as conn:
            assert list_gateways(conn, "", 1, None) == []
