"""Days whose intervals have to be made (again), one UTC day of one gateway at a time.

Marks are only ever inserted, so that marking waits for nobody; a worker deletes the marks it saw, in the transaction in
which it wrote the intervals. A mark made meanwhile has another number and stays. When a worker dies, the database takes
back its locks and the day is there for the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from store.database import Connection
from store.instants import instant

_CANDIDATES = 256


class DirtyDay(NamedTuple):
    """A claimed day: it starts at ``day_ms`` (UTC midnight); ``token`` are the marks that finishing it will delete."""

    gateway: str
    day_ms: int
    token: tuple[int, ...]


def mark_dirty(conn: Connection, gateway: str, days: Iterable[int]) -> None:
    """Mark days (starts, ms, UTC midnight) of a gateway for recomputation."""
    mark_all_dirty(conn, {gateway: days})


def mark_all_dirty(conn: Connection, days: Mapping[str, Iterable[int]]) -> None:
    """Mark days (starts, ms, UTC midnight) of gateways for recomputation, in one statement."""
    marks = [(gateway, instant(day)) for gateway, of_it in days.items() for day in sorted(set(of_it))]
    if marks:
        conn.execute(
            "INSERT INTO dirty_mark (gateway, day) SELECT * FROM unnest(%s::text[], %s::timestamptz[])",
            ([gateway for gateway, _ in marks], [day for _, day in marks]),
        )


def claim_dirty(conn: Connection, settle_ms: int = 0) -> DirtyDay | None:
    """Claim the day that has waited longest and that nobody else works on; None when there is none.

    The claim ends with the transaction: read the records after claiming, write the intervals, call
    :func:`finish_dirty` and commit. A rollback gives the day back.

    :param settle_ms: pass over days whose oldest mark is younger, so that a live day is recomputed at most this often.
    """
    candidates = conn.execute(
        """
        SELECT gateway, day, epoch_ms(day) FROM dirty_mark GROUP BY gateway, day
        HAVING min(marked) <= clock_timestamp() - %s * interval '1 ms'
        ORDER BY min(id) LIMIT %s
        """,
        (settle_ms, _CANDIDATES),
    ).fetchall()
    for gateway, day, day_ms in candidates:
        # The row locks alone would let a second worker take newer marks of the same day and finish before the first.
        locked = conn.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('dirty/' || %s || '/' || %s, 0))", (gateway, str(day_ms))
        ).fetchone()
        if locked is None or not locked[0]:
            continue
        marks = conn.execute(
            "SELECT id FROM dirty_mark WHERE gateway = %s AND day = %s ORDER BY id FOR UPDATE SKIP LOCKED",
            (gateway, day),
        ).fetchall()
        if marks:
            return DirtyDay(gateway, day_ms, tuple(id for (id,) in marks))
    return None


def finish_dirty(conn: Connection, claim: DirtyDay) -> None:
    """The claimed day is done. Marks made since the claim stay, and with them the day."""
    conn.execute("DELETE FROM dirty_mark WHERE id = ANY(%s)", (list(claim.token),))


def dirty_days(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> list[int]:
    """The days of a gateway (starts, ms, UTC midnight) in [from_ms, to_ms) that wait to be computed."""
    rows = conn.execute(
        "SELECT DISTINCT epoch_ms(day) FROM dirty_mark WHERE gateway = %s AND day >= %s AND day < %s ORDER BY 1",
        (gateway, instant(from_ms), instant(to_ms)),
    )
    return [int(day) for (day,) in rows]


def dirty_count(conn: Connection, gateway: str | None = None) -> int:
    """How many gateway-days wait, those being worked on included."""
    row = conn.execute(
        """
        SELECT count(*) FROM (
            SELECT DISTINCT gateway, day FROM dirty_mark WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s
        ) AS days
        """,
        {"gateway": gateway},
    ).fetchone()
    return 0 if row is None else int(row[0])


def newest_mark(conn: Connection) -> int:
    """The number of the newest mark; 0 when nothing is marked."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM dirty_mark").fetchone()
    return 0 if row is None else int(row[0])


def marks_left(conn: Connection, newest: int) -> int:
    """How many gateway-days still wait because of marks up to number ``newest``."""
    row = conn.execute(
        "SELECT count(*) FROM (SELECT DISTINCT gateway, day FROM dirty_mark WHERE id <= %s) AS days", (newest,)
    ).fetchone()
    return 0 if row is None else int(row[0])
