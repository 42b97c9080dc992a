"""The latest value of each series."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from store.database import Connection
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
    missing = _upsert(conn, newest.values())
    if missing:
        series_ids(conn, missing)
        _upsert(conn, [newest[name] for name in missing])


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


def _upsert(conn: Connection, rows: Iterable[LatestValue]) -> list[str]:
    """Write the rows of known series in the order of their numbers; return the series that are not known yet."""
    # One JSON text: a fifth of the time that lists of six thousand Python objects take to become arrays.
    values = [
        {
            "series": row.series,
            "time": row.time_ms,
            "value": row.value if row.value is not None and math.isfinite(row.value) else None,
            "unit": row.unit,
            "status": row.status,
            "received": row.received_ms,
        }
        for row in rows
    ]
    missing = conn.execute(
        """
        WITH given AS (
            SELECT * FROM json_to_recordset(%s::json) AS given (
                series text, time float8, value float8, unit text, status integer, received float8)
        ), written AS (
            INSERT INTO latest AS stored (series, time, value, unit, status, received)
            SELECT series.id, to_timestamp(time / 1000), value, unit, status, to_timestamp(received / 1000)
            FROM given JOIN series ON series.name = given.series ORDER BY series.id
            ON CONFLICT (series) DO UPDATE SET (time, value, unit, status, received) =
                (excluded.time, excluded.value, excluded.unit, excluded.status, excluded.received)
            WHERE stored.time <= excluded.time
        )
        SELECT given.series FROM given LEFT JOIN series ON series.name = given.series WHERE series.id IS NULL
        """,
        (json.dumps(values),),
    )
    return [name for (name,) in missing]
