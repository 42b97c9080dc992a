"""What people decided about incidents: closed, by whom, when and why; or open again. Nothing of it can be changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from store.database import Connection
from store.errors import UnknownIncidentError
from store.foreign_text import storable
from store.instants import instant

_CLOSED, _OPEN = "closed", "open"


@dataclass(frozen=True, slots=True)
class IncidentDecision:
    """From ``at_ms`` (UTC) on the ``incident`` is ``closed`` or open again, as ``actor`` decided, for a ``reason``."""

    incident: int
    closed: bool
    actor: str
    reason: str
    at_ms: int


def close_incidents(conn: Connection, ids: Collection[int], actor: str, reason: str, at_ms: int) -> list[int]:
    """Close those of the incidents that are open; their ids.

    :raises UnknownIncidentError: there is none with one of these ids; nothing is closed then.
    """
    return _decide(conn, ids, actor, reason, at_ms, closed=True)


def reopen_incidents(conn: Connection, ids: Collection[int], actor: str, reason: str, at_ms: int) -> list[int]:
    """Open those of the incidents again that are closed; their ids.

    :raises UnknownIncidentError: there is none with one of these ids; nothing is opened then.
    """
    return _decide(conn, ids, actor, reason, at_ms, closed=False)


def decisions_about(conn: Connection, incidents: Sequence[int]) -> dict[int, list[IncidentDecision]]:
    """All decisions about these incidents, by incident, the oldest first; none for those that nobody decided about."""
    rows = conn.execute(
        """
        SELECT incident, state = 'closed', actor, reason, epoch_ms(at) FROM incident_decision
        WHERE incident = ANY(%s) ORDER BY incident, id
        """,
        (list(incidents),),
        binary=True,
    )
    found: dict[int, list[IncidentDecision]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(IncidentDecision(*row))
    return found


def _decide(conn: Connection, ids: Collection[int], actor: str, reason: str, at_ms: int, *, closed: bool) -> list[int]:
    wanted = sorted(set(ids))
    known = conn.execute("SELECT id FROM incident WHERE id = ANY(%s) ORDER BY id FOR UPDATE", (wanted,)).fetchall()
    missing = sorted(set(wanted) - {id for (id,) in known})
    if missing:
        raise UnknownIncidentError(
            f"there is no incident {', '.join(map(str, missing))}: "
            "'shopfloor ingest incidents list' shows the numbers of those there are"
        )
    rows = conn.execute(
        """
        WITH changed AS (
            UPDATE incident SET closed = CASE WHEN %(closed)s THEN %(at)s::timestamptz END
            WHERE id = ANY(%(ids)s) AND (closed IS NOT NULL) <> %(closed)s RETURNING id
        )
        INSERT INTO incident_decision (incident, state, actor, reason, at)
        SELECT id, %(state)s, %(actor)s, %(reason)s, %(at)s FROM changed ORDER BY id
        RETURNING incident
        """,
        {
            "ids": wanted,
            "closed": closed,
            "state": _CLOSED if closed else _OPEN,
            "actor": storable(actor),
            "reason": storable(reason),
            "at": instant(at_ms),
        },
    ).fetchall()
    return [id for (id,) in rows]
