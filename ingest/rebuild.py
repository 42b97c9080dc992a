"""Proves that the tables equal the records, and makes them equal: every record verified, every projection compared.

A check reads one gateway after the other, each in one snapshot, so that ingestion may go on meanwhile: days whose
intervals wait to be computed are counted and not compared. A rebuild sets right what a check would report, marks the
days for recomputation and works through them beside whatever workers run. Nothing is repaired from a record that is
not authentic, and nothing is removed while there is one: such faults stay, and are reported.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from evidence.intervals import MARGIN_MS, QUARTER_HOUR_MS, IntervalSet, SeriesIntervals, build_intervals
from evidence.recomputation import differences
from ingest.clock_window import DAY_MS, utc_days
from ingest.errors import RebuildError
from ingest.history import Interpreters
from ingest.readings import Reading
from ingest.record_scan import BLOCK_RECORDS, RecordScan, ScanResult, WrongColumns, declared_gaps
from ingest.retention import removed_gaps
from ingest.transaction import latest_values, now_ms
from ingest.trust import stored_trust
from ingest.worker import IntervalWorker
from store.arrivals import arrival_days, computed_arrivals, kept_arrivals
from store.clocks import keep_clocks, read_clock, remove_clock
from store.database import Connection, Pool, snapshot, transaction
from store.dirty import dirty_days, mark_dirty, marks_left, newest_mark
from store.gateways import add_successor, gateways
from store.intervals import IntervalColumns, interval_days, read_gateway_intervals
from store.latest import LatestValue, read_latest, upsert_latest
from store.projections import (
    correct_stray_rows,
    read_longest_ms,
    remove_latest,
    remove_series,
    remove_successors,
    stray_rows,
    write_longest_ms,
)
from store.records import (
    NO_HASH,
    ChainHead,
    advance_head,
    lock_head,
    read_head,
    read_records,
    record_count,
    record_hashes,
    replace_record,
    sequence_range,
)
from store.retention import RemovedRun, removed_runs
from store.series import series_names
from wire.descriptor import Descriptor
from wire.errors import RecordError, ShopfloorError
from wire.record import Kind, Payload, open_record
from wire.rotation import KeyHistory

DIFFERENCES_LISTED = 1_000
"""So many differences are listed; beyond that they are only counted."""

_ALWAYS = -62_135_596_800_000, 253_402_214_400_000
"""0001-01-01 to 9999-12-31: whatever a database can hold."""

_OTHERS_SECONDS = 0.2
_NO_INTERVALS = SeriesIntervals.from_lists(IntervalColumns())

Notice = Callable[[float, str], None]
"""Told how far the work is: the share that is done (0 to 1), and in words what is being done."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where tables and records differ, or where a record does not hold.

    ``kind``: a fault of `wire.chain.ChainFault`, or ``record-columns``, ``chain-head``, ``record-span``, ``clock``,
    ``gateway-key``, ``latest``, ``series``, ``interval``, ``intervals-fail``, ``arrivals``, ``unknown-gateway``,
    ``stray-intervals``. ``day`` is a UTC date. ``repaired`` tells whether a rebuild has set it right.
    """

    kind: str
    gateway: str
    text: str
    day: str | None = None
    series: str | None = None
    seq: int | None = None
    repaired: bool = False


@dataclass(slots=True)
class GatewayReport:
    """What was looked at of one gateway. ``pending_days`` wait for their intervals and were not compared;
    ``removed_runs`` are stretches of records that retention has taken away, with account."""

    records: int = 0
    samples: int = 0
    head_seq: int = 0
    signed_gaps: int = 0
    days: int = 0
    pending_days: int = 0
    removed_runs: int = 0


@dataclass(slots=True)
class RebuildReport:
    """What a check or a rebuild found; ``counts`` has all differences by kind, ``differences`` the first of them."""

    gateways: dict[str, GatewayReport] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unrepaired: int = 0

    @property
    def equal(self) -> bool:
        """Whether tables and records are equal now, as far as they were looked at."""
        return self.unrepaired == 0

    @property
    def pending_days(self) -> int:
        """Gateway-days that were not compared because their intervals wait to be computed."""
        return sum(one.pending_days for one in self.gateways.values())

    def add(self, difference: Difference) -> None:
        """Count a difference, and list it while there is room."""
        self.counts[difference.kind] += 1
        self.unrepaired += not difference.repaired
        if len(self.differences) < DIFFERENCES_LISTED:
            self.differences.append(difference)

    def merge(self, other: RebuildReport) -> None:
        """Take over what another report found."""
        self.gateways.update(other.gateways)
        self.counts.update(other.counts)
        self.unrepaired += other.unrepaired
        self.differences += other.differences[: max(DIFFERENCES_LISTED - len(self.differences), 0)]

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON-able values."""
        return {
            "equal": self.equal,
            "pending_days": self.pending_days,
            "unrepaired": self.unrepaired,
            "counts": dict(sorted(self.counts.items())),
            "gateways": {gateway: asdict(one) for gateway, one in sorted(self.gateways.items())},
            "differences": [asdict(one) for one in self.differences],
        }


