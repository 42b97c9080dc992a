"""The latest value of each series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from store.database import Connection
from store.instants import instant
from store.series import series_ids


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The newest sample of a series: taken at ``time_ms``, here since ``received_ms`` (UTC).

    ``series`` is the full id, gateway/device/name; ``value`` is in ``unit`` and None when the read failed, with the
    reason in ``status`` (a frame's status byte; 0 = good).
    """

    series: str
    time_ms: int
    value: float | None
    unit: str
    status: int
    received_ms: int


def upsert_latest(conn: Connection, rows: Iterable[LatestValue]) -> None:
    """Take over the values that are not older than the stored ones; the order of arrival does not matter."""
    newest: dict[str, LatestValue] = {}
    for row in rows:
        if row.series not in newest or row.time_ms >= newest[row.series].time_ms:
            newest[row.series] = row
    if not newest:
        return
    ids = series_ids(conn, newest)
    values = sorted(newest.values(), key=lambda row: ids[row.series])
    conn.execute(
        """
        INSERT INTO latest AS stored (series, time, value, unit, status, received)
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::float8[], %s::text[], %s::int[], %s::timestamptz[])
        ON CONFLICT (series) DO UPDATE SET (time, value, unit, status, received) =
            (excluded.time, excluded.value, excluded.unit, excluded.status, excluded.received)
        WHERE stored.time <= excluded.time
        """,
        (
            [ids[row.series] for row in values],
            [instant(row.time_ms) for row in values],
            [row.value for row in values],
            [row.unit for row in values],
            [row.status for row in values],
            [instant(row.received_ms) for row in values],
        ),
    )


def read_latest(conn: Connection, gateway: str | None = None) -> list[LatestValue]:
    """The latest value of every series, or of those of one gateway, by series."""
    rows = conn.execute(
        """
        SELECT series.name, epoch_ms(time), value, unit, status, epoch_ms(received)
        FROM latest JOIN series ON series.id = latest.series
        WHERE %(gateway)s::text IS NULL OR series.gateway = %(gateway)s
        ORDER BY series.name
        """,
        {"gateway": gateway},
        binary=True,
    )
    return [LatestValue(*row) for row in rows]
