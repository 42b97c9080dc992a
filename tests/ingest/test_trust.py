"""Whose word counts: keys that follow one another, and gateways that are revoked while ingestion runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.enrolment import revoke
from ingest.transaction import AdmissionTransactions, Committed
from ingest.trust import stored_trust
from store.database import Pool, connect, pool
from store.enrolment import decisions
from store.gateways import add_gateway, successors
from store.incidents import list_incidents
from store.quarantine import quarantine_reasons
from store.records import read_head, read_records
from wire.chain import verify_run
from wire.event import Event
from wire.keys import SigningKey
from wire.record import Record
from wire.rotation import KeyRotation
from wire.topics import record_topic

SECOND, THIRD, STRANGER = (SigningKey.from_bytes(bytes([number]) * 32) for number in (2, 3, 4))


@pytest.fixture
def connections(database_url: str) -> Any:
    with pool(database_url, 3) as opened:
        yield opened


@pytest.fixture
def trusted(database_url: str, gateway: Any) -> Any:
    """A gateway whose first key is registered."""
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    return gateway


@pytest.fixture
def admission(connections: Pool) -> AdmissionTransactions:
    return AdmissionTransactions(connections)


def rotate(gateway: Any, successor: SigningKey) -> Record:
    event = KeyRotation.make(gateway.id, gateway.chain.key.public, successor).to_event()
    record: Record = gateway.chain.append(event, time_ms=gateway.time_ms)
    gateway.records.append(record)
    gateway.chain.key = successor
    return record


def commit(admission: AdmissionTransactions, *records: Record) -> Committed:
    received_ms = time.time_ns() // 1_000_000
    return admission.commit([Message(record_topic("gw-01"), record.data, received_ms) for record in records])


@pytest.mark.parametrize("batch", [1, 3, 100], ids=["one-by-one", "in-threes", "all-at-once"])
def test_records_are_taken_over_changes_of_keys(
    database_url: str, admission: AdmissionTransactions, trusted: Any, batch: int
) -> None:
    trusted.make(4)
    rotate(trusted, SECOND)
    trusted.make(2)
    rotate(trusted, THIRD)
    trusted.make(3)
    made = trusted.records
    for start in range(0, len(made), batch):
        commit(admission, *made[start : start + batch])
    with connect(database_url) as conn:
        stored = [record.data for record in read_records(conn, "gw-01")]
        assert read_head(conn, "gw-01").seq == 11
        assert successors(conn) == {"gw-01": {6: SECOND.public.raw, 9: THIRD.public.raw}}
        assert [one.kind for one in decisions(conn, "gw-01")] == ["key-rotated"] * 2
        assert quarantine_reasons(conn) == {}
    assert stored == [record.data for record in made]
    assert verify_run(stored, trusted.key.public, gateway="gw-01").faults == []


def test_another_process_and_a_later_start_know_the_new_key(
    database_url: str, connections: Pool, admission: AdmissionTransactions, trusted: Any
) -> None:
    other = AdmissionTransactions(connections)
    commit(other, *trusted.make(2))
    commit(admission, rotate(trusted, SECOND))
    commit(other, *trusted.make(1))
    commit(AdmissionTransactions(connections), *trusted.make(1))
    with connect(database_url) as conn:
        assert read_head(conn, "gw-01").seq == 5
        trust = stored_trust(conn, "gw-01")
    assert trust is not None
    assert [trust.keys.at(seq) for seq in (3, 4)] == [trusted.key.public, SECOND.public]


def test_what_comes_again_from_before_the_change_is_a_duplicate(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    early = trusted.make(3)
    commit(admission, *early, rotate(trusted, SECOND), *trusted.make(1))
    assert commit(admission, *early).tally.duplicates == 3
    with connect(database_url) as conn:
        assert quarantine_reasons(conn) == {}


def test_a_hole_before_the_change_is_filled_by_the_old_key(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    early = trusted.make(4)
    late = [rotate(trusted, SECOND), *trusted.make(2)]
    commit(admission, *early[:2], *late)
    commit(admission, *early[2:])
    with connect(database_url) as conn:
        assert read_head(conn, "gw-01").seq == 7


def test_the_old_key_has_no_say_behind_the_change(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    commit(admission, *trusted.make(2), rotate(trusted, SECOND))
    trusted.chain.key = trusted.key
    stolen = trusted.make(1)
    assert commit(admission, *stolen).refused == {"wrong-key": 1}
    with connect(database_url) as conn:
        assert read_head(conn, "gw-01").seq == 3


def test_the_old_key_cannot_name_another_successor(
    database_url: str, admission: AdmissionTransactions, trusted: Any, new_gateway: Callable[..., Any]
) -> None:
    """Its thief forks the chain before the change and hands over to himself: an incident, and no word more."""
    trusted.make(2)
    thief = new_gateway("gw-01", trusted.key)
    thief.chain.seq, thief.chain.hash = trusted.chain.seq, trusted.chain.hash
    commit(admission, *trusted.records, rotate(trusted, SECOND))
    forged = rotate(thief, STRANGER)
    thief_says = thief.chain.append(Event("stop"), time_ms=1)
    commit(admission, forged, thief_says)
    commit(admission, *trusted.make(2))
    with connect(database_url) as conn:
        assert successors(conn) == {"gw-01": {4: SECOND.public.raw}}
        assert [one.kind for one in list_incidents(conn, "gw-01")] == ["unknown-key", "fork"]
        assert quarantine_reasons(conn) == {"wrong-key": 1}
        assert read_head(conn, "gw-01").seq == 5


def test_a_successor_that_has_not_proven_itself_is_not_taken(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    commit(admission, *trusted.make(2))
    event = KeyRotation(STRANGER.public, bytes(64)).to_event()
    record = trusted.chain.append(event, time_ms=1)
    assert commit(admission, record).refused == {"bad-rotation": 1}
    with connect(database_url) as conn:
        assert successors(conn) == {}
        assert read_head(conn, "gw-01").seq == 2


def test_a_revocation_counts_from_the_next_batch_on_and_is_one_incident(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    commit(admission, *trusted.make(3))
    with connect(database_url) as conn:
        revoke(conn, "gw-01", "stolen", "operator", time.time_ns() // 1_000_000)
    for record in trusted.make(3):
        assert commit(admission, record).refused == {"revoked-key": 1}
    with connect(database_url) as conn:
        assert len(list(read_records(conn, "gw-01"))) == 3
        assert quarantine_reasons(conn) == {"revoked-key": 3}
        assert [one.kind for one in list_incidents(conn, "gw-01")] == ["revoked-key"]


def test_what_had_arrived_before_the_revocation_is_taken(
    database_url: str, admission: AdmissionTransactions, trusted: Any
) -> None:
    at_ms = time.time_ns() // 1_000_000
    with connect(database_url) as conn:
        revoke(conn, "gw-01", "stolen", "operator", at_ms)
    waiting = [Message(record_topic("gw-01"), record.data, at_ms - 1) for record in trusted.make(2)]
    assert admission.commit(waiting).tally.stored == 2
