"""One programme, one database: ingestion of one programme refuses the database of another."""

from __future__ import annotations

from ingest.errors import ProgrammeError
from store.database import Connection
from store.programme import claim_programme, programme_of


def hold_programme(conn: Connection, programme: str | None) -> None:
    """Tie the database to ``programme`` with the first ingestion that names one, and refuse all others from then on.

    Raises `ProgrammeError` when the database is another programme's, or one's and none is named.
    """
    found = programme_of(conn) if programme is None else claim_programme(conn, programme)
    if found != programme:
        named = "none was named" if programme is None else f"'{programme}' was named"
        raise ProgrammeError(
            f"the database holds the evidence of programme '{found}', {named}: give each programme a database, a group "
            "of workers and an account at the broker of its own"
        )
