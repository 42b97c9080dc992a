"""The series that are known, each with the short number that the other tables carry in the place of its name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from store.database import Connection


def series_ids(conn: Connection, names: Collection[str]) -> dict[str, int]:
    """The number of each series, given to it when it is new. Names are full ids: gateway/device/name."""
    wanted = sorted(set(names))
    known = known_series(conn, wanted)
    new = [name for name in wanted if name not in known]
    if new:
        conn.execute(
            """
            INSERT INTO series (name, gateway)
            SELECT name, split_part(name, '/', 1) FROM unnest(%s::text[]) AS name ORDER BY name
            ON CONFLICT (name) DO NOTHING
            """,
            (new,),
        )
        known |= known_series(conn, new)
    return known


def series_names(conn: Connection, gateway: str | None = None) -> list[str]:
    """The full ids of all known series, or of those of one gateway, in order."""
    rows = conn.execute(
        "SELECT name FROM series WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s ORDER BY name",
        {"gateway": gateway},
    )
    return [name for (name,) in rows]


def known_series(conn: Connection, names: Sequence[str]) -> dict[str, int]:
    """The numbers of those of the series that are known."""
    return dict(conn.execute("SELECT name, id FROM series WHERE name = ANY(%s)", (list(names),)).fetchall())


def gateway_series_ids(conn: Connection, gateway: str) -> list[int]:
    """The numbers of all known series of a gateway."""
    rows = conn.execute("SELECT id FROM series WHERE gateway = %s ORDER BY id", (gateway,)).fetchall()
    return [number for (number,) in rows]
