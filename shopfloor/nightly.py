"""What ingestion's background jobs do besides its own maintenance: work of rooms that ingestion does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.jobs import Task
    from store.database import Pool

REFRESH = "refresh-results"
"""Task: computes the results of all projects whose inputs have changed."""


def further_tasks() -> dict[str, Task]:
    """The tasks by name, each with when it runs (cron, UTC): behind the maintenance that may compute days again."""
    return {REFRESH: ("47 19 * * *", _refresh)}


def _refresh(connections: Pool, at_ms: int) -> None:
    # Ingestion is held to little memory: what evaluates is loaded when the night comes.
    from dashboards.refresh import nightly_refresh

    nightly_refresh(connections, at_ms)
