"""Keys that nobody knows and records on another's topic are told once a day, and the bytes are in quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool
from store.gateways import add_gateway
from store.incidents import count_incident, list_incidents
from store.quarantine import list_quarantine, quarantine_reasons
from wire.topics import record_topic

RECEIVED_MS = 1_760_000_500_000
DAY_MS = 86_400_000


@pytest.fixture
def commit(database_url: str) -> Any:
    with pool(database_url, 2) as connections:
        admission = AdmissionTransactions(connections)

        def commit(topic: str, *datas: bytes) -> int:
            return admission.commit([Message(topic, data, RECEIVED_MS) for data in datas]).tally.incidents

        yield commit


@pytest.fixture
def registered(database_url: str, gateway: Any, new_gateway: Callable[..., Any]) -> Any:
    """gw-01, and gw-02 beside it."""
    other = new_gateway("gw-02")
    with connect(database_url) as conn:
        for one in (gateway, other):
            add_gateway(conn, one.id, one.key.public.raw)
    return gateway


def told(database_url: str) -> list[tuple[str, str, str, int]]:
    with connect(database_url) as conn:
        return [(one.kind, one.gateway, one.detail["reason"], one.detail["messages"]) for one in list_incidents(conn)]


def test_an_unknown_key_is_one_incident_with_a_count(
    database_url: str, commit: Any, registered: Any, new_gateway: Callable[..., Any]
) -> None:
    stranger = [record.data for record in new_gateway(registered.id).make(4)]
    assert commit(record_topic("gw-01"), *stranger[:2]) == 1
    assert commit(record_topic("gw-01"), *stranger) == 0, "sent again, and two more"
    assert told(database_url) == [("unknown-key", "gw-01", "wrong-key", 4)]
    with connect(database_url) as conn:
        assert sorted(one.data for one in list_quarantine(conn)) == sorted(stranger)


def test_names_that_nobody_registered_are_one_incident_however_many(
    database_url: str, commit: Any, new_gateway: Callable[..., Any]
) -> None:
    for number in range(5):
        made_up = new_gateway(f"made-up-{number}")
        commit(record_topic(made_up.id), made_up.make(1)[0].data)
    assert told(database_url) == [("unknown-key", "", "unknown-gateway", 5)]


def test_a_stored_record_on_the_topic_of_another_gateway_is_an_incident_of_that(
    database_url: str, commit: Any, registered: Any
) -> None:
    made = [record.data for record in registered.make(3)]
    assert commit(record_topic("gw-01"), *made) == 0
    assert commit(record_topic("gw-02"), *made) == 1
    assert told(database_url) == [("foreign-gateway", "gw-02", "foreign-gateway", 3)]
    with connect(database_url) as conn:
        assert sorted(one.data for one in list_quarantine(conn)) == sorted(made)


def test_what_was_damaged_on_its_way_is_in_quarantine_and_no_incident(
    database_url: str, commit: Any, registered: Any
) -> None:
    data = bytearray(registered.make(1)[0].data)
    data[-1] ^= 1
    assert commit(record_topic("gw-01"), bytes(data), b"garbage") == 0
    with connect(database_url) as conn:
        assert sum(quarantine_reasons(conn).values()) == 2
        assert list_incidents(conn) == []


def test_another_day_is_another_incident(database_url: str) -> None:
    midnight = RECEIVED_MS - RECEIVED_MS % DAY_MS
    with connect(database_url) as conn:
        new = [
            count_incident(conn, "gw-01", "unknown-key", None, {}, 2, at_ms)
            for at_ms in (midnight - 1, midnight, midnight + DAY_MS - 1, midnight + DAY_MS)
        ]
        assert new == [True, True, False, True]
        assert [one.detail["messages"] for one in list_incidents(conn)] == [2, 4, 2]
