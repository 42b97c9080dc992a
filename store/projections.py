"""Small tables that are projections of the records, read to be compared with them and set right where they differ."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from psycopg import sql

from store.database import Connection
from store.series import known_series
from store.timescale import CHANGE_COMPRESSED


class StrayRows(NamedTuple):
    """Rows that belong to nothing.

    ``gateways`` have records and are not enrolled; ``series`` are listed under another gateway than their name says;
    ``intervals`` are numbers of series that intervals name and that are not listed.
    """

    gateways: list[str]
    series: list[str]
    intervals: list[int]


def stray_rows(conn: Connection) -> StrayRows:
    """Find the rows that belong to nothing, by index: the cost is one look a gateway and a series."""
    gateways = conn.execute(
        """
        WITH RECURSIVE found AS (
            (SELECT gateway FROM record ORDER BY gateway LIMIT 1)
            UNION ALL
            SELECT (SELECT gateway FROM record WHERE record.gateway > found.gateway ORDER BY gateway LIMIT 1)
            FROM found WHERE found.gateway IS NOT NULL
        )
        SELECT gateway FROM found WHERE gateway NOT IN (SELECT id FROM gateway) ORDER BY gateway
        """
    )
    series = conn.execute("SELECT name FROM series WHERE gateway <> split_part(name, '/', 1) ORDER BY name")
    intervals = conn.execute(
        """
        WITH RECURSIVE found AS (
            (SELECT series FROM interval ORDER BY series LIMIT 1)
            UNION ALL
            SELECT (SELECT series FROM interval WHERE interval.series > found.series ORDER BY series LIMIT 1)
            FROM found WHERE found.series IS NOT NULL
        )
        SELECT series FROM found WHERE series NOT IN (SELECT id FROM series) ORDER BY series
        """
    )
    return StrayRows([row[0] for row in gateways], [row[0] for row in series], [row[0] for row in intervals])


def correct_stray_rows(conn: Connection) -> None:
    """List every series under the gateway of its name, and remove intervals of series that are not listed."""
    stray = stray_rows(conn)
    conn.execute("UPDATE series SET gateway = split_part(name, '/', 1) WHERE name = ANY(%s)", (stray.series,))
    conn.execute(sql.SQL("SELECT ") + CHANGE_COMPRESSED)
    conn.execute("DELETE FROM interval WHERE series = ANY(%s)", (stray.intervals,), prepare=False)


def read_longest_ms(conn: Connection, gateway: str) -> int:
    """The longest stretch of samples in one record of a gateway that reading by time reckons with; 0 without any."""
    row = conn.execute("SELECT longest_ms FROM record_span WHERE gateway = %s", (gateway,)).fetchone()
    return 0 if row is None else int(row[0])


def write_longest_ms(conn: Connection, gateway: str, longest_ms: int) -> None:
    """Set the longest stretch of samples; the caller holds the lock of the gateway's head."""
    conn.execute(
        """
        INSERT INTO record_span (gateway, longest_ms) VALUES (%s, %s)
        ON CONFLICT (gateway) DO UPDATE SET longest_ms = excluded.longest_ms
        """,
        (gateway, longest_ms),
    )


def remove_latest(conn: Connection, series: Collection[str]) -> None:
    """Forget the latest values of series, by full id."""
    conn.execute("DELETE FROM latest WHERE series IN (SELECT id FROM series WHERE name = ANY(%s))", (sorted(series),))


def remove_series(conn: Connection, series: Collection[str]) -> None:
    """Remove series, by full id, with their intervals and latest values."""
    remove_latest(conn, series)
    conn.execute(sql.SQL("SELECT ") + CHANGE_COMPRESSED)
    numbers = list(known_series(conn, sorted(series)).values())
    conn.execute("DELETE FROM interval WHERE series = ANY(%s)", (numbers,), prepare=False)
    conn.execute("DELETE FROM series WHERE name = ANY(%s)", (sorted(series),))


def remove_successors(conn: Connection, gateway: str) -> None:
    """Forget the keys that followed the enrolled one of a gateway; its records name them."""
    conn.execute("DELETE FROM gateway_key WHERE gateway = %s", (gateway,))
