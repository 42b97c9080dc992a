"""``/readyz`` of a whole site: the database answers, and so does every ingestion, which is ready itself."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from urllib.error import URLError
from urllib.request import urlopen

from fastapi import APIRouter, Response

from store.database import Pool, transaction
from store.errors import DatabaseUnreachableError

_TIMEOUT_S = 3.0
_UNAVAILABLE = 503


def readiness_router(connections: Pool, ingestions: Sequence[str]) -> APIRouter:
    """The route ``/readyz``; ``ingestions`` are the addresses at which ingestion processes tell of themselves."""
    router = APIRouter()

    @router.get("/readyz")
    def readiness(response: Response) -> dict[str, bool]:
        """Pages can be shown and records that arrive now can be committed. Status 503 when they cannot."""
        ready = {"database": _database_answers(connections), "ingestion": all(map(_is_ready, ingestions))}
        if not all(ready.values()):
            response.status_code = _UNAVAILABLE
        return ready

    return router


def _database_answers(connections: Pool) -> bool:
    try:
        with transaction(connections):
            return True
    except DatabaseUnreachableError:
        return False


def _is_ready(ingestion: str) -> bool:
    try:
        with urlopen(f"{ingestion}/readyz", timeout=_TIMEOUT_S):  # noqa: S310 - an address from the command line
            return True
    except (URLError, OSError, http.client.HTTPException):
        return False
