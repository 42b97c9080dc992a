"""A hole is an incident when it stays, once, whoever looks; never when its records were only late."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.holes import HoleWatch, tell_holes
from ingest.transaction import AdmissionTransactions
from store.database import Pool, connect, pool
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.records import read_head
from wire.event import Gap
from wire.record import Record
from wire.topics import record_topic


@pytest.fixture
def connections(database_url: str, gateway: Any) -> Iterator[Pool]:
    """A database that knows the gateway."""
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    with pool(database_url, 2) as opened:
        yield opened


def _commit(admission: AdmissionTransactions, records: Sequence[Record]) -> None:
    admission.commit([Message(record_topic("gw-01"), record.data, record.payload.time_ms) for record in records])


def _told(database_url: str) -> list[tuple[str, int | None, dict[str, Any]]]:
    with connect(database_url) as conn:
        return [(one.kind, one.seq, one.detail) for one in list_incidents(conn)]


def test_two_workers_that_share_a_gateway_raise_nothing(database_url: str, connections: Pool, gateway: Any) -> None:
    """Each takes every second batch and is late by one: descriptor and predecessors come after those who need them."""
    first, second = AdmissionTransactions(connections), AdmissionTransactions(connections)
    made = gateway.make(40)
    for start in range(0, 40, 10):
        _commit(second, made[start + 5 : start + 10])
        _commit(first, made[start : start + 5])
    assert tell_holes(connections, patience_ms=0) == 0
    assert _told(database_url) == []
    with connect(database_url) as conn:
        assert read_head(conn, "gw-01").seq == 40


def test_a_hole_that_stays_is_told_once_and_not_before_its_time(
    database_url: str, connections: Pool, gateway: Any
) -> None:
    made = gateway.make(9)
    admission = AdmissionTransactions(connections)
    _commit(admission, made[:3])
    _commit(admission, [*made[5:7], made[8]])
    assert tell_holes(connections, patience_ms=3_600_000) == 0
    _commit(admission, [made[7]])
    assert [tell_holes(connections, patience_ms=0) for _ in range(2)] == [1, 0]
    _commit(admission, made[5:9])
    assert tell_holes(connections, patience_ms=0) == 0
    assert _told(database_url) == [("hole", 6, {"before": 6, "head": 3})]


def test_a_watch_tells_by_itself(database_url: str, connections: Pool, gateway: Any) -> None:
    admission = AdmissionTransactions(connections)
    _commit(admission, gateway.make(3)[2:])
    watch = HoleWatch(connections, patience_ms=0, look_s=0.05)
    watch.start()
    deadline = time.monotonic() + 20
    while not _told(database_url):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    watch.stop()
    assert _told(database_url) == [("hole", 3, {"before": 3, "head": 0})]


def test_a_hole_that_is_declared_lost_is_no_second_incident(database_url: str, connections: Pool, gateway: Any) -> None:
    made = gateway.make(8)
    lost = Gap(5, 6, made[3].hash, made[5].hash, 0, "spool full")
    declaration = gateway.chain.append(lost.to_event(), time_ms=gateway.time_ms)
    admission = AdmissionTransactions(connections)
    _commit(admission, made[:2])
    _commit(admission, made[6:])
    _commit(admission, [declaration])
    assert tell_holes(connections, patience_ms=0) == 0
    assert [kind for kind, _, _ in _told(database_url)] == ["gap-declared"]
