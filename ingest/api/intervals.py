"""Stored intervals: what each series did in each quarter of an hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Depends, Request, Response

from evidence.intervals import QUARTER_HOUR_MS
from ingest.api.access import needs
from ingest.api.answers import TABLE_RESPONSES
from ingest.api.catalogue import series_of
from ingest.api.cursors import read_cursor
from ingest.api.descriptors import Descriptors
from ingest.api.formats import TIME_TYPE, FormatParameter, choose_format
from ingest.api.models import IntervalPage
from ingest.api.parameters import Cursor, From, RowLimit, SeriesIds, To, check_range
from ingest.api.samples import check_series
from ingest.api.tables import TableAnswer
from ingest.clock_window import DAY_MS
from store.database import Connection, Pool, reading
from store.intervals import IntervalRow, intervals_between, next_interval_ms
from store.readers import Reader, Scope

IntervalReader = Annotated[Reader, Depends(needs(Scope.INTERVALS))]
IntervalKey = tuple[int, str]

WINDOW_MS = 10 * DAY_MS
_VALUES = ("first", "last", "minimum", "maximum", "sum")

SCHEMA = pa.schema(
    [
        pa.field("time", TIME_TYPE),
        pa.field("series", pa.dictionary(pa.int32(), pa.string())),
        pa.field("unit", pa.dictionary(pa.int32(), pa.string())),
        *(pa.field(name, pa.float64()) for name in _VALUES),
        pa.field("count", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("mean", "increase", "coverage")),
        pa.field("states", pa.map_(pa.string(), pa.int64())),
    ]
)


def add_intervals(router: APIRouter, connections: Pool, descriptors: Descriptors) -> None:
    """Add the route."""

    @router.get(
        "/intervals",
        operation_id="read_intervals",
        tags=["measurements"],
        response_model=IntervalPage,
        responses=TABLE_RESPONSES,
    )
    def intervals(
        *,
        request: Request,
        reader: IntervalReader,
        series: SeriesIds,
        from_ms: From,
        to_ms: To,
        format_: FormatParameter = None,
        limit: RowLimit = None,
        cursor: Cursor = None,
    ) -> Response:
        """The intervals of the series that start in [from, to), by time, then series. Unknown ones are left out."""
        check_range(from_ms, to_ms)
        chosen = choose_format(format_, request)
        names = sorted(set(series))
        query = {"of": "intervals", "series": names, "from": from_ms, "to": to_ms}
        key = read_cursor(cursor, query, (int, str))
        with reading(connections) as conn:
            check_series(conn, reader, names)
            units = _units(conn, descriptors, names)
        answer = TableAnswer(
            request,
            chosen,
            SCHEMA,
            "intervals",
            query=query,
            key=_key,
            head={"interval_ms": QUARTER_HOUR_MS},
            remarks=dict,
        )
        batches = _batches(connections, units, from_ms, to_ms, None if key is None else (key[0], key[1]))
        return answer.stream(batches) if limit is None else answer.page(batches, limit)


def _batches(
    connections: Pool, units: Mapping[str, str | None], from_ms: int, to_ms: int, after: IntervalKey | None
) -> Iterator[pa.RecordBatch]:
    names, position = list(units), from_ms if after is None else max(from_ms, after[0])
    while position < to_ms:
        with reading(connections) as conn:
            found = next_interval_ms(conn, names, position)
            if found is None or found >= to_ms:
                return
            end = min(found + WINDOW_MS, to_ms)
            rows = intervals_between(conn, names, found, end)
        kept = rows if after is None else [row for row in rows if (row.time_ms, row.series) > after]
        if kept:
            yield _batch(kept, units)
        position = end


def _batch(rows: Sequence[IntervalRow], units: Mapping[str, str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "time": [row.time_ms for row in rows],
            "series": [row.series for row in rows],
            "unit": [units[row.series] for row in rows],
            **{
                name: [getattr(row, name) for row in rows]
                for name in (*_VALUES, "count", "mean", "increase", "coverage")
            },
            "states": [None if row.states is None else list(row.states.items()) for row in rows],
        },
        schema=SCHEMA,
    )


def _units(conn: Connection, descriptors: Descriptors, names: Sequence[str]) -> dict[str, str | None]:
    units: dict[str, str | None] = dict.fromkeys(names)
    for gateway in sorted({name.partition("/")[0] for name in names}):
        newest = descriptors.newest(conn, gateway)
        if newest is not None:
            described = series_of(newest[2])
            units |= {name: described[name].unit for name in names if name in described}
    return units


def _key(batch: pa.RecordBatch, row: int) -> IntervalKey:
    return batch.column("time")[row].value, batch.column("series")[row].as_py()
