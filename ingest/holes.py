"""A hole in a gateway's chain becomes an incident when it stays: what was only late has filled it by then."""

from __future__ import annotations

import logging
import threading

from ingest.admission import IncidentKind
from ingest.transaction import now_ms
from store.database import Pool, transaction
from store.holes import settle_holes
from store.incidents import add_incident

PATIENCE_MS = 300_000
"""How long a hole may stay open before it is told: longer than a broker takes to deliver again what a dead worker held
(half a minute), and than an agent waits before it sends again (a minute at most)."""

LOOK_SECONDS = 5.0
_log = logging.getLogger(__name__)


def tell_holes(connections: Pool, patience_ms: int = PATIENCE_MS) -> int:
    """Raise an incident for each hole that has been open for ``patience_ms``; return how many there were.

    Raises `store.errors.DatabaseUnreachableError` when the database is away; the next call finds the same holes.
    """
    with transaction(connections) as conn:
        holes = settle_holes(conn, patience_ms)
        for hole in holes:
            detail = {"before": hole.seq, "head": hole.head_seq}
            add_incident(conn, hole.gateway, IncidentKind.HOLE, hole.seq, detail, None, now_ms())
    return len(holes)


class HoleWatch:
    """One thread that tells of holes; in several processes over one database, each hole is told once."""

    def __init__(self, connections: Pool, *, patience_ms: int = PATIENCE_MS, look_s: float = LOOK_SECONDS) -> None:
        self._look_s = look_s
        self._connections = connections
        self._patience_ms = patience_ms
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-holes", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Finish the look in hand and leave."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._look_s):
            try:
                tell_holes(self._connections, self._patience_ms)
            except Exception:
                # The holes are in the database: the next look finds them.
                _log.exception("holes are not told; next look in %.0f s", self._look_s)
