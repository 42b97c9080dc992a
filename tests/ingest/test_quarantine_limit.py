"""Anyone who may publish can fill the quarantine; it must not fill the disk."""

from __future__ import annotations

import os

from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool, transaction
from store.incidents import list_incidents
from store.migrations import migrate
from store.quarantine import list_quarantine, quarantine_bytes, quarantine_count
from wire.topics import record_topic

LIMIT = 100_000


def flood(count: int) -> list[Message]:
    return [Message(record_topic("gw-99"), os.urandom(2000), 1_760_000_000_000 + number) for number in range(count)]


def test_a_flood_is_counted_and_kept_up_to_the_limit(database_url: str) -> None:
    with connect(database_url) as conn:
        migrate(conn)
    with pool(database_url, max_size=2) as connections:
        admission = AdmissionTransactions(connections, quarantine_limit=LIMIT)
        tallies = [admission.commit(flood(50)).tally for _ in range(4)]
        assert [tally.quarantined for tally in tallies] == [50] * 4
        restarted = AdmissionTransactions(connections, quarantine_limit=LIMIT)
        assert restarted.commit(flood(50)).tally.quarantined == 50
        with transaction(connections) as conn:
            assert LIMIT * 0.7 < quarantine_bytes(conn) <= LIMIT
            assert quarantine_count(conn) == len(list_quarantine(conn, 1000)) < 50
            incidents = [(one.gateway, one.kind, one.detail) for one in list_incidents(conn)]
    assert incidents == [("", "quarantine-full", {"limit_bytes": LIMIT})] * 2
