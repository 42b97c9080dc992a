from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database import Connection, connect
from store.errors import DuplicateRecordError
from store.gateways import add_gateway
from store.records import (
    NO_HASH,
    ChainHead,
    NewRecord,
    advance_head,
    content_digest,
    counts,
    descriptor_record,
    freshness,
    insert_records,
    lock_head,
    named_descriptors,
    newest_statement,
    read_head,
    read_records,
    record_bytes,
    record_hashes,
    records_before,
    records_beyond,
    statement_records,
)

MINUTE = 60_000
BEGIN = 1_760_000_000_000  # 2025-10-09T08:53:20Z


def record(seq: int, time_ms: int, samples: tuple[int, int] | None = None, kind: int = 0) -> NewRecord:
    data = f"record {seq} of {time_ms}".encode()
    return NewRecord(
        gateway="gw-01",
        seq=seq,
        time_ms=time_ms,
        first_sample_ms=None if samples is None else samples[0],
        last_sample_ms=None if samples is None else samples[1],
        kind=kind,
        hash=hashlib.sha256(data).digest(),
        descriptor_hash=NO_HASH,
        samples=0 if samples is None else 60,
        data=data,
        received_ms=time_ms + 1234,
    )


def minutes(count: int) -> list[NewRecord]:
    """Consecutive records of a minute each, closed a second after their last sample."""
    return [
        record(1 + i, BEGIN + (i + 1) * MINUTE, (BEGIN + i * MINUTE, BEGIN + (i + 1) * MINUTE - 1000))
        for i in range(count)
    ]


def seqs(records: Sequence[NewRecord]) -> list[int]:
    return [r.seq for r in records]


def test_what_was_stored_is_read_back_byte_for_byte(conn: Connection) -> None:
    stored = [*minutes(3), record(4, BEGIN + 5 * MINUTE, kind=2)]
    insert_records(conn, stored)
    assert [astuple(r) for r in read_records(conn, "gw-01")] == [astuple(r) for r in stored]
    assert list(read_records(conn, "gw-02")) == []


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2018, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2040, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
        datetime(2399, 7, 1, tzinfo=UTC),
    ],
    ids=lambda moment: str(moment.date()),
)
def test_a_record_of_any_date_can_be_stored(conn: Connection, moment: datetime) -> None:
    time_ms = round(moment.timestamp() * 1000)
    stored = record(1, time_ms, (time_ms - 5000, time_ms - 1))
    insert_records(conn, [stored])
    assert [astuple(r) for r in read_records(conn, "gw-01", from_ms=time_ms - 1, to_ms=time_ms)] == [astuple(stored)]


def test_a_record_cannot_be_stored_twice(conn: Connection) -> None:
    insert_records(conn, minutes(2))
    conn.commit()
    with pytest.raises(DuplicateRecordError, match="gw-01"):
        insert_records(conn, minutes(3)[1:])
    conn.rollback()
    assert seqs(list(read_records(conn, "gw-01"))) == [1, 2]


def test_a_range_is_half_open_and_selects_by_overlap(conn: Connection) -> None:
    insert_records(conn, minutes(5))

    def found(from_ms: int | None, to_ms: int | None) -> list[int]:
        return seqs(list(read_records(conn, "gw-01", from_ms=from_ms, to_ms=to_ms)))

    assert found(BEGIN + MINUTE, BEGIN + 2 * MINUTE) == [2]
    assert found(BEGIN + MINUTE - 1000, BEGIN + 2 * MINUTE + 1) == [1, 2, 3]
    assert found(BEGIN + MINUTE - 999, BEGIN + 2 * MINUTE) == [2]
    assert found(None, BEGIN + 1) == [1]
    assert found(BEGIN + 4 * MINUTE, None) == [5]


def test_a_record_without_samples_is_selected_by_its_closing_time(conn: Connection) -> None:
    insert_records(conn, [record(1, BEGIN)])
    assert seqs(list(read_records(conn, "gw-01", from_ms=BEGIN, to_ms=BEGIN + 1))) == [1]
    assert seqs(list(read_records(conn, "gw-01", from_ms=BEGIN - 1, to_ms=BEGIN))) == []


def test_records_are_selected_by_sequence_number_inclusively(conn: Connection) -> None:
    insert_records(conn, minutes(6))
    assert seqs(list(read_records(conn, "gw-01", first_seq=2, last_seq=4))) == [2, 3, 4]
    assert seqs(list(read_records(conn, "gw-01", first_seq=3, to_ms=BEGIN + 4 * MINUTE))) == [3, 4]


