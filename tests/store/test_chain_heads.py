"""Many heads in one statement each mean what one by one means."""

from __future__ import annotations

import psycopg
import pytest

from store.chain_heads import advance_heads, lock_heads, newest_seqs
from store.database import Connection
from store.dirty import dirty_days, mark_all_dirty
from store.gateways import add_gateway
from store.records import NO_HASH, ChainHead, NewRecord, insert_records, lock_head, read_head

DAY_MS = 86_400_000
TIME_MS = 20_000 * DAY_MS
GATEWAYS = ("gw-01", "gw-02", "gw-10")


@pytest.fixture
def enrolled(conn: Connection) -> Connection:
    for number, gateway in enumerate(GATEWAYS):
        add_gateway(conn, gateway, bytes([number]) * 32)
    conn.commit()
    return conn


def test_heads_begin_at_nothing_and_advance_together(enrolled: Connection) -> None:
    lock_head(enrolled, "gw-02")
    assert lock_heads(enrolled, GATEWAYS) == dict.fromkeys(GATEWAYS, ChainHead(0, NO_HASH))
    moved = {"gw-01": ChainHead(7, b"a" * 32), "gw-10": ChainHead(9, b"b" * 32)}
    advance_heads(enrolled, moved)
    assert lock_heads(enrolled, GATEWAYS) == {**moved, "gw-02": ChainHead(0, NO_HASH)}
    assert read_head(enrolled, "gw-10") == moved["gw-10"]


def test_a_locked_head_is_one_writers_until_its_end(enrolled: Connection, other: Connection) -> None:
    lock_heads(enrolled, ["gw-10", "gw-01"])
    enrolled.commit()
    lock_heads(enrolled, ["gw-01"])
    other.execute("SET lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        lock_heads(other, GATEWAYS)
    other.rollback()
    assert lock_heads(other, ["gw-02", "gw-10"]).keys() == {"gw-02", "gw-10"}


def test_an_unknown_gateway_has_no_head(enrolled: Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        lock_heads(enrolled, ["gw-01", "gw-99"])


def test_the_newest_number_is_that_of_all_months(enrolled: Connection) -> None:
    rows = [("gw-01", 5, 0), ("gw-01", 3, 90), ("gw-10", 2, 40)]
    insert_records(
        enrolled,
        [
            NewRecord(gateway, seq, TIME_MS + days * DAY_MS, None, None, 0, NO_HASH, NO_HASH, 0, b"x", TIME_MS)
            for gateway, seq, days in rows
        ],
    )
    assert newest_seqs(enrolled, GATEWAYS) == {"gw-01": 5, "gw-10": 2}


def test_days_of_many_gateways_are_marked_at_once(enrolled: Connection) -> None:
    mark_all_dirty(enrolled, {"gw-01": [TIME_MS, TIME_MS], "gw-02": [], "gw-10": [TIME_MS + DAY_MS, TIME_MS]})
    found = {gateway: dirty_days(enrolled, gateway, 0, TIME_MS + 9 * DAY_MS) for gateway in GATEWAYS}
    assert found == {"gw-01": [TIME_MS], "gw-02": [], "gw-10": [TIME_MS, TIME_MS + DAY_MS]}
