"""How the database stands, in few and cheap questions that monitoring asks every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

from store.database import Connection, clock_ms
from store.dirty import dirty_count
from store.incidents import open_incident_kinds
from store.quarantine import quarantine_reasons
from store.records import freshness


@dataclass(frozen=True, slots=True)
class SiteState:
    """``quarantined`` by reason, ``open_incidents`` by kind; ages in seconds, by the clock of the database.

    ``oldest_dirty_s`` is how long the gateway-day that waits longest for its intervals has waited (0: none waits),
    ``received_s`` how long ago the newest record of each gateway came (None: never).
    """

    quarantined: dict[str, int]
    open_incidents: dict[str, int]
    dirty_days: int
    oldest_dirty_s: float
    received_s: dict[str, float | None]


def site_state(conn: Connection) -> SiteState:
    """Read how the database stands now."""
    row = conn.execute(
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(marked)), 0)::float8 FROM dirty_mark"
    ).fetchone()
    now_ms = clock_ms(conn)
    return SiteState(
        quarantined=quarantine_reasons(conn),
        open_incidents=open_incident_kinds(conn),
        dirty_days=dirty_count(conn),
        oldest_dirty_s=0.0 if row is None else max(float(row[0]), 0.0),
        received_s={
            gateway: None if one.newest_received_ms is None else max(now_ms - one.newest_received_ms, 0) / 1000
            for gateway, one in freshness(conn).items()
        },
    )