spans = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 1000), st.integers(0, 400)).map(lambda pair: (pair[0], pair[0] + pair[1])),
        st.none(),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=spans, delay=st.integers(0, 50), begin=st.integers(-10, 1010), length=st.integers(1, 300))
def test_a_range_finds_what_a_scan_finds(
    conn: Connection, spans: list[tuple[int, int] | None], delay: int, begin: int, length: int
) -> None:
    records = [
        record(i + 1, BEGIN + (500 if span is None else span[1]) + delay, span and (BEGIN + span[0], BEGIN + span[1]))
        for i, span in enumerate(spans)
    ]
    from_ms, to_ms = BEGIN + begin, BEGIN + begin + length
    expected = [
        r.seq
        for r in records
        if (r.first_sample_ms if r.first_sample_ms is not None else r.time_ms) < to_ms
        and (r.last_sample_ms if r.last_sample_ms is not None else r.time_ms) >= from_ms
    ]
    insert_records(conn, records)
    assert seqs(list(read_records(conn, "gw-01", from_ms=from_ms, to_ms=to_ms))) == expected
    conn.rollback()


@pytest.mark.parametrize("autocommit", [False, True])
def test_reading_goes_on_while_the_reader_uses_the_connection(database_url: str, autocommit: bool) -> None:
    with connect(database_url, autocommit=autocommit) as conn:
        insert_records(conn, minutes(600))
        seen = []
        for stored in read_records(conn, "gw-01"):
            seen.append(stored.seq)
            if stored.seq % 200 == 1:
                assert len(record_hashes(conn, "gw-01", 1, 600)) == 600
        assert seen == list(range(1, 601))


def test_hashes_of_missing_records_are_left_out(conn: Connection) -> None:
    stored = minutes(5)
    insert_records(conn, [stored[0], stored[3]])
    assert record_hashes(conn, "gw-01", 1, 5) == {1: stored[0].hash, 4: stored[3].hash}
    assert record_hashes(conn, "gw-01", 2, 3) == {}


def test_a_descriptor_is_found_by_its_hash_only_when_it_is_one(conn: Connection) -> None:
    descriptor, frames = record(1, BEGIN, kind=1), record(2, BEGIN + MINUTE)
    insert_records(conn, [descriptor, frames])
    found = descriptor_record(conn, "gw-01", descriptor.hash)
    assert found is not None
    assert found.data == descriptor.data
    assert descriptor_record(conn, "gw-01", frames.hash) is None


def test_the_content_digest_is_the_hash_of_the_hashes_of_the_bytes(conn: Connection) -> None:
    stored = minutes(3)
    insert_records(conn, list(reversed(stored)))
    parts = [r.seq.to_bytes(8, "big") + hashlib.sha256(r.data).digest() for r in stored]
    expected = hashlib.sha256(b"".join(parts)).digest()
    assert content_digest(conn, "gw-01", BEGIN, BEGIN + 3 * MINUTE) == expected
    assert content_digest(conn, "gw-01", BEGIN, BEGIN + 2 * MINUTE) != expected
    assert content_digest(conn, "gw-02", BEGIN, BEGIN + 3 * MINUTE) == hashlib.sha256(b"").digest()


def test_one_flipped_byte_changes_the_content_digest(conn: Connection) -> None:
    insert_records(conn, minutes(3))
    before = content_digest(conn, "gw-01", BEGIN, BEGIN + 3 * MINUTE)
    conn.execute("UPDATE record SET data = set_byte(data, 3, get_byte(data, 3) # 1) WHERE seq = 2")
    assert content_digest(conn, "gw-01", BEGIN, BEGIN + 3 * MINUTE) != before


def test_another_number_changes_the_content_digest(conn: Connection) -> None:
    insert_records(conn, minutes(3))
    before = content_digest(conn, "gw-01", BEGIN, BEGIN + 3 * MINUTE)
    conn.execute("UPDATE record SET seq = 77 WHERE seq = (SELECT max(seq) FROM record)")
    assert content_digest(conn, "gw-01", BEGIN, BEGIN + 3 * MINUTE) != before


def test_records_before_a_number_come_in_reverse(conn: Connection) -> None:
    stored = minutes(12)
    insert_records(conn, stored)
    before = records_before(conn, "gw-01", stored[9].seq)
    assert [record.seq for record in before] == [record.seq for record in reversed(stored[:9])]
    assert list(records_before(conn, "gw-02", stored[9].seq)) == []


def test_the_chain_begins_at_nothing_and_advances(conn: Connection) -> None:
    add_gateway(conn, "gw-01", bytes([1]) * 32)
    assert lock_head(conn, "gw-01") == ChainHead(0, bytes(32)) == read_head(conn, "gw-01")
    advance_head(conn, "gw-01", ChainHead(7, b"h" * 32))
    assert lock_head(conn, "gw-01") == ChainHead(7, b"h" * 32) == read_head(conn, "gw-01")


