"""Long tables as answers: a page that has a cursor behind it, or the whole range, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ingest.api.cursors import next_link, write_cursor
from ingest.api.formats import MEDIA_TYPES, Format, encode

KeyOf = Callable[[pa.RecordBatch, int], Sequence[int | str]]
Row = tuple[pa.RecordBatch, int]


class TableAnswer:
    """How one table is answered.

    :param name: of the rows in JSON; ``head`` stands before them there, ``remarks()`` behind them.
    :param key: what a cursor holds of a row: (batch, index) -> parts. Rows with the same key are never parted.
    """

    def __init__(
        self,
        request: Request,
        format_: Format,
        schema: pa.Schema,
        name: str,
        *,
        query: Mapping[str, Any],
        key: KeyOf,
        head: Mapping[str, Any],
        remarks: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._request = request
        self._format = format_
        self._schema = schema
        self._name = name
        self._query = query
        self._key = key
        self._head = head
        self._remarks = remarks

    def stream(self, batches: Iterator[pa.RecordBatch]) -> Response:
        """All batches as they come. The first is made before anything is sent, so that a failure can still be told."""
        first = next(batches, None)
        following = batches if first is None else chain([first], batches)
        pieces = self._encode(following, None)
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[self._format], headers=self._headers())

    def page(self, batches: Iterator[pa.RecordBatch], limit: int) -> Response:
        """The first ``limit`` rows, and the cursor of the next page when there are more."""
        taken: list[pa.RecordBatch] = []
        room, last = limit, None
        following = None
        for batch in batches:
            if batch.num_rows <= room:
                taken.append(batch)
                room -= batch.num_rows
                last = (batch, batch.num_rows - 1) if batch.num_rows else last
                continue
            end = self._end_of_page(batch, room, last)
            if end:
                taken.append(batch.slice(0, end))
                last = (batch, end - 1)
            if end < batch.num_rows and last is not None:
                following = write_cursor(self._query, self._key(*last))
                break
            room = 0
        body = b"".join(self._encode(iter(taken), following))
        headers = {**self._headers(), **next_link(self._request, following), **_skipped(self._remarks())}
        return Response(body, media_type=MEDIA_TYPES[self._format], headers=headers)

    def _end_of_page(self, batch: pa.RecordBatch, room: int, last: Row | None) -> int:
        """Where the page ends in ``batch``: after ``room`` rows, or behind those with the key of the last of them."""
        before = (batch, room - 1) if room else last
        if before is None:
            return room
        key, end = self._key(*before), room
        while end < batch.num_rows and self._key(batch, end) == key:
            end += 1
        return end

    def _encode(self, batches: Iterator[pa.RecordBatch], following: str | None) -> Iterator[bytes]:
        return encode(
            self._format,
            self._schema,
            batches,
            name=self._name,
            head=self._head,
            ending=lambda: {**self._remarks(), "next": following},
        )

    def _headers(self) -> dict[str, str]:
        return {"vary": "Accept, Authorization", "cache-control": "private, no-cache"}


def _skipped(remarks: Mapping[str, Any]) -> dict[str, str]:
    skipped = remarks.get("skipped_records")
    return {} if skipped is None else {"shopfloor-skipped-records": str(skipped)}
