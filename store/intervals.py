"""Intervals: what each series did in each quarter of an hour. A projection of the records that can be made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from psycopg import sql
from psycopg.types.json import Jsonb

from store.database import Connection
from store.errors import RowsOutsideRangeError
from store.instants import POSTGRES_EPOCH_MS, binary_instant, instant
from store.partitions import ensure_partitions
from store.series import gateway_series_ids, series_ids
from store.timescale import CHANGE_COMPRESSED


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One interval of one series, labelled by its start ``time_ms`` (UTC).

    ``series`` is the full id, gateway/device/name. ``mean`` is weighted by time; ``increase`` is what a counter grew by
    (None: not a counter, or not known); ``coverage`` is the observed fraction of the interval, 0 to 1; ``states`` maps
    each state to the milliseconds spent in it.
    """

    series: str
    time_ms: int
    first: float | None
    last: float | None
    minimum: float | None
    maximum: float | None
    sum: float | None
    count: int
    mean: float | None
    increase: float | None
    coverage: float
    states: dict[str, int] | None = None


@dataclass(slots=True)
class IntervalColumns:
    """The intervals of one series in the order of time: lists of one length, the fields of :class:`IntervalRow`."""

    time_ms: list[int] = field(default_factory=list)
    first: list[float | None] = field(default_factory=list)
    last: list[float | None] = field(default_factory=list)
    minimum: list[float | None] = field(default_factory=list)
    maximum: list[float | None] = field(default_factory=list)
    sum: list[float | None] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    mean: list[float | None] = field(default_factory=list)
    increase: list[float | None] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    states: list[dict[str, int] | None] = field(default_factory=list)


def replace_intervals(conn: Connection, gateway: str, from_ms: int, to_ms: int, rows: Iterable[IntervalRow]) -> None:
    """Put ``rows`` in the place of all intervals of a gateway that start in [from_ms, to_ms).

    Doing it twice is doing it once. Two transactions that replace intervals of one gateway do so one after the other.

    :raises RowsOutsideRangeError: a row starts outside the range or belongs to another gateway.
    """
    rows = list(rows)
    for row in rows:
        if not (from_ms <= row.time_ms < to_ms and row.series.startswith(f"{gateway}/")):
            raise RowsOutsideRangeError(
                f"interval of {row.series} at {row.time_ms} ms is not one of gateway {gateway} in [{from_ms}, {to_ms})"
            )
    conn.execute(
        sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended('interval/' || %s, 0)), ") + CHANGE_COMPRESSED,
        (gateway,),
    )
    # With the numbers as constants, not from a join: of compressed chunks only the series concerned are unpacked then.
    conn.execute(
        "DELETE FROM interval WHERE series = ANY(%s::integer[]) AND time >= %s AND time < %s",
        (gateway_series_ids(conn, gateway), instant(from_ms), instant(to_ms)),
        prepare=False,
    )
    if not rows:
        return
    ensure_partitions(conn, (row.time_ms for row in rows), table="interval")
    ids = series_ids(conn, {row.series for row in rows})
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY interval (series, time, first, last, minimum, maximum, sum, count, mean, increase, coverage, states)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.set_types(["int4", "int8", *["float8"] * 5, "int4", *["float8"] * 3, "jsonb"])
        for row in rows:
            copy.write_row(
                (
                    ids[row.series],
                    binary_instant(row.time_ms),
                    row.first,
                    row.last,
                    row.minimum,
                    row.maximum,
                    row.sum,
                    row.count,
                    row.mean,
                    row.increase,
                    row.coverage,
                    None if row.states is None else Jsonb(row.states),
                )
            )


def read_intervals(conn: Connection, series: Sequence[str], from_ms: int, to_ms: int) -> dict[str, IntervalColumns]:
    """The stored intervals of each series that start in [from_ms, to_ms); empty lists for a series without any."""
    found: dict[str, IntervalColumns] = {name: IntervalColumns() for name in series}
    for name in found:
        rows = conn.execute(
            """
            SELECT epoch_ms(time), first, last, minimum, maximum, sum, count, mean, increase, coverage, states
            FROM interval
            WHERE series = (SELECT id FROM series WHERE name = %s) AND time >= %s AND time < %s
            ORDER BY time
            """,
            (name, instant(from_ms), instant(to_ms)),
            binary=True,
        ).fetchall()
        if rows:
            found[name] = IntervalColumns(*(list(column) for column in zip(*rows, strict=True)))
    return found


FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IntervalArrays:
    """The intervals of one series in the order of time: the fields of :class:`IntervalRow` as arrays of one length.

    ``time_ms`` and ``count`` are int64, ``states`` is a list, all others are float64 and NaN where nothing is known.
    """

    time_ms: IntArray
    first: FloatArray
    last: FloatArray
    minimum: FloatArray
    maximum: FloatArray
    sum: FloatArray
    count: IntArray
    mean: FloatArray
    increase: FloatArray
    coverage: FloatArray
    states: list[dict[str, int] | None]


@dataclass(frozen=True, slots=True)
class IntervalValues:
    """What a series did in those of its intervals that are known well enough: two arrays in the order of time."""

    time_ms: IntArray
    values: FloatArray


_FLOATS = ("first", "last", "minimum", "maximum", "sum", "mean", "increase", "coverage")
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_FIELD_COUNT_BYTES, _LENGTH_BYTES = 2, 4
_SENT = {
    "time": ("string_agg(timestamptz_send(time), '')", ">i8"),
    "count": ("string_agg(int4send(count), '')", ">i4"),
    "has_states": ("bool_or(states IS NOT NULL)", "?"),
}
_EVERY = sql.SQL("true")


def read_interval_arrays(
    conn: Connection, series: Sequence[str], from_ms: int, to_ms: int
) -> dict[str, IntervalArrays]:
    """As :func:`read_intervals`, as arrays: a year of a series takes some ten milliseconds."""
    return {name: _interval_arrays(conn, _chosen(name, from_ms, to_ms)) for name in series}


def read_interval_values(
    conn: Connection,
    series: Mapping[str, Literal["mean", "increase"]],
    from_ms: int,
    to_ms: int,
    coverage: float,
) -> dict[str, IntervalValues]:
    """Mean or increase, as ``series`` says, of the intervals that start in [from_ms, to_ms) and are known at least to
    the fraction ``coverage``, of those series that have any."""
    enough = sql.SQL("coverage >= {}").format(coverage)
    found: dict[str, IntervalValues] = {}
    for name, column in series.items():
        columns = _columns(conn, _chosen(name, from_ms, to_ms, enough), [column])
        if columns["time"].size:
            found[name] = IntervalValues(_times_ms(columns), columns[column].astype(np.float64))
    return found


def _chosen(name: str, from_ms: int, to_ms: int, condition: sql.Composable = _EVERY) -> sql.Composed:
    return sql.SQL(
        "FROM interval WHERE series = (SELECT id FROM series WHERE name = {}) AND time >= {} AND time < {} AND {}"
    ).format(name, instant(from_ms), instant(to_ms), condition)


def _interval_arrays(conn: Connection, chosen: sql.Composed) -> IntervalArrays:
    columns = _columns(conn, chosen, ("count", "has_states", *_FLOATS))
    times = _times_ms(columns)
    states: list[dict[str, int] | None] = [None] * times.size
    if columns["has_states"].any():
        for time_ms, durations in conn.execute(
            sql.SQL("SELECT epoch_ms(time), states {} AND states IS NOT NULL").format(chosen), binary=True
        ):
            states[int(np.searchsorted(times, time_ms))] = durations
    return IntervalArrays(
        time_ms=times,
        count=columns["count"].astype(np.int64),
        states=states,
        **{column: columns[column].astype(np.float64) for column in _FLOATS},
    )


