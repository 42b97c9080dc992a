"""A project whose gateway has changed its key: proven from the enrolled key on, whatever the database says of keys."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Protocol

import pytest
from fastapi.testclient import TestClient

from store.database import Connection, connect
from store.gateways import add_successor
from store.projects import put_project
from store.records import ChainHead, advance_head, insert_records, lock_head, read_records
from wire.chain import ChainWriter
from wire.keys import SigningKey
from wire.record import Kind, open_record
from wire.rotation import KeyRotation

SECOND, STRANGER = SigningKey.from_bytes(bytes([2]) * 32), SigningKey.from_bytes(bytes([3]) * 32)
ROTATIONS = {"early": 5, "in_the_middle": 40, "late": 70}
"""Behind which record the key changes."""

LATER_BASELINE = ("baseline:  {from: 2025-07-01", "baseline:  {from: 2025-07-10")
BEFORE_THE_PLAN = 1_751_000_000_000


class Stored(Protocol):
    """The filled database of `conftest.py`, and the key of its gateway."""

    database_url: str
    key: SigningKey


def evidence(client: TestClient) -> dict[str, Any]:
    answer = client.get("/projects/PL-TEST-001/evidence.json")
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def sign_again(connection: Connection, first: SigningKey, behind: int) -> int:
    """Make the stored chain one in which SECOND follows ``first`` behind record ``behind``; return that place."""
    stored = list(read_records(connection, "gw-01"))
    chain = ChainWriter("gw-01", first, boot_id=bytes(16))
    made = []
    for one in stored:
        payload = open_record(one.data, first.public).payload
        record = chain.append(payload.body, time_ms=payload.time_ms, clock=payload.clock)
        made.append(replace(one, seq=record.seq, hash=record.hash, descriptor_hash=chain.descriptor, data=record.data))
        if payload.seq == behind:
            rotation = KeyRotation.make("gw-01", first.public, SECOND).to_event()
            record = chain.append(rotation, time_ms=payload.time_ms, clock=payload.clock)
            chain.key = SECOND
            event = replace(one, seq=record.seq, kind=int(Kind.EVENT), hash=record.hash, data=record.data, samples=0)
            made.append(replace(event, first_sample_ms=None, last_sample_ms=None))
    connection.execute("DELETE FROM record")
    lock_head(connection, "gw-01")
    insert_records(connection, made)
    advance_head(connection, "gw-01", ChainHead(chain.seq, chain.hash))
    add_successor(connection, "gw-01", behind + 2, SECOND.public.raw)
    return behind + 1


@pytest.fixture(params=ROTATIONS.values(), ids=ROTATIONS.keys())
def rotation(request: pytest.FixtureRequest, factory: Stored) -> int:
    """The number of the record that changes the key."""
    with connect(factory.database_url) as connection:
        return sign_again(connection, factory.key, request.param)


def register(factory: Stored, text: str) -> None:
    with connect(factory.database_url) as connection:
        put_project(connection, "PL-TEST-001", text, hashlib.sha256(text.encode()).digest(), BEFORE_THE_PLAN)


def test_the_project_is_proven_over_the_change(client: TestClient, rotation: int) -> None:
    proof = evidence(client)["proof"]
    assert proof["proven"] is True, proof["faults"]
    assert ("key-rotated", rotation) in [(notice["fault"], notice["seq"]) for notice in proof["notices"]]


def test_a_span_that_begins_after_the_change_is_proven(
    client: TestClient, factory: Stored, plan_text: str, rotation: int
) -> None:
    register(factory, plan_text.replace(*LATER_BASELINE))
    assert rotation
    assert evidence(client)["proof"]["proven"] is True


def test_who_asks_the_database_which_keys_there_were_is_not_misled(
    client: TestClient, factory: Stored, rotation: int
) -> None:
    """Where to look for a change of keys is read from a table; whether it is one, from the signed record alone."""
    assert rotation
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE gateway_key SET public_key = %s", (STRANGER.public.raw,))
    assert evidence(client)["proof"]["proven"] is True


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record WHERE seq = {}",
        "UPDATE record SET data = overlay(data PLACING '\\x00'::bytea FROM 60) WHERE seq = {}",
        "UPDATE record SET data = other.data FROM record AS other WHERE record.seq = {} AND other.seq = 2",
    ],
    ids=["removed", "altered", "replaced"],
)
def test_without_the_record_of_the_change_nothing_behind_it_is_proven(
    client: TestClient, factory: Stored, rotation: int, statement: str
) -> None:
    assert evidence(client)["proof"]["proven"] is True
    with connect(factory.database_url) as connection:
        assert connection.execute(statement.format(rotation)).rowcount == 1
    proof = evidence(client)["proof"]
    assert (proof["proven"], proof["signature"]) == (False, "fail")
    assert "wrong-key" in {one["fault"] for one in proof["faults"]}


def test_a_change_that_a_stranger_has_signed_is_none(client: TestClient, factory: Stored) -> None:
    """He may write to the database, and puts a whole history of his own behind a change of keys that he made up."""
    with connect(factory.database_url) as connection:
        stored = list(read_records(connection, "gw-01"))
        chain = ChainWriter("gw-01", STRANGER, seq=39, hash=stored[38].hash, boot_id=bytes(16))
        chain.descriptor = stored[0].hash
        forged = KeyRotation.make("gw-01", factory.key.public, STRANGER).to_event()
        made = [replace(stored[39], data=chain.append(forged, time_ms=stored[39].time_ms).data, seq=40)]
        for one in stored[39:-1]:
            payload = open_record(one.data, None).payload
            record = chain.append(payload.body, time_ms=payload.time_ms, clock=payload.clock)
            made.append(replace(one, seq=record.seq, hash=record.hash, data=record.data))
        connection.execute("DELETE FROM record WHERE seq >= 40")
        insert_records(connection, made)
        connection.execute("UPDATE chain_head SET seq = %s, hash = %s", (chain.seq, chain.hash))
        add_successor(connection, "gw-01", 41, STRANGER.public.raw)
    proof = evidence(client)["proof"]
    assert (proof["proven"], proof["signature"]) == (False, "fail")
    assert {fault["fault"] for fault in proof["faults"]} >= {"wrong-key"}
