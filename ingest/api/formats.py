"""The three forms of long tables: Arrow IPC stream, CSV, JSON. Each is written piece by piece as its batches come.

CSV follows RFC 4180 with LF at line ends, in UTF-8; times are ISO 8601 in UTC, a missing value is an empty field.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from fastapi import Query, Request

from ingest.api.problems import ApiProblemError

TIME_TYPE = pa.timestamp("ms", tz="UTC")
_ISO = "%Y-%m-%dT%H:%M:%SZ"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Format(StrEnum):
    """Forms of an answer, as ``?format=`` names them."""

    ARROW = "arrow"
    CSV = "csv"
    JSON = "json"


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}
FormatParameter = Annotated[
    Format | None, Query(alias="format", description="Form of the answer; takes precedence over the header Accept.")
]


def choose_format(wish: Format | None, request: Request) -> Format:
    """The form asked for by parameter, else by ``Accept`` (RFC 9110, 12.5.1), else JSON. Raises the problem 406."""
    if wish is not None:
        return wish
    accept = request.headers.get("accept", "*/*")
    for media_range in _by_weight(accept):
        for format_, media_type in MEDIA_TYPES.items():
            if media_range in (media_type, "*/*", f"{media_type.partition('/')[0]}/*"):
                return format_
    raise ApiProblemError(
        HTTPStatus.NOT_ACCEPTABLE,
        "not-acceptable",
        f"Accept: none of its types is one of {', '.join(MEDIA_TYPES.values())}",
    )


def _by_weight(accept: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for part in accept.split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            continue
        if weight > 0:
            weighted.append((weight, media_range))
    return [media_range for _, media_range in sorted(weighted, key=lambda one: -one[0])]


Ending = Callable[[], Mapping[str, Any]]


def encode(
    format_: Format,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    name: str,
    head: Mapping[str, Any],
    ending: Ending,
) -> Iterator[bytes]:
    """The bytes of a table, a piece a batch.

    Only JSON has room for more than rows: ``head`` stands before them, what ``ending`` returns once they are written
    behind them, the rows under ``name``.
    """
    if format_ is Format.ARROW:
        return _arrow(schema, batches)
    if format_ is Format.CSV:
        return _csv(schema, batches)
    return _json(batches, name, head, ending)


def _arrow(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield _take(buffer)
    yield _take(buffer)


def _csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    plain = pa.schema([(field.name, _plain(field.type)) for field in schema])
    with pa.csv.CSVWriter(buffer, plain) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([_as_text(column) for column in batch.columns], schema=plain))
            yield _take(buffer)
    yield _take(buffer)


def _plain(type_: pa.DataType) -> pa.DataType:
    written = pa.types.is_timestamp(type_) or pa.types.is_dictionary(type_) or pa.types.is_map(type_)
    return pa.string() if written else type_


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format=_ISO)
    if pa.types.is_dictionary(column.type):
        words = [None if word is None else _field(word) for word in column.dictionary.to_pylist()]
        return pa.array(words, pa.string()).take(column.indices)
    if pa.types.is_map(column.type):
        return pa.array([None if one is None else json.dumps(one) for one in _for_json(column)], pa.string())
    return column


def _field(text: str) -> str:
    """A spreadsheet would run such text as a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _json(batches: Iterable[pa.RecordBatch], name: str, head: Mapping[str, Any], ending: Ending) -> Iterator[bytes]:
    opening = json.dumps(head, ensure_ascii=False)[:-1]
    yield f'{opening}{", " if head else ""}"{name}": ['.encode()
    separator = "\n"
    for batch in batches:
        names = batch.schema.names
        columns = [_for_json(column) for column in batch.columns]
        rows = [
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in zip(*columns, strict=True)
        ]
        if rows:
            yield (separator + ",\n".join(rows)).encode()
            separator = ",\n"
    yield f"\n], {json.dumps(ending(), ensure_ascii=False)[1:]}\n".encode()


def _for_json(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column, format=_ISO)
    values: list[Any] = column.to_pylist()
    if pa.types.is_map(column.type):
        return [None if pairs is None else dict(pairs) for pairs in values]
    return values


def _take(buffer: io.BytesIO) -> bytes:
    taken = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return taken
