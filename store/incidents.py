"""Incidents: what was authentic but odd (fork, late, gap, unknown descriptor), for a person to look at.

An incident is open until somebody closes it and says why (`store.incident_decisions`). It is never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.database import Connection
from store.foreign_text import storable, storable_detail
from store.incident_decisions import reopen_incidents
from store.instants import instant

INGESTION = "ingestion"
"""Who opens a closed incident again that is raised again."""

RAISED_AGAIN = "raised again"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Incident:
    """Something odd about a gateway at ``at_ms`` (UTC). ``data`` are the bytes taken into custody, if any.

    ``detail`` comes back from JSON: bytes as hexadecimal text, numbers that are not finite as text. ``closed_ms`` is
    since when it is closed (None: it is open).
    """

    id: int
    gateway: str
    kind: str
    seq: int | None
    detail: dict[str, Any]
    data: bytes | None
    at_ms: int
    closed_ms: int | None


def add_incident(  # noqa: PLR0917 - a row and its columns
    conn: Connection,
    gateway: str,
    kind: str,
    seq: int | None,
    detail: Mapping[str, object],
    data: bytes | None,
    at_ms: int,
) -> None:
    """Raise an incident; the gateway need not be enrolled."""
    conn.execute(
        "INSERT INTO incident (gateway, kind, seq, detail, data, at) VALUES (%s, %s, %s, %s, %s, %s)",
        (storable(gateway), kind, seq, storable_detail(detail), data, instant(at_ms)),
    )


def count_incident(  # noqa: PLR0917 - a row and its columns
    conn: Connection,
    gateway: str,
    kind: str,
    seq: int | None,
    detail: Mapping[str, object],
    messages: int,
    at_ms: int,
) -> bool:
    """Raise an incident about ``messages``, or add them to the one of this gateway, kind and UTC day of ``at_ms``.

    The count is in the detail as ``messages``; ``seq`` and the rest of it are those of the first. One that was closed
    meanwhile is open again, on record. Returns whether it is a new one. Locks this gateway and kind until the
    transaction ends: raise several in one order.
    """
    day_ms = at_ms - at_ms % _DAY_MS
    name = storable(gateway)
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('incident/' || %s || '/' || %s, 0))", (kind, name))
    counted = conn.execute(
        """
        UPDATE incident
        SET detail = jsonb_set(detail, '{messages}', to_jsonb((detail ->> 'messages')::bigint + %s))
        WHERE gateway = %s AND kind = %s AND at >= %s AND at < %s
        RETURNING id, closed IS NOT NULL
        """,
        (messages, name, kind, instant(day_ms), instant(day_ms + _DAY_MS)),
    ).fetchall()
    if counted:
        closed = [id for id, is_closed in counted if is_closed]
        if closed:
            reopen_incidents(conn, closed, INGESTION, RAISED_AGAIN, at_ms)
        return False
    add_incident(conn, gateway, kind, seq, {**detail, "messages": messages}, None, at_ms)
    return True


def list_incidents(
    conn: Connection,
    gateway: str | None = None,
    limit: int = 100,
    *,
    kind: str | None = None,
    closed: bool | None = None,
) -> list[Incident]:
    """The newest incidents first, of all gateways or of one, of all kinds or of one, open or ``closed`` or both."""
    rows = conn.execute(
        """
        SELECT id, gateway, kind, seq, detail, data, epoch_ms(at), epoch_ms(closed) FROM incident
        WHERE (%(gateway)s::text IS NULL OR gateway = %(gateway)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
          AND (%(closed)s::boolean IS NULL OR (closed IS NOT NULL) = %(closed)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"gateway": gateway, "kind": kind, "closed": closed, "limit": limit},
        binary=True,
    )
    return [Incident(*row) for row in rows]


def incidents_since(conn: Connection, kind: str, from_ms: int) -> list[Incident]:
    """The incidents of a kind that were raised since ``from_ms`` (UTC), the oldest first."""
    rows = conn.execute(
        """
        SELECT id, gateway, kind, seq, detail, data, epoch_ms(at), epoch_ms(closed) FROM incident
        WHERE kind = %s AND at >= %s ORDER BY id
        """,
        (kind, instant(from_ms)),
        binary=True,
    )
    return [Incident(*row) for row in rows]


def open_incidents(conn: Connection, gateway: str | None = None) -> int:
    """How many incidents are open."""
    row = conn.execute(
        "SELECT count(*) FROM incident WHERE closed IS NULL AND (%(gateway)s::text IS NULL OR gateway = %(gateway)s)",
        {"gateway": gateway},
    ).fetchone()
    return 0 if row is None else int(row[0])


def open_incident_kinds(conn: Connection) -> dict[str, int]:
    """How many incidents are open, by kind."""
    rows = conn.execute("SELECT kind, count(*) FROM incident WHERE closed IS NULL GROUP BY kind ORDER BY kind")
    return dict(rows.fetchall())
