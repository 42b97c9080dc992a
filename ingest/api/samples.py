"""Raw samples, decoded from the signed records while they are sent.

A range is walked in windows that hold a bounded number of samples, however long it is and however fast the series are
polled; each window is one short transaction, so that a slow reader holds no connection.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Depends, Request, Response

from evidence.readings import SkippedRecord
from evidence.samples import Samples, collect_samples
from ingest.api.access import check_gateway, needs
from ingest.api.answers import TABLE_RESPONSES
from ingest.api.cursors import read_cursor
from ingest.api.descriptors import Descriptors
from ingest.api.formats import TIME_TYPE, FormatParameter, choose_format
from ingest.api.models import SamplePage
from ingest.api.parameters import Cursor, From, RowLimit, SeriesIds, To, check_range
from ingest.api.problems import not_found
from ingest.api.tables import TableAnswer
from ingest.clock_window import DAY_MS
from store.database import Connection, Pool, reading
from store.readers import Reader, Scope
from store.records import count_records, next_samples_ms, read_records
from store.series import known_series
from wire.descriptor import Descriptor
from wire.errors import RecordError
from wire.record import Kind, Payload, open_record

SampleReader = Annotated[Reader, Depends(needs(Scope.SAMPLES))]
SampleKey = tuple[int, str, int]

WINDOW_SAMPLES = 100_000
WINDOW_RECORDS = 4_096
MAXIMUM_WINDOWS_A_DAY = 1_440
NAMED_RECORDS = 1_000

SCHEMA = pa.schema(
    [
        pa.field("time", TIME_TYPE),
        pa.field("series", pa.dictionary(pa.int32(), pa.string())),
        pa.field("value", pa.float64()),
        pa.field("unit", pa.dictionary(pa.int32(), pa.string())),
        pa.field("status", pa.uint32()),
        pa.field("record", pa.int64()),
    ]
)


def add_samples(router: APIRouter, connections: Pool, descriptors: Descriptors) -> None:
    """Add the route."""

    @router.get(
        "/samples",
        operation_id="read_samples",
        tags=["measurements"],
        response_model=SamplePage,
        responses=TABLE_RESPONSES,
    )
    def samples(
        *,
        request: Request,
        reader: SampleReader,
        series: SeriesIds,
        from_ms: From,
        to_ms: To,
        format_: FormatParameter = None,
        limit: RowLimit = None,
        cursor: Cursor = None,
    ) -> Response:
        """Every read of the series in [from, to), good or not, by time, then series, then record.

        Signatures are not verified here: fetch the records for that.
        """
        check_range(from_ms, to_ms)
        chosen = choose_format(format_, request)
        names = sorted(set(series))
        query = {"of": "samples", "series": names, "from": from_ms, "to": to_ms}
        key = read_cursor(cursor, query, (int, str, int))
        with reading(connections) as conn:
            check_series(conn, reader, names)
        walk = SampleWalk(
            connections, descriptors, names, from_ms, to_ms, after=None if key is None else (key[0], key[1], key[2])
        )
        answer = TableAnswer(
            request,
            chosen,
            SCHEMA,
            "samples",
            query=query,
            key=_key,
            head={},
            remarks=lambda: {"skipped_records": walk.skipped_records, "skipped": walk.skipped},
        )
        return answer.stream(walk.batches()) if limit is None else answer.page(walk.batches(), limit)


def check_series(conn: Connection, reader: Reader, names: Sequence[str]) -> None:
    """Raise the problem of a series that is not stored, or not for this reader."""
    for name in names:
        check_gateway(reader, name.partition("/")[0])
    known = known_series(conn, names)
    for name in names:
        if name not in known:
            raise not_found(f"series {name}")


class SampleWalk:
    """One walk through a range. ``skipped_records`` counts those that cannot be read, ``skipped`` names the first."""

    def __init__(
        self,
        connections: Pool,
        descriptors: Descriptors,
        series: Sequence[str],
        from_ms: int,
        to_ms: int,
        *,
        after: SampleKey | None = None,
    ) -> None:
        self.skipped: list[dict[str, Any]] = []
        self.skipped_records = 0
        self._last_skipped: dict[str, set[int]] = defaultdict(set)
        self._connections = connections
        self._descriptors = descriptors
        self._from_ms, self._to_ms = from_ms, to_ms
        self._after = after
        self._series: dict[str, list[str]] = defaultdict(list)
        for name in sorted(series):
            self._series[name.partition("/")[0]].append(name)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The samples in order, a batch a window; windows without any are passed over."""
        position = self._from_ms if self._after is None else max(self._from_ms, self._after[0])
        while position < self._to_ms:
            with reading(self._connections) as conn:
                found = [next_samples_ms(conn, gateway, position) for gateway in self._series]
                position = min((one for one in found if one is not None), default=self._to_ms)
                if position >= self._to_ms:
                    return
                end = min(self._to_ms, self._window_end(conn, position))
                samples = [one for gateway in self._series for one in self._decode(conn, gateway, position, end)]
            batch = self._batch(samples, position, end)
            if batch.num_rows:
                yield batch
            position = end

    def _window_end(self, conn: Connection, position: int) -> int:
        """The end of the window that begins at ``position``: at most the end of the UTC day."""
        day_end = (position // DAY_MS + 1) * DAY_MS
        counts = [count_records(conn, gateway, position, day_end) for gateway in self._series]
        records, samples = sum(one for one, _ in counts), sum(one for _, one in counts)
        parts = max(-(-samples // WINDOW_SAMPLES), -(-records // WINDOW_RECORDS), 1)
        return position + max(-(-(day_end - position) // parts), DAY_MS // MAXIMUM_WINDOWS_A_DAY)

    def _decode(self, conn: Connection, gateway: str, from_ms: int, to_ms: int) -> list[Samples]:
        skipped: list[SkippedRecord] = []

        def payloads() -> Iterator[Payload]:
            for stored in read_records(conn, gateway, from_ms=from_ms, to_ms=to_ms, kind=Kind.FRAMES):
                try:
                    payload = open_record(stored.data, None).payload
                except RecordError as error:
                    skipped.append(SkippedRecord(stored.seq, f"it is not what was admitted: {error}"))
                    continue
                yield payload

        def descriptor_of(digest: bytes) -> Descriptor | None:
            return self._descriptors.get(conn, gateway, digest)

        samples = collect_samples(payloads(), descriptor_of, self._series[gateway], skipped)
        self._tell(gateway, skipped)
        return samples

    def _tell(self, gateway: str, skipped: Sequence[SkippedRecord]) -> None:
        """A record that lies across the border of two windows is told of once."""
        before, self._last_skipped[gateway] = self._last_skipped[gateway], {one.seq for one in skipped}
        new = [one for one in skipped if one.seq not in before]
        self.skipped_records += len(new)
        room = NAMED_RECORDS - len(self.skipped)
        self.skipped += [{"gateway": gateway, "record": one.seq, "reason": one.reason} for one in new[:room]]

    def _batch(self, samples: Sequence[Samples], from_ms: int, to_ms: int) -> pa.RecordBatch:
        names = [name for series in self._series.values() for name in series]
        units = list(dict.fromkeys(one.unit for one in samples))
        time = _joined([one.time_ms for one in samples], np.int64)
        series = _joined([np.full(one.time_ms.size, names.index(one.series)) for one in samples], np.int32)
        unit = _joined([np.full(one.time_ms.size, units.index(one.unit)) for one in samples], np.int32)
        value = _joined([one.values for one in samples], np.float64)
        status = _joined([one.status for one in samples], np.uint32)
        seq = _joined([one.seq for one in samples], np.int64)
        kept = (time >= from_ms) & (time < to_ms)
        if self._after is not None:
            after_ms, after_name, after_seq = self._after
            behind = np.array([name > after_name for name in names], dtype=bool)[series]
            same = np.array([name == after_name for name in names], dtype=bool)[series]
            kept &= (time > after_ms) | ((time == after_ms) & (behind | (same & (seq > after_seq))))
        order = np.flatnonzero(kept)
        order = order[np.lexsort((seq[order], series[order], time[order]))]
        value = value[order]
        return pa.RecordBatch.from_arrays(
            [
                pa.array(time[order], TIME_TYPE),
                pa.DictionaryArray.from_arrays(pa.array(series[order]), pa.array(names, pa.string())),
                pa.array(value, mask=np.isnan(value)),
                pa.DictionaryArray.from_arrays(pa.array(unit[order]), pa.array(units, pa.string())),
                pa.array(status[order]),
                pa.array(seq[order]),
            ],
            schema=SCHEMA,
        )


def _joined(arrays: Sequence[Any], type_: Any) -> Any:
    return np.concatenate([np.zeros(0, dtype=type_), *arrays]).astype(type_, copy=False)


def _key(batch: pa.RecordBatch, row: int) -> SampleKey:
    time, series, record = (batch.column(name)[row] for name in ("time", "series", "record"))
    return time.value, series.as_py(), record.as_py()
