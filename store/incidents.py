"""Incidents: what was authentic but odd (fork, late, gap, unknown descriptor), for a person to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.database import Connection
from store.foreign_text import storable, storable_detail
from store.instants import instant

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Incident:
    """Something odd about a gateway at ``at_ms`` (UTC). ``data`` are the bytes taken into custody, if any.

    ``detail`` comes back from JSON: bytes as hexadecimal text, numbers that are not finite as text.
    """

    id: int
    gateway: str
    kind: str
    seq: int | None
    detail: dict[str, Any]
    data: bytes | None
    at_ms: int


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

    The count is in the detail as ``messages``; ``seq`` and the rest of it are those of the first. Returns whether it
    is a new one. Locks this gateway and kind until the transaction ends: raise several in one order.
    """
    day_ms = at_ms - at_ms % _DAY_MS
    name = storable(gateway)
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('incident/' || %s || '/' || %s, 0))", (kind, name))
    counted = conn.execute(
        """
        UPDATE incident
        SET detail = jsonb_set(detail, '{messages}', to_jsonb((detail ->> 'messages')::bigint + %s))
        WHERE gateway = %s AND kind = %s AND at >= %s AND at < %s
        """,
        (messages, name, kind, instant(day_ms), instant(day_ms + _DAY_MS)),
    )
    if counted.rowcount:
        return False
    add_incident(conn, gateway, kind, seq, {**detail, "messages": messages}, None, at_ms)
    return True


def list_incidents(
    conn: Connection, gateway: str | None = None, limit: int = 100, *, kind: str | None = None
) -> list[Incident]:
    """The newest incidents first, of all gateways or of one, of all kinds or of one."""
    rows = conn.execute(
        """
        SELECT id, gateway, kind, seq, detail, data, epoch_ms(at) FROM incident
        WHERE (%(gateway)s::text IS NULL OR gateway = %(gateway)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
        ORDER BY id DESC LIMIT %(limit)s
        """,
        {"gateway": gateway, "kind": kind, "limit": limit},
        binary=True,
    )
    return [Incident(*row) for row in rows]


def incidents_since(conn: Connection, kind: str, from_ms: int) -> list[Incident]:
    """The incidents of a kind that were raised since ``from_ms`` (UTC), the oldest first."""
    rows = conn.execute(
        """
        SELECT id, gateway, kind, seq, detail, data, epoch_ms(at) FROM incident
        WHERE kind = %s AND at >= %s ORDER BY id
        """,
        (kind, instant(from_ms)),
        binary=True,
    )
    return [Incident(*row) for row in rows]


def incident_count(conn: Connection, gateway: str | None = None) -> int:
    """How many incidents were raised."""
    row = conn.execute(
        "SELECT count(*) FROM incident WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s", {"gateway": gateway}
    ).fetchone()
    return 0 if row is None else int(row[0])