def _columns(conn: Connection, chosen: sql.Composed, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """``time`` and the columns of ``names`` in the order of time, through PostgreSQL's binary COPY; ``has_states`` is
    one for all rows.

    All rows are sent as one, whose fields are columns: a message a row would take most of the time. NaN stands for
    NULL. The rows come as they are found, which is nearly always in their order already: to sort them in the database
    would take as long as to read them.
    """
    columns = ("time", *names)
    query = sql.SQL("COPY (SELECT {} {}) TO STDOUT (FORMAT binary)").format(
        sql.SQL(", ").join(_sent(name) for name in columns), chosen
    )
    with conn.cursor() as cursor, cursor.copy(query) as copy:
        octets = memoryview(b"".join(copy))
    found = {}
    position = len(_COPY_HEADER) + _FIELD_COUNT_BYTES
    for name in columns:
        length = int.from_bytes(octets[position : position + _LENGTH_BYTES], "big", signed=True)
        begin = position + _LENGTH_BYTES
        # Of no rows everything is NULL, whose length is -1.
        position = begin + max(length, 0)
        found[name] = np.frombuffer(octets[begin:position], dtype=_SENT.get(name, ("", ">f8"))[1])
    if np.any(found["time"][1:] < found["time"][:-1]):
        order = np.argsort(found["time"])
        return {name: column if name == "has_states" else column[order] for name, column in found.items()}
    return found


def _sent(name: str) -> sql.Composable:
    if name in _SENT:
        return sql.SQL(_SENT[name][0])
    return sql.SQL("string_agg(float8send(coalesce({}, 'NaN')), '')").format(sql.Identifier(name))


def _times_ms(columns: Mapping[str, npt.NDArray[Any]]) -> IntArray:
    times: IntArray = columns["time"].astype(np.int64) // 1000 + POSTGRES_EPOCH_MS
    return times


def read_gateway_intervals(conn: Connection, gateway: str, from_ms: int, to_ms: int) -> dict[str, IntervalColumns]:
    """The stored intervals of all series of a gateway that start in [from_ms, to_ms), of those that have any."""
    rows = conn.execute(
        """
        SELECT series.name, epoch_ms(time), first, last, minimum, maximum, sum, count, mean, increase, coverage, states
        FROM interval JOIN series ON series.id = interval.series
        WHERE series.gateway = %s AND time >= %s AND time < %s
        ORDER BY series.name, time
        """,
        (gateway, instant(from_ms), instant(to_ms)),
        binary=True,
    )
    found: dict[str, IntervalColumns] = {}
    for name, series_rows in groupby(rows, key=itemgetter(0)):
        columns = [list(column) for column in zip(*series_rows, strict=True)]
        found[name] = IntervalColumns(*columns[1:])
    return found


def interval_days(conn: Connection, gateway: str, from_ms: int | None = None, to_ms: int | None = None) -> list[int]:
    """The UTC days (starts, ms) in [from_ms, to_ms) for which intervals of a gateway are stored."""
    rows = conn.execute(
        """
        SELECT DISTINCT epoch_ms(date_trunc('day', time, 'UTC')) FROM interval
        WHERE series IN (SELECT id FROM series WHERE gateway = %(gateway)s)
          AND (%(from)s::timestamptz IS NULL OR time >= %(from)s) AND (%(to)s::timestamptz IS NULL OR time < %(to)s)
        ORDER BY 1
        """,
        {
            "gateway": gateway,
            "from": None if from_ms is None else instant(from_ms),
            "to": None if to_ms is None else instant(to_ms),
        },
    )
    return [int(day) for (day,) in rows]


def intervals_between(conn: Connection, series: Sequence[str], from_ms: int, to_ms: int) -> list[IntervalRow]:
    """The stored intervals of several series that start in [from_ms, to_ms), in the order of time, then of series."""
    rows = conn.execute(
        """
        SELECT series.name, epoch_ms(time), first, last, minimum, maximum, sum, count, mean, increase, coverage, states
        FROM interval JOIN series ON series.id = interval.series
        WHERE interval.series IN (SELECT id FROM series WHERE name = ANY(%s)) AND time >= %s AND time < %s
        ORDER BY time, series.name
        """,
        (list(series), instant(from_ms), instant(to_ms)),
        binary=True,
    )
    return [IntervalRow(*row) for row in rows]


def next_interval_ms(conn: Connection, series: Sequence[str], from_ms: int) -> int | None:
    """The start of the first stored interval of these series at or after ``from_ms``; None when there is none."""
    row = conn.execute(
        """
        SELECT epoch_ms(min(following.time)) FROM series
        CROSS JOIN LATERAL (
            SELECT time FROM interval WHERE interval.series = series.id AND time >= %s ORDER BY time LIMIT 1
        ) AS following
        WHERE series.name = ANY(%s)
        """,
        (instant(from_ms), list(series)),
        binary=True,
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def interval_extent(conn: Connection, series: str) -> tuple[int, int] | None:
    """The starts (ms, UTC) of the first and the last stored interval of a series, or None when there are none."""
    row = conn.execute(
        """
        SELECT epoch_ms(min(time)), epoch_ms(max(time)) FROM interval
        WHERE series = (SELECT id FROM series WHERE name = %s)
        """,
        (series,),
        binary=True,
    ).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])