def check(
    connections: Pool,
    only: Collection[str] | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    notice: Notice = lambda *_: None,
) -> RebuildReport:
    """Compare all projections with the records; nothing is changed.

    ``only`` names gateways (None: all); ``from_ms`` and ``to_ms`` (UTC, half-open, widened to whole UTC days) limit the
    work to the records and days in between: heads, spans, keys, latest values and series are compared without them
    only. Raises `RebuildError` for a gateway that is not enrolled, `store.errors.DatabaseUnreachableError` when the
    database goes away.
    """
    report = RebuildReport()
    range_ms = _range(from_ms, to_ms)
    with transaction(connections) as conn:
        chosen = _chosen(conn, only)
        for difference in _stray_differences(conn, repaired=False) if only is None else ():
            report.add(difference)
    for number, gateway in enumerate(chosen):
        told = _Share(notice, gateway, number, len(chosen))
        with snapshot(connections) as conn:
            pending = set(dirty_days(conn, gateway, *(range_ms or _ALWAYS)))
            scan = _GatewayScan(conn, gateway, range_ms, report, told)
            late = False
            for wrong in scan.wrong_columns(conn):
                if _waits(wrong, pending):
                    late = True
                else:
                    report.add(_column_difference(wrong, repaired=False))
            if range_ms is None:
                for difference, _ in _small_differences(conn, gateway, scan.result, latest_waits=late):
                    report.add(difference)
            days = [day for day in _days(conn, gateway, scan.result, range_ms) if day not in pending]
            report.gateways[gateway] = _gateway_report(scan, len(days), len(pending))
            for done, day_ms in enumerate(days):
                told.days(done / len(days))
                for difference in _interval_differences(conn, gateway, day_ms, scan.interpreters):
                    report.add(difference)
                for difference in _arrival_differences(conn, gateway, day_ms):
                    report.add(difference)
    return report


def rebuild(
    connections: Pool,
    only: Collection[str] | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    notice: Notice = lambda *_: None,
) -> RebuildReport:
    """Set the projections right from the records, as `check` compares them; returns what was wrong.

    All intervals of the range are computed again, and are not compared before. Ingestion may go on: a gateway is locked
    while what was found is written, not while it is looked for. Raises what `check` raises.
    """
    report = RebuildReport()
    range_ms = _range(from_ms, to_ms)
    with transaction(connections) as conn:
        chosen = _chosen(conn, only)
        if only is None:
            for difference in _stray_differences(conn, repaired=True):
                report.add(difference)
            correct_stray_rows(conn)
    for number, gateway in enumerate(chosen):
        report.merge(_repair(connections, gateway, range_ms, _Share(notice, gateway, number, len(chosen))))
    _compute_marked(connections, notice)
    return report


@dataclass(frozen=True, slots=True)
class _Share:
    """Turns the share that is done of one gateway into that of all."""

    notice: Notice
    gateway: str
    number: int
    total: int

    def records(self, share: float) -> None:
        """Half of the work is looking at the records."""
        self.notice((self.number + share / 2) / self.total, f"{self.gateway}, records")

    def days(self, share: float) -> None:
        """The other half is computing their days."""
        self.notice((self.number + 0.5 + share / 2) / self.total, f"{self.gateway}, days")


def _chosen(conn: Connection, only: Collection[str] | None) -> list[str]:
    known = [one.id for one in gateways(conn)]
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise RebuildError(
            f"no gateway is enrolled as {', '.join(unknown)}; 'shopfloor ingest status' lists those that are"
        )
    return known if only is None else sorted(set(only))


