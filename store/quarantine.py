"""Bytes that were not authentic, kept with the reason. They are never acknowledged and never computed on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from store.database import Connection
from store.foreign_text import storable
from store.instants import instant


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What arrived on ``topic`` at ``received_ms`` (UTC) and was refused: ``reason`` a slug, ``detail`` a sentence."""

    id: int
    topic: str
    reason: str
    detail: str
    data: bytes
    received_ms: int


def add_quarantine(  # noqa: PLR0917 - a row and its columns
    conn: Connection, topic: str, reason: str, detail: str, data: bytes, received_ms: int
) -> None:
    """Keep refused bytes. Topic and detail may hold anything; what text cannot hold is shown as U+FFFD."""
    conn.execute(
        "INSERT INTO quarantine (topic, reason, detail, data, received) VALUES (%s, %s, %s, %s, %s)",
        (storable(topic), reason, storable(detail), data, instant(received_ms)),
    )


def list_quarantine(conn: Connection, limit: int = 100) -> list[Quarantined]:
    """The newest refusals first."""
    rows = conn.execute(
        "SELECT id, topic, reason, detail, data, epoch_ms(received) FROM quarantine ORDER BY id DESC LIMIT %s",
        (limit,),
        binary=True,
    )
    return [Quarantined(*row) for row in rows]


def quarantine_count(conn: Connection) -> int:
    """How many messages were refused."""
    row = conn.execute("SELECT count(*) FROM quarantine").fetchone()
    return 0 if row is None else int(row[0])


def quarantine_bytes(conn: Connection) -> int:
    """How many bytes were refused and are kept."""
    row = conn.execute("SELECT coalesce(sum(octet_length(data)), 0) FROM quarantine").fetchone()
    return 0 if row is None else int(row[0])


def quarantine_reasons(conn: Connection) -> dict[str, int]:
    """How many messages were refused, by reason."""
    return dict(conn.execute("SELECT reason, count(*) FROM quarantine GROUP BY reason ORDER BY reason").fetchall())


def find_quarantined(
    conn: Connection,
    *,
    ids: Collection[int] | None = None,
    reason: str | None = None,
    topic: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Quarantined]:
    """Refusals with a number above ``after``, the oldest first; all conditions given must hold."""
    rows = conn.execute(
        """
        SELECT id, topic, reason, detail, data, epoch_ms(received) FROM quarantine
        WHERE id > %(after)s AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
          AND (%(reason)s::text IS NULL OR reason = %(reason)s) AND (%(topic)s::text IS NULL OR topic = %(topic)s)
        ORDER BY id LIMIT %(limit)s
        """,
        {"after": after, "ids": None if ids is None else list(ids), "reason": reason, "topic": topic, "limit": limit},
        binary=True,
    )
    return [Quarantined(*row) for row in rows]


def remove_quarantined(conn: Connection, ids: Collection[int]) -> None:
    """Take messages out of the quarantine; the caller has them elsewhere by then."""
    conn.execute("DELETE FROM quarantine WHERE id = ANY(%s)", (list(ids),))
