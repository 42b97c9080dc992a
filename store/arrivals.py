"""When the records of a gateway were received: of those that came within one hour (UTC) the first.

Kept by day, as a projection of the columns of the records, so that a year of them need not be gone through.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql

from store.database import Connection
from store.instants import instant

HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class Arrival(NamedTuple):
    """Record ``seq`` was closed by its gateway at ``closed_ms`` and received at ``received_ms`` (UTC)."""

    seq: int
    closed_ms: int
    received_ms: int


@dataclass(frozen=True, slots=True)
class ArrivalDay:
    """Of a gateway's records of samples that begin in one UTC day: how many there are, the lowest and the highest
    number, and the first that was received in each hour, in the order of their numbers."""

    first_seq: int
    last_seq: int
    records: int
    arrivals: tuple[Arrival, ...]


def computed_arrivals(conn: Connection, gateway: str, day_ms: int) -> ArrivalDay | None:
    """The arrivals of a day (start, UTC) as the records say now; None when no record of samples begins in it."""
    rows = conn.execute(
        """
        SELECT min(seq), max(seq), count(*), epoch_ms((array_agg(time ORDER BY seq))[1]),
               epoch_ms((array_agg(received ORDER BY seq))[1])
        FROM record
        WHERE gateway = %s AND coalesce(first_sample, time) >= %s AND coalesce(first_sample, time) < %s AND kind = 0
        GROUP BY date_bin('1 hour', received, 'epoch') ORDER BY 1
        """,
        (gateway, instant(day_ms), instant(day_ms + DAY_MS)),
        binary=True,
    ).fetchall()
    if not rows:
        return None
    return ArrivalDay(
        first_seq=rows[0][0],
        last_seq=max(row[1] for row in rows),
        records=sum(row[2] for row in rows),
        arrivals=tuple(Arrival(seq, closed_ms, received_ms) for seq, _, _, closed_ms, received_ms in rows),
    )


def replace_arrivals(conn: Connection, gateway: str, day_ms: int) -> None:
    """Write the arrivals of a day as the records say now. The caller has claimed the day (`store.dirty`)."""
    conn.execute("DELETE FROM arrival_day WHERE gateway = %s AND day = %s", (gateway, instant(day_ms)))
    day = computed_arrivals(conn, gateway, day_ms)
    if day is not None:
        conn.execute(
            """
            INSERT INTO arrival_day (gateway, day, first_seq, last_seq, records, seq, closed_ms, received_ms)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                *(gateway, instant(day_ms), day.first_seq, day.last_seq, day.records),
                [one.seq for one in day.arrivals],
                [one.closed_ms for one in day.arrivals],
                [one.received_ms for one in day.arrivals],
            ),
        )


def kept_arrivals(conn: Connection, gateway: str, day_ms: int) -> ArrivalDay | None:
    """The arrivals of a day (start, UTC) as they are kept; None when they are not."""
    found = _kept(conn, sql.SQL("day = %s"), (gateway, instant(day_ms)))
    return found[0] if found else None


def arrival_days(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> list[int]:
    """The UTC days (starts, ms) in [from_ms, to_ms) of a gateway for which arrivals are kept."""
    rows = conn.execute(
        "SELECT epoch_ms(day) FROM arrival_day WHERE gateway = %s AND day >= %s AND day < %s ORDER BY day",
        (gateway, instant(from_ms), instant(to_ms)),
    )
    return [int(day) for (day,) in rows]


def first_arrivals(
    conn: Connection, gateway: str, first_seq: int, last_seq: int, statements: Sequence[Arrival]
) -> list[Arrival]:
    """Of the records first_seq..last_seq (inclusive) the first that was received in each hour, by number.

    ``statements`` are the descriptors and events among them (`store.records.statement_records`), which are of no day.
    Taken from what is kept by day wherever that accounts for every number, and from the records everywhere else: those
    that came since the day was computed, those around a hole, those of days that were computed before this was kept.
    """
    condition = sql.SQL("last_seq >= %s AND first_seq <= %s ORDER BY first_seq")
    days = _kept(conn, condition, (gateway, first_seq, last_seq))
    found = list(statements)
    beside = sorted(one.seq for one in statements)
    next_seq = first_seq
    for stretch in _stretches(days):
        begin, end = stretch[0].first_seq, max(day.last_seq for day in stretch)
        known = sum(day.records for day in stretch) + bisect_right(beside, end) - bisect_left(beside, begin)
        if begin < first_seq or end > last_seq or end - begin + 1 != known:
            continue
        found += _arrivals_of_records(conn, gateway, next_seq, begin - 1)
        found += [one for day in stretch for one in day.arrivals]
        next_seq = end + 1
    found += _arrivals_of_records(conn, gateway, next_seq, last_seq)
    return _first_of_each_hour(found)


def _kept(conn: Connection, condition: sql.SQL, parameters: tuple[object, ...]) -> list[ArrivalDay]:
    rows = conn.execute(
        sql.SQL(
            "SELECT first_seq, last_seq, records, seq, closed_ms, received_ms FROM arrival_day WHERE gateway = %s AND "
        )
        + condition,
        parameters,
        binary=True,
    )
    return [
        ArrivalDay(first, last, records, tuple(map(Arrival, seqs, closed, received)))
        for first, last, records, seqs, closed, received in rows
    ]


def _stretches(days: Iterable[ArrivalDay]) -> Iterator[Sequence[ArrivalDay]]:
    """Days whose numbers overlap, together; ``days`` are in the order of their lowest numbers. After a clock was set
    back a gateway's numbers lie in two days at once."""
    stretch: list[ArrivalDay] = []
    end = 0
    for day in days:
        if stretch and day.first_seq > end:
            yield stretch
            stretch = []
        stretch.append(day)
        end = max(end, day.last_seq)
    if stretch:
        yield stretch


def _arrivals_of_records(conn: Connection, gateway: str, first_seq: int, last_seq: int) -> list[Arrival]:
    if first_seq > last_seq:
        return []
    rows = conn.execute(
        """
        SELECT seq, epoch_ms(time), epoch_ms(received) FROM record WHERE gateway = %(gateway)s AND seq IN (
            SELECT min(seq) FROM record WHERE gateway = %(gateway)s AND seq BETWEEN %(first)s AND %(last)s
            GROUP BY date_bin('1 hour', received, 'epoch'))
        """,
        {"gateway": gateway, "first": first_seq, "last": last_seq},
        binary=True,
    )
    return [Arrival(*row) for row in rows]


def _first_of_each_hour(arrivals: Iterable[Arrival]) -> list[Arrival]:
    first: dict[int, Arrival] = {}
    for one in sorted(arrivals):
        first.setdefault(one.received_ms // HOUR_MS, one)
    return list(first.values())
