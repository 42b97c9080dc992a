"""Monthly partitions of the time tables, made when a row needs one that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import psycopg

from store.database import Connection
from store.instants import instant

_DAY_MS = 86_400_000


def ensure_partitions(conn: Connection, times_ms: Iterable[int], *, table: Literal["record", "interval"]) -> None:
    """Make the partitions that rows with these times (UTC) need, and no others, however far the times lie apart.

    A missing one is made on a connection of its own and committed at once: a partition made inside the caller's
    transaction would make every other writer wait for its end, and two of them could wait for each other. (A hypertable
    makes its chunks itself, in the transaction of the first insert; others that need the same new chunk then wait.)

    :raises InstantRangeError: a time outside the years 1 to 9999.
    """
    days = {time_ms // _DAY_MS for time_ms in times_ms}
    needed = (table, sorted({instant(day * _DAY_MS).replace(day=1) for day in days}))
    row = conn.execute("SELECT EXISTS (SELECT FROM months_without_partition(%s, %s))", needed).fetchone()
    if row is not None and row[0]:
        with psycopg.connect(conn.info.dsn, password=conn.info.password or None) as maker:
            maker.execute("SELECT make_partitions(%s, %s)", needed)