def _range(from_ms: int | None, to_ms: int | None) -> Range | None:
    if from_ms is None and to_ms is None:
        return None
    first = _ALWAYS[0] if from_ms is None else from_ms // DAY_MS * DAY_MS
    last = _ALWAYS[1] if to_ms is None else -(-to_ms // DAY_MS) * DAY_MS
    if first >= last:
        raise RebuildError("the range is empty: --to must be later than --from")
    return first, last


def _stray_differences(conn: Connection, *, repaired: bool) -> Iterator[Difference]:
    stray = stray_rows(conn)
    for gateway in stray.gateways:
        yield Difference("unknown-gateway", gateway, "its records are stored, but no gateway is enrolled under this id")
    for name in stray.series:
        text = f"series {name} is listed under another gateway than its name says"
        yield Difference("series", name.split("/", 1)[0], text, series=name, repaired=repaired)
    for number in stray.intervals:
        text = f"intervals are stored of a series with number {number}, which is not listed"
        yield Difference("stray-intervals", "", text, repaired=repaired)


class _GatewayScan:
    """The records of one gateway, read in order; what is not authentic or not in its place goes into ``report``."""

    def __init__(
        self, conn: Connection, gateway: str, range_ms: Range | None, report: RebuildReport, told: _Share
    ) -> None:
        self.interpreters = Interpreters()
        self.faults = 0
        self._conn = conn
        self._gateway = gateway
        self._report = report
        self._told = told
        trust = stored_trust(conn, gateway)
        if trust is None:
            raise RebuildError(f"gateway {gateway} is not enrolled any more")
        self._seqs: tuple[int, int | None] | None = (1, None)
        if range_ms is not None:
            self._seqs = sequence_range(conn, gateway, range_ms[0] - MARGIN_MS, range_ms[1] + MARGIN_MS)
        first = 1 if self._seqs is None else self._seqs[0]
        removed = removed_gaps(conn, gateway)
        self.removed = {gap.first for gap in removed}
        self._scan = RecordScan(
            gateway,
            # The whole chain proves its own keys from the enrolled one on; a part of it cannot.
            KeyHistory(trust.keys.first) if first == 1 else trust.keys,
            gaps=[*declared_gaps(read_records(conn, gateway, kind=Kind.EVENT), trust.keys), *removed],
            start=ChainHead(0, NO_HASH) if first == 1 else self._head_at(first - 1),
            interpreter_of=lambda descriptor: self.interpreters.get(self._conn, gateway, descriptor),
            hash_of=self._hash,
        )

    @property
    def result(self) -> ScanResult:
        """What has been learned so far."""
        return self._scan.result

    def wrong_columns(self, conn: Connection) -> Iterator[WrongColumns]:
        """Read on, from the first record or from where the last call ended, and yield the rows that are wrong."""
        self._conn = conn
        if self._seqs is None:
            return
        first, last = max(self._seqs[0], self.result.last_seq + 1), self._seqs[1]
        end = read_head(conn, self._gateway).seq if last is None else last
        records = read_records(conn, self._gateway, first_seq=first, last_seq=last)
        while block := list(islice(records, BLOCK_RECORDS)):
            faults, wrong = self._scan.feed(block)
            self.faults += len(faults)
            for fault in faults:
                text = f"record {fault.seq}: {fault.text}"
                self._report.add(Difference(fault.fault, self._gateway, text, seq=fault.seq))
            yield from wrong
            self._told.records(min((block[-1].seq - first + 1) / max(end - first + 1, 1), 1.0))

    def _head_at(self, seq: int) -> ChainHead | None:
        hash_ = self._hash(seq)
        return None if hash_ is None else ChainHead(seq, hash_)

    def _hash(self, seq: int) -> bytes | None:
        return record_hashes(self._conn, self._gateway, seq, seq).get(seq)


def _waits(wrong: WrongColumns, pending: set[int]) -> bool:
    """Tell whether a row only waits for a worker to count its samples, because its descriptor came after it."""
    first_ms, last_ms = wrong.right.first_sample_ms, wrong.right.last_sample_ms
    if wrong.columns != ("samples",) or wrong.stored.samples or first_ms is None or last_ms is None:
        return False
    return any(day in pending for day in utc_days(first_ms, last_ms))


def _column_difference(wrong: WrongColumns, *, repaired: bool) -> Difference:
    seq = wrong.stored.seq
    text = f"record {seq}: {wrong.text}"
    day_ms = wrong.right.time_ms // DAY_MS * DAY_MS
    return Difference("record-columns", wrong.stored.gateway, text, day=_date(day_ms), seq=seq, repaired=repaired)


Correct = Callable[[Connection], None]


def _small_differences(
    conn: Connection, gateway: str, result: ScanResult, *, latest_waits: bool
) -> Iterator[tuple[Difference, Correct]]:
    """Yield how head, span, clock, keys, latest values and series differ from what a scan of all records says, each
    with what sets it right under the lock of the head."""
    head = read_head(conn, gateway)
    if head != result.head:
        text = f"the head is {_shown(head)}, the records end with {_shown(result.head)}"
        difference = Difference("chain-head", gateway, text, seq=result.head.seq)
        yield difference, partial(advance_head, gateway=gateway, head=result.head)
    longest_ms = read_longest_ms(conn, gateway)
    if longest_ms != result.longest_ms:
        text = f"the longest record is said to hold {longest_ms} ms, it holds {result.longest_ms} ms"
        difference = Difference("record-span", gateway, text)
        yield difference, partial(write_longest_ms, gateway=gateway, longest_ms=result.longest_ms)
    kept = read_clock(conn, gateway)
    if kept is not None and kept != result.clock:
        text = (
            f"the clock is kept as record {kept.seq} tells, its newest record is {result.last_seq}, or tells otherwise"
        )
        yield Difference("clock", gateway, text, seq=kept.seq), partial(remove_clock, gateway=gateway)
    yield from _key_differences(conn, gateway, result.keys)
    newest = result.newest.candidates()
    if removed_runs(conn, gateway):
        # A series may have been read last by records that are gone: its intervals and latest value stay.
        return
    if not latest_waits:
        yield from _latest_differences(conn, gateway, newest)
    for name in series_names(conn, gateway):
        if name not in newest and name.startswith(f"{gateway}/"):
            text = f"series {name} is listed, but no record reads it"
            yield Difference("series", gateway, text, series=name), partial(remove_series, series=[name])


def _key_differences(conn: Connection, gateway: str, keys: KeyHistory) -> Iterator[tuple[Difference, Correct]]:
    trust = stored_trust(conn, gateway)
    if trust is None or trust.keys == keys:
        return

    def correct(on: Connection) -> None:
        remove_successors(on, gateway)
        for first_seq, key in keys.successors.items():
            add_successor(on, gateway, first_seq, key.raw)

    text = f"the keys that follow the enrolled one are kept as {trust.keys}, its records name {keys}"
    yield Difference("gateway-key", gateway, text), correct


def _latest_differences(
    conn: Connection, gateway: str, newest: dict[str, list[Reading]]
) -> Iterator[tuple[Difference, Correct]]:
    stored = {one.series: one for one in read_latest(conn, gateway)}
    for name, readings in sorted(newest.items()):
        right = latest_values(readings, now_ms())
        kept = stored.get(name)
        if kept is not None and any(_same_value(kept, one) for one in right):
            continue
        said = "nothing" if kept is None else f"{kept.value} {kept.unit} (status {kept.status}) at {kept.time_ms} ms"
        value = right[-1]
        text = f"{name}: the latest value kept is {said}, its records say {value.value} at {value.time_ms} ms"

        def correct(on: Connection, value: LatestValue = value) -> None:
            remove_latest(on, [value.series])
            upsert_latest(on, [value])

        yield Difference("latest", gateway, text, series=name), correct


def _same_value(one: LatestValue, other: LatestValue) -> bool:
    return replace(one, received_ms=0) == replace(other, received_ms=0)


def _days(conn: Connection, gateway: str, result: ScanResult, range_ms: Range | None) -> list[int]:
    """The days whose intervals are to be looked at: those that records touch, and those of which
    anything is kept."""
    first, last = range_ms or _ALWAYS
    days = result.days.union(interval_days(conn, gateway, *(range_ms or (None, None))))
    days.update(arrival_days(conn, gateway, first, last))
    runs = removed_runs(conn, gateway)
    return sorted(day for day in days if first <= day < last and not any(_touches(run, day) for run in runs))


def _touches(run: RemovedRun, day_ms: int) -> bool:
    """Tell whether the intervals of a day rest on records that were removed; they are all that is left of it."""
    return run.last_sample_ms >= day_ms - MARGIN_MS and run.first_sample_ms < day_ms + DAY_MS + MARGIN_MS


def _gateway_report(scan: _GatewayScan, days: int, pending: int) -> GatewayReport:
    result = scan.result
    removed = result.gaps & scan.removed
    signed = len(result.gaps) - len(removed)
    return GatewayReport(result.records, result.samples, result.head.seq, signed, days, pending, len(removed))


def _interval_differences(
    conn: Connection, gateway: str, day_ms: int, interpreters: Interpreters
) -> Iterator[Difference]:
    """Compare the stored intervals of a day with those computed from its records."""
    end_ms, day = day_ms + DAY_MS, _date(day_ms)
    stored = {
        name: SeriesIntervals.from_lists(columns)
        for name, columns in read_gateway_intervals(conn, gateway, day_ms, end_ms).items()
    }
    try:
        computed = _compute(conn, gateway, day_ms, interpreters).columns
    except ShopfloorError as error:
        yield Difference("intervals-fail", gateway, f"{day}: {error}", day=day)
        return
    for name in computed:
        stored.setdefault(name, _NO_INTERVALS)
    for name, intervals in sorted(stored.items()):
        for fault in differences({name: intervals}, computed, (day_ms, end_ms, QUARTER_HOUR_MS), {}):
            yield Difference("interval", gateway, fault.en, day=day, series=name)


def _arrival_differences(conn: Connection, gateway: str, day_ms: int) -> Iterator[Difference]:
    """Compare when records came, as it is kept of a day. Nothing kept is no difference: the day was computed before."""
    kept = kept_arrivals(conn, gateway, day_ms)
    if kept is not None and kept != computed_arrivals(conn, gateway, day_ms):
        day = _date(day_ms)
        yield Difference("arrivals", gateway, f"{day}: when records came is kept otherwise than they say", day=day)


def _compute(conn: Connection, gateway: str, day_ms: int, interpreters: Interpreters) -> IntervalSet:
    end_ms = day_ms + DAY_MS
    payloads: list[Payload] = []
    descriptors: dict[bytes, Descriptor] = {}
    for stored in read_records(conn, gateway, from_ms=day_ms - MARGIN_MS, to_ms=end_ms + MARGIN_MS):
        try:
            payloads.append(open_record(stored.data, None).payload)
        except RecordError:
            continue  # named by the scan
    for hash_ in {payload.descriptor for payload in payloads}:
        interpreter = interpreters.get(conn, gateway, hash_)
        if interpreter is not None:
            descriptors[hash_] = interpreter.descriptor
    return build_intervals(payloads, descriptors, day_ms, end_ms)


def _repair(connections: Pool, gateway: str, range_ms: Range | None, told: _Share) -> RebuildReport:
    """Set right what a scan finds; records that arrive meanwhile are looked at under the lock."""
    report = RebuildReport()
    columns = RebuildReport()
    with snapshot(connections) as conn:
        scan = _GatewayScan(conn, gateway, range_ms, report, told)
        found = scan.wrong_columns(conn)
        while some := list(islice(found, BLOCK_RECORDS)):
            with transaction(connections) as writing:
                _correct_columns(writing, gateway, some, columns)
    with transaction(connections) as conn:
        _correct_columns(conn, gateway, list(scan.wrong_columns(conn)), columns)
        if range_ms is None:
            if scan.result.records != record_count(conn, gateway):
                # A hole was filled while we read: only a scan that nothing can disturb sees all records in order.
                report = RebuildReport()
                scan = _GatewayScan(conn, gateway, None, report, told)
                _correct_columns(conn, gateway, list(scan.wrong_columns(conn)), columns)
            for difference, correct in list(_small_differences(conn, gateway, scan.result, latest_waits=False)):
                sound = scan.faults == 0
                if sound:
                    correct(conn)
                report.add(replace(difference, repaired=sound))
            if scan.faults == 0 and scan.result.clock is not None:
                # Missing where the records came before the table: that is no difference, the clock was not known.
                keep_clocks(conn, [scan.result.clock])
        days = _days(conn, gateway, scan.result, range_ms)
        mark_dirty(conn, gateway, days)
    report.merge(columns)
    report.gateways[gateway] = _gateway_report(scan, len(days), 0)
    return report


def _correct_columns(conn: Connection, gateway: str, wrong: Sequence[WrongColumns], report: RebuildReport) -> None:
    lock_head(conn, gateway)
    for one in wrong:
        replace_record(conn, one.stored, one.right)
        report.add(_column_difference(one, repaired=True))


def _compute_marked(connections: Pool, notice: Notice) -> None:
    """Compute the days that are marked now, beside whatever workers run; days marked later are theirs."""
    worker = IntervalWorker(connections)
    with transaction(connections) as conn:
        newest = newest_mark(conn)
        marked = marks_left(conn, newest)
    while True:
        with transaction(connections) as conn:
            left = marks_left(conn, newest)
        if not left:
            return
        notice(1 - left / marked, f"{left} days to be computed")
        if not worker.compute_next():
            time.sleep(_OTHERS_SECONDS)


def _date(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()


def _shown(head: ChainHead) -> str:
    return f"record {head.seq} ({head.hash.hex()[:16]})"
