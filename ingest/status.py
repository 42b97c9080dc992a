"""What the database says about ingestion, for people and for monitoring; needs no running service."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from store.database import Connection
from store.dirty import dirty_count
from store.incidents import open_incidents
from store.quarantine import quarantine_reasons
from store.records import RecordCounts, counts


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """Counts by gateway, refused messages by reason, open incidents, gateway-days whose intervals are to be made."""

    gateways: dict[str, RecordCounts]
    quarantined: dict[str, int]
    incidents: int
    dirty_days: int

    def to_json(self) -> dict[str, object]:
        """Return the status as JSON-able values; times in milliseconds since the Unix epoch, UTC."""
        return asdict(self)


def read_status(conn: Connection) -> DatabaseStatus:
    """Read the status; counts row by row."""
    return DatabaseStatus(counts(conn), quarantine_reasons(conn), open_incidents(conn), dirty_count(conn))
