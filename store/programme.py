"""The programme whose evidence a database holds: one, for good, so that evidence is never joined across programmes."""

from __future__ import annotations

from store.database import Connection


def claim_programme(conn: Connection, name: str) -> str:
    """Make the database that of programme ``name`` unless it is one's already; the programme it is now.

    Processes that start together wait for one another.
    """
    conn.execute("INSERT INTO programme (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    return programme_of(conn) or name


def programme_of(conn: Connection) -> str | None:
    """The programme of the database; None for a database that is not tied to one."""
    row = conn.execute("SELECT name FROM programme").fetchone()
    return None if row is None else str(row[0])
