"""When records came, kept by day: always what the records themselves say, whatever is kept of it."""

from __future__ import annotations

import random

import pytest

from store.arrivals import (
    Arrival,
    arrival_days,
    computed_arrivals,
    first_arrivals,
    kept_arrivals,
    replace_arrivals,
)
from store.database import Connection
from store.records import NO_HASH, NewRecord, insert_records, statement_records

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MIDNIGHT = 1_759_276_800_000  # 2025-10-01T00:00:00Z
EVERY_MS = 10 * MINUTE_MS
DAYS = 4
RECORDS = DAYS * DAY_MS // EVERY_MS


def record(seq: int, begin_ms: int, received_ms: int, kind: int = 0) -> NewRecord:
    closed_ms = begin_ms + EVERY_MS
    return NewRecord(
        gateway="gw-01",
        seq=seq,
        time_ms=closed_ms,
        first_sample_ms=None if kind else begin_ms,
        last_sample_ms=None if kind else closed_ms - 1000,
        kind=kind,
        hash=seq.to_bytes(32, "big"),
        descriptor_hash=NO_HASH,
        samples=0 if kind else 10,
        data=seq.to_bytes(8, "big"),
        received_ms=received_ms,
    )


def chain(*, kinds: dict[int, int] | None = None) -> list[NewRecord]:
    """Four days of records; those of the second day came together in the third, after the line was back."""
    made = []
    for seq in range(1, RECORDS + 1):
        begin_ms = MIDNIGHT + (seq - 1) * EVERY_MS
        day = (begin_ms - MIDNIGHT) // DAY_MS
        received_ms = MIDNIGHT + 2 * DAY_MS + HOUR_MS + seq * 50 if day == 1 else begin_ms + EVERY_MS + 350
        made.append(record(seq, begin_ms, received_ms, (kinds or {}).get(seq, 0)))
    return made


def expected(records: list[NewRecord], first: int, last: int) -> list[Arrival]:
    found: dict[int, Arrival] = {}
    for one in sorted(records, key=lambda one: one.seq):
        if first <= one.seq <= last:
            arrival = Arrival(one.seq, one.time_ms, one.received_ms)
            found.setdefault(one.received_ms // HOUR_MS, arrival)
    return list(found.values())


def found(conn: Connection, first: int, last: int) -> list[Arrival]:
    statements = [
        Arrival(one.seq, one.time_ms, one.received_ms) for one in statement_records(conn, "gw-01", first, last)
    ]
    return first_arrivals(conn, "gw-01", first, last, statements)


def keep(conn: Connection, days: range = range(DAYS + 1)) -> None:
    for day in days:
        replace_arrivals(conn, "gw-01", MIDNIGHT + day * DAY_MS)


RUNS = [(1, RECORDS), (100, 400), (145, 288), (RECORDS, RECORDS), (150, 149)]


@pytest.mark.parametrize(("first", "last"), RUNS)
@pytest.mark.parametrize("kept", [range(0), range(DAYS), range(1, 3), range(2, 3)], ids=str)
def test_what_is_kept_of_some_days_changes_nothing(conn: Connection, first: int, last: int, kept: range) -> None:
    records = chain(kinds={1: 1, 2: 2, 200: 2, 201: 3, 300: 1})
    insert_records(conn, records)
    keep(conn, kept)
    assert found(conn, first, last) == expected(records, first, last)


def test_what_is_kept_is_used(conn: Connection) -> None:
    """Otherwise a year of records would be gone through after all."""
    insert_records(conn, chain(kinds={1: 1, 2: 2, 300: 1}))
    keep(conn)
    conn.execute("UPDATE arrival_day SET received_ms = ARRAY(SELECT 7 FROM unnest(received_ms))")
    assert {one.received_ms for one in found(conn, 3, RECORDS)} > {7}
    assert len(found(conn, 145, 288)) == 1, "one whole day"
    conn.execute("UPDATE arrival_day SET records = records - 1")
    assert 7 not in {one.received_ms for one in found(conn, 3, RECORDS)}


def test_records_that_came_since_and_holes_are_looked_up(conn: Connection) -> None:
    records = chain()
    hole = range(320, 330)
    early = [one for one in records if one.seq <= 500 and one.seq not in hole]
    insert_records(conn, early)
    keep(conn)
    assert found(conn, 1, 500) == expected(early, 1, 500)
    insert_records(conn, [one for one in records if one.seq > 500 or one.seq in hole])
    assert found(conn, 1, RECORDS) == expected(records, 1, RECORDS), "the days were not computed again yet"


def test_a_clock_that_was_set_back_puts_numbers_into_two_days(conn: Connection) -> None:
    records = chain()
    back = [record(RECORDS + 1 + n, MIDNIGHT + DAY_MS + n * EVERY_MS + 1, MIDNIGHT + 5 * DAY_MS) for n in range(100)]
    insert_records(conn, records + back)
    keep(conn)
    for first, last in [*RUNS, (1, RECORDS + 50), (200, RECORDS + 100)]:
        assert found(conn, first, last) == expected(records + back, first, last)


def test_any_order_of_receipt_gives_the_same(conn: Connection) -> None:
    chance = random.Random(7)
    records = [
        record(seq, MIDNIGHT + chance.randrange(DAYS) * DAY_MS + seq * 1000, MIDNIGHT + chance.randrange(40) * HOUR_MS)
        for seq in range(1, 200)
    ]
    insert_records(conn, records)
    keep(conn)
    for first, last in [(1, 199), (50, 150), (199, 199)]:
        assert found(conn, first, last) == expected(records, first, last)


def test_a_day_is_kept_as_computed_and_forgotten_with_its_records(conn: Connection) -> None:
    insert_records(conn, chain(kinds={1: 1}))
    keep(conn)
    days = [MIDNIGHT + day * DAY_MS for day in range(DAYS)]
    assert arrival_days(conn, "gw-01", MIDNIGHT, MIDNIGHT + 9 * DAY_MS) == days
    assert arrival_days(conn, "gw-02", MIDNIGHT, MIDNIGHT + 9 * DAY_MS) == []
    day = kept_arrivals(conn, "gw-01", MIDNIGHT)
    assert day == computed_arrivals(conn, "gw-01", MIDNIGHT)
    assert day is not None
    assert (day.first_seq, day.last_seq, day.records, len(day.arrivals)) == (2, 144, 143, 25)
    conn.execute("DELETE FROM record WHERE seq <= 144")
    keep(conn)
    assert kept_arrivals(conn, "gw-01", MIDNIGHT) is None
    assert computed_arrivals(conn, "gw-01", MIDNIGHT) is None