def test_two_writers_of_a_gateway_take_turns(conn: Connection, database_url: str) -> None:
    add_gateway(conn, "gw-01", bytes([1]) * 32)
    conn.commit()

    def advance() -> None:
        with connect(database_url) as own:
            for _ in range(25):
                head = lock_head(own, "gw-01")
                advance_head(own, "gw-01", ChainHead(head.seq + 1, head.hash))
                own.commit()

    writers = [threading.Thread(target=advance) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert read_head(conn, "gw-01").seq == 100


def test_counts_are_counted_from_the_rows(conn: Connection) -> None:
    for gateway in ("gw-01", "gw-02"):
        add_gateway(conn, gateway, gateway.encode().ljust(32))
    stored = minutes(4)
    insert_records(conn, stored)
    lock_head(conn, "gw-01")
    advance_head(conn, "gw-01", ChainHead(4, stored[3].hash))
    found = counts(conn)
    assert found["gw-01"].records == 4
    assert found["gw-01"].samples == 240
    assert found["gw-01"].bytes == sum(len(r.data) for r in stored)
    assert found["gw-01"].head_seq == 4
    assert found["gw-01"].newest_time_ms == stored[3].time_ms
    assert found["gw-01"].newest_received_ms == stored[3].received_ms
    assert (found["gw-02"].records, found["gw-02"].head_seq, found["gw-02"].newest_time_ms) == (0, 0, None)
    newest = freshness(conn)["gw-01"]
    assert astuple(newest) == (4, stored[3].time_ms, stored[3].received_ms)


def test_the_events_of_a_gateway_are_read_by_their_index_however_many_records_there_are(conn: Connection) -> None:
    """As a page of a project reads them: over all of its time."""
    rows = [record(seq, BEGIN + seq * MINUTE, kind=0 if seq % 1_000 else 2) for seq in range(1, 6_001)]
    insert_records(conn, rows)
    conn.commit()
    conn.execute("ANALYZE record")
    conn.commit()
    from_ms, to_ms = BEGIN, BEGIN + 10_000 * MINUTE
    used = (
        "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes"
        " WHERE pg_get_indexdef(indexrelid) LIKE '%WHERE (kind = 2)'"
    )

    def scans() -> int:
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.commit()
        row = conn.execute(used).fetchone()
        return 0 if row is None else int(row[0])

    before = scans()
    for _ in range(8):
        found = [one.seq for one in read_records(conn, "gw-01", from_ms=from_ms, to_ms=to_ms, kind=2)]
        assert found == [1_000, 2_000, 3_000, 4_000, 5_000, 6_000]
        conn.commit()
    assert scans() >= before + 8


def test_bytes_of_many_records_come_in_their_order(conn: Connection) -> None:
    stored = minutes(1_200)
    insert_records(conn, stored)
    assert list(record_bytes(conn, "gw-01", 3, 1_199)) == [
        (one.seq, one.data, one.received_ms) for one in stored[2:1_199]
    ]
    part = record_bytes(conn, "gw-01", 1, 1_200)
    assert next(part)[0] == 1
    part.close()
    assert next(record_bytes(conn, "gw-01", 7, 7))[0] == 7, "the cursor was closed"


def test_the_descriptors_and_events_of_a_run(conn: Connection) -> None:
    stored = minutes(300)
    for seq, kind in ((5, 2), (100, 2), (120, 1), (130, 3)):
        stored[seq - 1] = record(seq, stored[seq - 1].time_ms, kind=kind)
    insert_records(conn, stored)
    assert [(one.seq, one.data) for one in statement_records(conn, "gw-01", 10, 300)] == [
        (seq, stored[seq - 1].data) for seq in (100, 120)
    ]
    assert newest_statement(conn, "gw-01") == 120
    assert newest_statement(conn, "gw-02") == 0


def test_records_of_a_run_beyond_a_range_and_what_they_name(conn: Connection) -> None:
    stored = minutes(10)
    insert_records(conn, stored)
    range_ms = (BEGIN + 2 * MINUTE, BEGIN + 5 * MINUTE)
    inside = [one.seq for one in read_records(conn, "gw-01", from_ms=range_ms[0], to_ms=range_ms[1])]
    beyond = [one.seq for one in records_beyond(conn, "gw-01", range_ms, 2, 9)]
    assert sorted([*inside, *beyond]) == list(range(2, 10))
    assert inside
    assert beyond
    assert named_descriptors(conn, "gw-01", 2, 9) == {NO_HASH: 8}
