"""Turns dirty gateway-days into intervals: reads the day's records again, replaces the day's intervals.

Doing it twice is doing it once, and the order in which records arrived does not matter. A day is left alone until its
first mark is `SETTLE_MS` old, so that history fed at high speed, or a live day, is not computed again for every record.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import psycopg

from evidence.intervals import MARGIN_MS, IntervalSet, SeriesIntervals, build_intervals
from ingest.clock_window import DAY_MS, ClockWindow
from ingest.history import Interpreters
from ingest.readings import NewestReadings
from ingest.transaction import latest_values, now_ms
from store.arrivals import replace_arrivals
from store.database import Connection, Pool, transaction
from store.dirty import claim_dirty, finish_dirty
from store.errors import DatabaseUnreachableError
from store.incidents import add_incident
from store.intervals import IntervalRow, replace_intervals
from store.latest import upsert_latest
from store.records import count_samples, read_records
from store.retention import is_removed
from wire.descriptor import Descriptor
from wire.errors import RecordError
from wire.record import Payload, open_record

SETTLE_MS = 2_000
"""How long a day rests after its first mark before it is computed."""

UNREADABLE_RECORD = "unreadable-record"
"""Incident: a stored record does not decode; its bytes were changed after they were admitted."""

INTERVALS_FAILED = "intervals-failed"
"""Incident: the intervals of a day could not be computed; the ones before are left."""

DAY_CLOSED = "day-closed"
"""Incident: something about a day changed after records of it were removed; its intervals stay as they are."""

PATIENCE_SECONDS = 60.0
"""How long the days of a process that admits a backlog wait for its end."""

_IDLE_SECONDS = 0.5
_DATABASE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class IntervalWorker:
    """One thread that computes dirty days; several workers, in any number of processes, share the work.

    :param admission_is_busy: asked before each day: acknowledgements come first, so that days wait while a backlog is
        admitted by this process, but for no longer than `PATIENCE_SECONDS`.
    :param computed: told after each day.
    """

    def __init__(
        self,
        connections: Pool,
        *,
        settle_ms: int = SETTLE_MS,
        admission_is_busy: Callable[[], bool] = lambda: False,
        computed: Callable[[], None] = lambda: None,
    ) -> None:
        self.days_computed = 0
        self._connections = connections
        self._settle_ms = settle_ms
        self._admission_is_busy = admission_is_busy
        self._computed = computed
        self._busy_since: float | None = None
        self._interpreters = Interpreters()
        self._reported: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-intervals", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 60.0) -> None:
        """Finish the day in hand and leave."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def compute_next(self, settle_ms: int = 0) -> bool:
        """Compute one dirty day whose first mark is at least ``settle_ms`` old; tell whether there was one.

        Raises `store.errors.DatabaseUnreachableError` when the database is away; the day stays dirty.
        """
        with transaction(self._connections) as conn:
            claim = claim_dirty(conn, settle_ms)
            if claim is None:
                return False
            try:
                with conn.transaction():
                    if is_removed(conn, claim.gateway, claim.day_ms - MARGIN_MS, claim.day_ms + DAY_MS + MARGIN_MS):
                        self._leave(conn, claim.gateway, claim.day_ms)
                    else:
                        self._compute(conn, claim.gateway, claim.day_ms)
            except (DatabaseUnreachableError, psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except Exception as error:
                # A day that cannot be computed must not hold up the others.
                _log.exception("no intervals for gateway %s, day %d", claim.gateway, claim.day_ms)
                detail = {"day_ms": claim.day_ms, "error": str(error)}
                add_incident(conn, claim.gateway, INTERVALS_FAILED, None, detail, None, now_ms())
            finish_dirty(conn, claim)
        self.days_computed += 1
        self._computed()
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._gives_way() or not self.compute_next(self._settle_ms):
                    self._stopping.wait(_IDLE_SECONDS)
            except Exception:
                # Whatever it is, the day is still dirty: the next attempt may meet a database that answers again.
                _log.exception("the intervals of a day are not computed; next attempt in %.0f s", _DATABASE_SECONDS)
                self._stopping.wait(_DATABASE_SECONDS)

    def _gives_way(self) -> bool:
        if not self._admission_is_busy():
            self._busy_since = None
            return False
        now = time.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        return now - self._busy_since < PATIENCE_SECONDS

    def _compute(self, conn: Connection, gateway: str, day_ms: int) -> None:
        end_ms = day_ms + DAY_MS
        uncounted: set[int] = set()
        payloads = list(self._payloads(conn, gateway, day_ms - MARGIN_MS, end_ms + MARGIN_MS, uncounted))
        descriptors: dict[bytes, Descriptor] = {}
        counted: dict[int, int] = {}
        newest, window = NewestReadings(), ClockWindow.at(now_ms())
        for payload in payloads:
            interpreter = self._interpreters.get(conn, gateway, payload.descriptor)
            if interpreter is not None:
                descriptors[payload.descriptor] = interpreter.descriptor
                if payload.seq in uncounted:
                    newest.add(payload.descriptor, interpreter, window.newest_read(payload.frames))
                    if samples := interpreter.samples(payload.frames):
                        counted[payload.seq] = samples
        if counted:
            count_samples(conn, gateway, counted)
        upsert_latest(conn, latest_values(newest.readings(), now_ms()))
        built = build_intervals(payloads, descriptors, day_ms, end_ms)
        replace_intervals(conn, gateway, day_ms, end_ms, list(interval_rows(built)))
        replace_arrivals(conn, gateway, day_ms)

    def _leave(self, conn: Connection, gateway: str, day_ms: int) -> None:
        """Leave the intervals of a day as they are: without the records that were removed they would come out wrong."""
        _log.warning("gateway %s, day %d: records of it were removed, its intervals stay", gateway, day_ms)
        add_incident(conn, gateway, DAY_CLOSED, None, {"day_ms": day_ms}, None, now_ms())

    def _payloads(
        self, conn: Connection, gateway: str, from_ms: int, to_ms: int, uncounted: set[int]
    ) -> Iterator[Payload]:
        """Yield what the stored records say; ``uncounted`` gets those whose samples admission could not count, because
        their descriptor came later."""
        unreadable: list[tuple[int, str]] = []
        for stored in read_records(conn, gateway, from_ms=from_ms, to_ms=to_ms):
            if stored.samples == 0 and stored.first_sample_ms is not None:
                uncounted.add(stored.seq)
            try:
                yield open_record(stored.data, None).payload
            except RecordError as error:
                unreadable.append((stored.seq, str(error)))
        for seq, text in unreadable:
            if (gateway, seq) not in self._reported:
                self._reported.add((gateway, seq))
                _log.error("record %d of gateway %s is not what was admitted: %s", seq, gateway, text)
                add_incident(conn, gateway, UNREADABLE_RECORD, seq, {"error": text}, None, now_ms())


def interval_rows(built: IntervalSet) -> Iterator[IntervalRow]:
    """Yield the intervals of all series in which anything is known, as rows."""
    for series_id, columns in built.columns.items():
        known = np.flatnonzero((columns.count > 0) | (columns.coverage > 0))
        for index in known.tolist():
            yield _row(series_id, columns, index)


def _row(series_id: str, columns: SeriesIntervals, index: int) -> IntervalRow:
    states = None if columns.states is None else columns.states.of(index)
    return IntervalRow(
        series=series_id,
        time_ms=int(columns.time_ms[index]),
        first=_number(columns.first[index]),
        last=_number(columns.last[index]),
        minimum=_number(columns.minimum[index]),
        maximum=_number(columns.maximum[index]),
        sum=_number(columns.sum[index]),
        count=int(columns.count[index]),
        mean=_number(columns.mean[index]),
        increase=_number(columns.increase[index]),
        coverage=float(columns.coverage[index]),
        states=None if states is None else {str(value): duration for value, duration in states.items()},
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
