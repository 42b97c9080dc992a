"""One pass over all records of a gateway, in order: is each authentic and in its place, and what follows from them?

What follows are the small projections: the head of the chain, the longest stretch of samples in a record, the newest
reading of each series, the columns beside the bytes, and the days that have samples. Memory does not grow with the
number of records, only with that of days and series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields

from evidence.intervals import MARGIN_MS
from ingest.admission import clock_of
from ingest.clock_window import ClockWindow, utc_days
from ingest.readings import Interpreter, NewestReadings
from store.clocks import GatewayClock
from store.records import NO_HASH, ChainHead, NewRecord, StoredRecord
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.errors import RecordError
from wire.event import Event, Gap
from wire.record import Record, record_hash
from wire.rotation import KeyHistory

BLOCK_RECORDS = 512
"""Records verified with one signature a key; a fault costs one signature a record of its block."""

_COLUMNS = tuple(column.name for column in fields(NewRecord))

FindInterpreter = Callable[[bytes], Interpreter | None]
FindHash = Callable[[int], bytes | None]


@dataclass(frozen=True, slots=True)
class RecordFault:
    """A record that is not authentic or not in its place; ``fault`` as in `wire.chain.ChainFault`."""

    seq: int
    fault: str
    text: str


@dataclass(frozen=True, slots=True)
class WrongColumns:
    """A row that says something else than its bytes: as it is, as it should be, and the columns that differ."""

    stored: StoredRecord
    right: NewRecord
    columns: tuple[str, ...]

    @property
    def text(self) -> str:
        """The differences in words."""
        return "; ".join(
            f"{name} is {_shown(getattr(self.stored, name))}, its bytes say {_shown(getattr(self.right, name))}"
            for name in self.columns
        )


@dataclass(slots=True)
class ScanResult:
    """What a scan found; times in ms UTC.

    ``days`` are starts of the UTC days whose intervals depend on the records, ``gaps`` the first numbers of the signed
    gaps that were needed, ``head`` is the end of the chain, ``keys`` are those that the chain itself names, and
    ``clock`` is what the newest record says of the gateway's clock.
    """

    keys: KeyHistory

    records: int = 0
    samples: int = 0
    first_seq: int | None = None
    last_seq: int = 0
    head: ChainHead = field(default_factory=lambda: ChainHead(0, NO_HASH))
    longest_ms: int = 0
    days: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)
    newest: NewestReadings = field(default_factory=NewestReadings)
    clock: GatewayClock | None = None


class RecordScan:
    """Takes the records of one gateway in the order of their numbers; `feed` them in pieces of any size.

    :param keys: the keys that are trusted at the start; those that the records hand over to follow.
    :param gaps: gaps that the gateway has declared anywhere; those declared in records fed so far count too.
    :param start: the record before the first one; None when that is not known.
    :param interpreter_of: finds the interpreter of a descriptor by the hash of its record.
    :param hash_of: finds the hash of a stored record by its number.
    """

    def __init__(
        self,
        gateway: str,
        keys: KeyHistory,
        *,
        gaps: Iterable[Gap],
        start: ChainHead | None,
        interpreter_of: FindInterpreter,
        hash_of: FindHash,
    ) -> None:
        self.result = ScanResult(keys)
        self._gateway = gateway
        self._gaps = {gap.first: gap for gap in gaps}
        self._interpreter_of = interpreter_of
        self._hash_of = hash_of
        self._interpreters: dict[bytes, Interpreter] = {}
        self._seq = 0 if start is None else start.seq
        self._hash: bytes | None = None if start is None else start.hash
        self._unknown_start = start is None
        if start is not None:
            self.result.head = start

    def feed(self, block: Sequence[StoredRecord]) -> tuple[list[RecordFault], list[WrongColumns]]:
        """Look at the records that follow those fed before; return what is wrong with them."""
        if not block:
            return [], []
        result = self.result
        if self._unknown_start:
            self._seq, self._unknown_start = block[0].seq - 1, False
            result.head = ChainHead(self._seq, NO_HASH)
        result.first_seq = block[0].seq if result.first_seq is None else result.first_seq
        result.last_seq = block[-1].seq
        result.records += len(block)
        run = verify_run(
            [one.data for one in block],
            result.keys,
            gateway=self._gateway,
            prev_seq=self._seq,
            prev_hash=self._hash,
            seqs=[one.seq for one in block],
            gaps=self._gaps.values(),
        )
        result.gaps |= {gap.first for gap in run.gaps}
        result.keys = run.keys or result.keys
        last_is_authentic = bool(run.records) and run.records[-1].data == block[-1].data
        self._seq, self._hash = run.seq, run.hash if last_is_authentic else None
        for one in block:
            self._move_head(one)
        authentic = iter(run.records)
        record = next(authentic, None)
        wrong: list[WrongColumns | None] = []
        for one in block:
            if record is not None and record.data is one.data:
                wrong.append(self._learn(one, record))
                record = next(authentic, None)
        faults = [RecordFault(fault.seq, fault.fault, fault.text) for fault in run.faults]
        return faults, [one for one in wrong if one is not None]

    def _move_head(self, stored: StoredRecord) -> None:
        """Move the head as admission does: over what is contiguous, and over declared gaps."""
        head = self.result.head
        while stored.seq > head.seq + 1:
            closing = (gap for gap in self._gaps.values() if gap.first <= head.seq + 1 <= gap.last)
            gap = next((gap for gap in closing if gap.before == self._hash_before(gap, head)), None)
            if gap is None:
                break
            head = ChainHead(gap.last, gap.hash)
        if stored.seq == head.seq + 1:
            head = ChainHead(stored.seq, record_hash(stored.data))
        self.result.head = head

    def _hash_before(self, gap: Gap, head: ChainHead) -> bytes | None:
        return head.hash if gap.first == head.seq + 1 else self._hash_of(gap.first - 1)

    def _learn(self, stored: StoredRecord, record: Record) -> WrongColumns | None:
        payload, result = record.payload, self.result
        first_ms = last_ms = None
        samples = 0
        window = ClockWindow.at(stored.received_ms)
        filed_ms = window.filed_ms(payload, stored.received_ms)
        if isinstance(payload.body, Descriptor):
            self._interpreters[record.hash] = Interpreter(payload.body)
        elif isinstance(payload.body, Event):
            if payload.body.name == "gap":
                gap = Gap.from_event(payload.body)
                self._gaps[gap.first] = gap
            elif payload.body.name == "meter_replaced":
                result.days.update(utc_days(filed_ms - MARGIN_MS, filed_ms + MARGIN_MS))
        if payload.frames:
            first_ms, last_ms = window.sample_span(payload.frames)
            if first_ms is not None and last_ms is not None:
                result.longest_ms = max(result.longest_ms, last_ms - first_ms)
            for frame in payload.frames:
                result.days |= window.sampled_days(frame)
            interpreter = self._interpreters.get(payload.descriptor) or self._interpreter_of(payload.descriptor)
            if interpreter is not None:
                self._interpreters[payload.descriptor] = interpreter
                samples = interpreter.samples(payload.frames)
                result.newest.add(payload.descriptor, interpreter, window.newest_read(payload.frames))
        result.samples += samples
        result.clock = clock_of(payload, filed_ms)
        right = NewRecord(
            gateway=self._gateway,
            seq=payload.seq,
            time_ms=filed_ms,
            first_sample_ms=first_ms,
            last_sample_ms=last_ms,
            kind=int(payload.kind),
            hash=record.hash,
            descriptor_hash=payload.descriptor,
            samples=samples,
            data=record.data,
            received_ms=stored.received_ms,
        )
        if stored.seq != payload.seq:
            return None  # a fault of the chain
        differing = tuple(name for name in _COLUMNS if getattr(stored, name) != getattr(right, name))
        return WrongColumns(stored, right, differing) if differing else None


def declared_gaps(events: Iterable[StoredRecord], keys: KeyHistory) -> list[Gap]:
    """Return the gaps that authentic event records declare; one that is not authentic declares nothing."""
    gaps = []
    for stored in events:
        try:
            body = keys.open(stored.data).payload.body
        except RecordError:
            continue
        if isinstance(body, Event) and body.name == "gap":
            gaps.append(Gap.from_event(body))
    return gaps


def _shown(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)
