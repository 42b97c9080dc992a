"""What may go goes, what is kept stays, and the account ties the chain together over it."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from store.database import Connection
from store.gateways import add_gateway
from store.records import ChainHead, NewRecord, advance_head, insert_records, lock_head, read_records
from store.retention import (
    Removable,
    Removal,
    count_removable,
    drop_empty_pieces,
    is_removed,
    longest_samples_ms,
    remove_records,
    removed_runs,
)

DAY_MS = 86_400_000
JANUARY_MS = 1_704_067_200_000  # 2024-01-01
FRAMES, EVENT = 0, 2


def digest(seq: int) -> bytes:
    return hashlib.sha256(str(seq).encode()).digest()


@pytest.fixture
def filled(conn: Connection) -> Connection:
    """One record a day from January to April; every 20th is an event."""
    add_gateway(conn, "gw-01", bytes(range(32)))
    rows = []
    for seq in range(1, 121):
        time_ms = JANUARY_MS + (seq - 1) * DAY_MS
        event = seq % 20 == 0
        span = (None, None) if event else (time_ms, time_ms + 60_000)
        kind = EVENT if event else FRAMES
        rows.append(NewRecord("gw-01", seq, time_ms, *span, kind, digest(seq), bytes(32), 10, b"12345", time_ms))
    insert_records(conn, rows)
    lock_head(conn, "gw-01")
    advance_head(conn, "gw-01", ChainHead(120, digest(120)))
    conn.commit()
    return conn


def seqs(conn: Connection) -> list[int]:
    return [record.seq for record in read_records(conn, "gw-01")]


def test_only_what_is_removable_is_counted_and_removed(filled: Connection) -> None:
    what = Removable("gw-01", JANUARY_MS + 50 * DAY_MS, (FRAMES,), kept=((5, 8), (30, 30)))
    gone = [seq for seq in range(1, 51) if seq % 20 and not 5 <= seq <= 8 and seq != 30]
    assert count_removable(filled, what) == Removal(len(gone), 10 * len(gone), 5 * len(gone), 1, 50)
    assert remove_records(filled, what, 1, 25, "keep 30 days") == len([seq for seq in gone if seq <= 25])
    assert remove_records(filled, what, 26, 50, "keep 30 days") == len([seq for seq in gone if seq > 25])
    assert seqs(filled) == [seq for seq in range(1, 121) if seq not in gone]
    assert count_removable(filled, what) == Removal(0, 0, 0, None, None)


def test_the_account_ties_the_chain_together(filled: Connection) -> None:
    what = Removable("gw-01", JANUARY_MS + 50 * DAY_MS, (FRAMES,), kept=((5, 8),))
    remove_records(filled, what, 1, 25, "keep 30 days")
    remove_records(filled, what, 26, 50, "keep 30 days")
    runs = [(run.first_seq, run.last_seq, run.before, run.hash) for run in removed_runs(filled, "gw-01")]
    assert runs == [
        (1, 4, bytes(32), digest(4)),
        (9, 19, digest(8), digest(19)),
        (21, 25, digest(20), digest(25)),
        (26, 39, digest(25), digest(39)),
        (41, 50, digest(40), digest(50)),
    ]
    first = removed_runs(filled)[0]
    assert (first.samples, first.bytes, first.first_sample_ms) == (40, 20, JANUARY_MS)
    assert first.last_sample_ms == JANUARY_MS + 3 * DAY_MS + 60_000
    assert first.policy == "keep 30 days"


def test_a_record_with_a_sample_at_the_limit_stays_and_so_does_what_lies_behind_a_hole(filled: Connection) -> None:
    limit_ms = JANUARY_MS + 10 * DAY_MS + 60_000
    advance_head(filled, "gw-01", ChainHead(7, digest(7)))
    assert count_removable(filled, Removable("gw-01", limit_ms, (FRAMES,), ())).last_seq == 7
    advance_head(filled, "gw-01", ChainHead(120, digest(120)))
    assert count_removable(filled, Removable("gw-01", limit_ms, (FRAMES,), ())).last_seq == 10
    assert count_removable(filled, Removable("gw-01", limit_ms + 1, (FRAMES,), ())).last_seq == 11


def test_whether_a_time_has_lost_records_is_known(filled: Connection) -> None:
    remove_records(filled, Removable("gw-01", JANUARY_MS + 10 * DAY_MS, (FRAMES,), ()), 3, 5, "test")
    last_ms = JANUARY_MS + 4 * DAY_MS + 60_000
    assert is_removed(filled, "gw-01", last_ms, last_ms + 1)
    assert not is_removed(filled, "gw-01", last_ms + 1, last_ms + DAY_MS)
    assert not is_removed(filled, "gw-01", 0, JANUARY_MS + 2 * DAY_MS)
    assert not is_removed(filled, "gw-02", last_ms, last_ms + 1)


def test_only_pieces_that_hold_nothing_and_are_over_are_dropped(filled: Connection) -> None:
    def pieces() -> int:
        row = filled.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'record'::regclass").fetchone()
        return 0 if row is None else int(row[0])

    before = pieces()
    limit_ms = JANUARY_MS + 91 * DAY_MS
    assert drop_empty_pieces(filled, limit_ms) == 0
    filled.execute("DELETE FROM record WHERE seq BETWEEN 1 AND 65")
    assert drop_empty_pieces(filled, JANUARY_MS) == 0
    dropped = drop_empty_pieces(filled, limit_ms)
    assert 1 <= dropped <= 2, "two months, or one or two chunks of thirty days"
    assert pieces() == before - dropped
    assert seqs(filled) == list(range(66, 121))
    assert longest_samples_ms(filled, "gw-01") == 60_000
    filled.commit()
    insert_records(
        filled, [NewRecord("gw-01", 2, JANUARY_MS, None, None, 2, digest(2), bytes(32), 0, b"x", JANUARY_MS)]
    )
    assert seqs(filled)[0] == 2, "what comes late finds its place"


def test_the_account_cannot_be_changed(filled: Connection) -> None:
    remove_records(filled, Removable("gw-01", JANUARY_MS + 10 * DAY_MS, (FRAMES,), ()), 1, 9, "test")
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        filled.execute("DELETE FROM removed_run")
