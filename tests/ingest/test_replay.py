"""Stored records that come again: the ordinary is counted only, what a gateway need not send is an incident."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ingest.authentication import Arrival, Message
from ingest.replay import PATIENCE_MS, REPLAYED, ReplayWatch
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool
from store.gateways import add_gateway
from store.incidents import list_incidents
from wire.chain import ChainWriter
from wire.event import Event, Gap
from wire.keys import SigningKey
from wire.limits import MAXIMUM_WINDOW_RECORDS
from wire.topics import record_topic

KEY = SigningKey.from_bytes(bytes(range(32)))
WINDOW = MAXIMUM_WINDOW_RECORDS
NOW_MS = 1_760_000_000_000
LATER_MS = NOW_MS + PATIENCE_MS
NEWEST = 3 * WINDOW


def arrivals(seqs: Sequence[int], received_ms: int, body: Event | None = None) -> list[Arrival]:
    """Records with these numbers, received together."""
    made = []
    for seq in seqs:
        chain = ChainWriter("gw-01", KEY, seq=seq - 1, hash=bytes(32))
        record = chain.append(body or Event("start"), time_ms=received_ms)
        made.append(Arrival(record, Message(record_topic("gw-01"), record.data, received_ms)))
    return made


def replays(watch: ReplayWatch, seqs: Sequence[int], received_ms: int, head_seq: int = NEWEST) -> list[int]:
    return [one.record.seq for one in watch.replayed("gw-01", head_seq, arrivals(seqs, received_ms))]


@pytest.fixture
def watch() -> ReplayWatch:
    """A process that took the newest record at `NOW_MS`."""
    watch = ReplayWatch()
    watch.note("gw-01", NEWEST, arrivals([NEWEST], NOW_MS))
    return watch


def test_what_a_gateway_need_not_send_any_more_is_a_replay(watch: ReplayWatch) -> None:
    behind = NEWEST - WINDOW
    assert replays(watch, [1, behind - 1, behind, NEWEST], LATER_MS) == [1, behind - 1]


def test_an_agent_sends_its_window_again_for_days(watch: ReplayWatch) -> None:
    window = range(NEWEST - WINDOW, NEWEST + 1, 997)
    for day in range(5):
        received_ms = NOW_MS + day * 24 * PATIENCE_MS
        assert replays(watch, window, received_ms) == []
        watch.note("gw-01", NEWEST, arrivals(window, received_ms))


def test_what_is_under_way_at_the_broker_comes_again_soon(watch: ReplayWatch) -> None:
    assert replays(watch, [1], LATER_MS - 1) == []


def test_a_new_process_finds_the_backlog_of_a_dead_one_stored_by_another() -> None:
    watch = ReplayWatch()
    for hour in range(30):
        seqs = range(1 + hour * 1000, 1 + (hour + 1) * 1000, 100)
        received_ms = NOW_MS + hour * PATIENCE_MS
        assert replays(watch, seqs, received_ms) == []
        watch.note("gw-01", NEWEST, arrivals(seqs, received_ms))


def test_a_gap_event_sent_ahead_says_nothing_about_what_the_gateway_knows() -> None:
    watch = ReplayWatch()
    gap = Gap(2, 20, bytes(32), bytes(32), 0, "full")
    watch.note("gw-01", NEWEST, [*arrivals([21], NOW_MS), *arrivals([NEWEST], NOW_MS, gap.to_event())])
    assert replays(watch, [21, 22], LATER_MS) == []


def test_a_restored_database_begins_anew(watch: ReplayWatch) -> None:
    restored_to = NEWEST - 2 * WINDOW
    assert replays(watch, [1], LATER_MS, head_seq=restored_to) == []
    watch.note("gw-01", restored_to, arrivals([restored_to], LATER_MS))
    assert replays(watch, [restored_to - WINDOW + 1], LATER_MS + PATIENCE_MS) == []


def test_recorded_messages_played_back_are_one_incident_a_day_with_a_count(
    database_url: str, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The rule's window is 28 hours of records; the chain of a test is shorter.
    monkeypatch.setattr("ingest.replay.MAXIMUM_WINDOW_RECORDS", 5)
    records = gateway.make(20)
    topic = record_topic(gateway.id)
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    with pool(database_url, 2) as connections:
        admission = AdmissionTransactions(connections)

        def commit(seqs: Sequence[int], received_ms: int) -> int:
            return admission.commit(
                [Message(topic, records[seq - 1].data, received_ms) for seq in seqs]
            ).tally.incidents

        assert commit(range(1, 21), NOW_MS) == 0
        assert commit(range(16, 21), LATER_MS) == 0, "the window, sent again"
        assert [commit(seqs, LATER_MS) for seqs in ((3, 4, 5, 19), (3,), (7, 8))] == [1, 0, 0]
    with connect(database_url) as conn:
        (told,) = list_incidents(conn)
    assert (told.gateway, told.kind, told.seq, told.data) == ("gw-01", REPLAYED, 3, None)
    assert told.detail == {"first": 3, "last": 5, "topic": topic, "messages": 6}
