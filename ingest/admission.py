"""What to do with authentic records: the second half of admission, pure.

Everything authentic is taken into custody. What is odd about it (a fork, a hole, a record that does not continue the
chain, words whose descriptor is unknown) becomes an incident; it is stored and acknowledged all the same. The head of
a gateway's chain is the highest ``seq`` up to which nothing is missing; it moves over records stored earlier when a
hole before them is filled, and over a hole that the gateway declares lost in a signed ``gap`` event.

Several workers share the records of a gateway, and a broker delivers again what a dead one held: records come out of
order though none is lost. So what is missing is judged when it is due: a descriptor when the head has come to the
record that needs it, a hole when it has stayed open for a while (`ingest.holes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from evidence.intervals import MARGIN_MS
from ingest.authentication import Arrival
from ingest.clock_window import ClockWindow, utc_days
from ingest.readings import Interpreter, NewestReadings, Reading
from store.clocks import GatewayClock
from store.records import ChainHead
from wire.descriptor import Descriptor
from wire.event import Event, Gap
from wire.limits import MAXIMUM_SEQUENCE
from wire.record import ZERO_HASH, Payload, Record

LINKS_AT_ONCE = 256
"""How many stored records are read at once when the head moves over them."""


class IncidentKind(StrEnum):
    """What can be odd about authentic records."""

    FORK = "fork"
    """A second record with a ``seq`` that is taken; its bytes are kept with the incident."""

    PREVIOUS_MISMATCH = "previous-mismatch"
    """A record names another predecessor than the one that is stored."""

    HOLE = "hole"
    """Records before this one are missing, and did not come within `ingest.holes.PATIENCE_MS`."""

    GAP_DECLARED = "gap-declared"
    """The gateway declares records lost, signed."""

    GAP_MISMATCH = "gap-mismatch"
    """A declared gap does not begin at the record that is stored before it; it closes nothing."""

    UNKNOWN_DESCRIPTOR = "unknown-descriptor"
    """Records refer to a descriptor that has not arrived: their words cannot be interpreted yet."""

    OUT_OF_WINDOW = "out-of-window"
    """Records say times that cannot be (`ingest.clock_window`): their clock was wild. Told once a day and gateway."""


@dataclass(frozen=True, slots=True)
class Link:
    """A stored record as the chain sees it. Sample times in milliseconds UTC, None without frames."""

    seq: int
    hash: bytes
    prev: bytes
    first_sample_ms: int | None
    last_sample_ms: int | None
    descriptor: bytes


@dataclass(frozen=True, slots=True)
class Incident:
    """Something odd about the records of a gateway. ``detail`` is JSON-able; ``data`` are bytes kept nowhere else."""

    gateway: str
    kind: IncidentKind
    seq: int
    detail: Mapping[str, str | int]
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A record to be stored, filed under ``time_ms`` with the sample times that are believed (ms UTC).

    ``samples`` is the number of series values that its frames read successfully.
    """

    arrival: Arrival
    time_ms: int
    first_sample_ms: int | None
    last_sample_ms: int | None
    samples: int


class History(Protocol):
    """What is known of one gateway before a batch."""

    @property
    def head(self) -> ChainHead:
        """The head of its stored."""

    def hashes(self, first: int, last: int) -> Mapping[int, bytes]:
        """Hashes of the stored records with ``seq`` in ``first``..``last``, both included."""

    def links(self, first: int, last: int) -> Sequence[Link]:
        """The stored records with ``seq`` in ``first``..``last``, both included, ascending."""

    def gaps(self) -> Iterable[Gap]:
        """The gaps that the gateway has declared and that end after the head."""

    def interpreter(self, descriptor_hash: bytes) -> Interpreter | None:
        """The interpreter of a stored descriptor; None when that is not stored."""

    def fork_known(self, record_hash: bytes) -> bool:
        """Whether a fork with this record is on file already."""


@dataclass(slots=True)
class Decision:
    """What a batch of one gateway leads to. ``head`` is the head afterwards, which is to be acknowledged."""

    gateway: str
    head: ChainHead
    records: list[Admitted] = field(default_factory=list)
    duplicates: int = 0
    repeated: list[Arrival] = field(default_factory=list)
    """Those of the duplicates that were stored before the batch; `ingest.replay` judges them."""
    incidents: list[Incident] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)
    """Each new record whose predecessor is not here; what lies before it may still be under way."""
    dirty_days: set[int] = field(default_factory=set)
    latest: list[Reading] = field(default_factory=list)
    interpreters: dict[bytes, Interpreter] = field(default_factory=dict)
    """Interpreters of the descriptors in this batch, by record hash."""
    clock: GatewayClock | None = None
    """What the newest of its new records says of the gateway's clock; None without a new record."""


def decide(gateway: str, arrivals: Sequence[Arrival], history: History) -> Decision:
    """Decide on the authentic ``arrivals`` of ``gateway``; reads ``history``, changes nothing."""
    decision = Decision(gateway, history.head)
    stored = _Stored(history, {arrival.record.payload.seq for arrival in arrivals})
    fresh = _sort_out(decision, arrivals, stored, history)
    gaps = _declared_gaps(decision, fresh, history)
    unknown = _interpret(decision, fresh, history)
    if decision.records:
        newest = decision.records[-1]
        decision.clock = clock_of(newest.arrival.record.payload, newest.time_ms)
    _note_holes(decision, fresh, stored, gaps)
    arrived = {arrival.record.payload.seq: arrival.record for arrival in fresh}
    unknown |= _advance(decision, arrived, stored, gaps, history)
    _note_unknown_descriptors(decision, unknown)
    return decision


def clock_of(payload: Payload, filed_ms: int) -> GatewayClock:
    """Return what a record that is filed under ``filed_ms`` (UTC) says of the clock it was closed by."""
    state = payload.clock
    return GatewayClock(payload.gateway, payload.seq, filed_ms, state.synchronised, state.offset_us, state.error_us)


class _Stored:
    """Hashes of stored records by ``seq``: all after the head, and those before it that a batch touches."""

    def __init__(self, history: History, arriving: Iterable[int]) -> None:
        head = history.head
        self._head = head
        self.ahead = dict(history.hashes(head.seq + 1, MAXIMUM_SEQUENCE))
        self._hashes = dict(self.ahead)
        for first, last in _ranges(seq for seq in arriving if seq <= head.seq):
            self._hashes.update(history.hashes(first, last))

    def get(self, seq: int) -> bytes | None:
        """Return the hash of the record stored as ``seq``."""
        return self._hashes.get(seq)

    def before(self, seq: int) -> bytes | None:
        """Return the hash that the record ``seq`` should name as its predecessor, None when that is not known."""
        return self._head.hash if seq == self._head.seq + 1 else self._hashes.get(seq - 1)

    def add(self, seq: int, record_hash: bytes) -> None:
        """Count a record as stored."""
        self._hashes[seq] = record_hash


def _ranges(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join sequence numbers to ranges without holes, both ends included."""
    first = last = None
    for seq in sorted(seqs):
        if first is None or last is None:
            first = last = seq
        elif seq <= last + 1:
            last = seq
        else:
            yield first, last
            first = last = seq
    if first is not None and last is not None:
        yield first, last


def _sort_out(decision: Decision, arrivals: Sequence[Arrival], stored: _Stored, history: History) -> list[Arrival]:
    """Return the arrivals that are new, by ``seq``; count duplicates, note forks."""
    by_seq: dict[int, dict[bytes, Arrival]] = {}
    for arrival in arrivals:
        same = by_seq.setdefault(arrival.record.payload.seq, {})
        if arrival.record.hash in same:
            decision.duplicates += 1
        same.setdefault(arrival.record.hash, arrival)
    fresh = []
    for seq, candidates in sorted(by_seq.items()):
        taken_by = stored.get(seq)
        if taken_by is None:
            # Of two that claim the same place, the one that continues what is stored has it.
            before = stored.before(seq)
            chosen = next((c for c in candidates.values() if c.record.payload.prev == before), None)
            chosen = chosen or next(iter(candidates.values()))
            taken_by = chosen.record.hash
            stored.add(seq, taken_by)
            fresh.append(chosen)
        elif taken_by in candidates:
            decision.duplicates += 1
            decision.repeated.append(candidates[taken_by])
        for record_hash, arrival in candidates.items():
            if record_hash == taken_by:
                continue
            if history.fork_known(record_hash):
                decision.duplicates += 1
                continue
            detail = {"stored": taken_by.hex(), "arrived": record_hash.hex()}
            decision.incidents.append(Incident(decision.gateway, IncidentKind.FORK, seq, detail, arrival.message.data))
    return fresh


def _declared_gaps(decision: Decision, fresh: Sequence[Arrival], history: History) -> list[Gap]:
    """Return the gaps that new records declare, and put them on file, where later batches find them.

    What a gateway has lost may long be here, because it sends to other servers too that did not take it in time: a gap
    that ends at or before the head is no news when it ends with the record that is stored.
    """
    gaps = []
    for arrival in fresh:
        body, seq = arrival.record.payload.body, arrival.record.payload.seq
        if not isinstance(body, Event) or body.name != "gap":
            continue
        gap = Gap.from_event(body)
        kind = IncidentKind.GAP_DECLARED if gap.last < seq else IncidentKind.GAP_MISMATCH
        if gap.last <= decision.head.seq and gap.last < seq:
            if history.hashes(gap.last, gap.last).get(gap.last, gap.hash) == gap.hash:
                continue
            kind = IncidentKind.GAP_MISMATCH
        decision.incidents.append(Incident(decision.gateway, kind, seq, gap_detail(gap)))
        if kind is IncidentKind.GAP_DECLARED:
            gaps.append(gap)
    return gaps


def gap_detail(gap: Gap) -> dict[str, str | int]:
    """Return ``gap`` as the JSON-able detail of an incident; `gap_from_detail` reads it."""
    return {
        "first": gap.first,
        "last": gap.last,
        "before": gap.before.hex(),
        "hash": gap.hash.hex(),
        "samples": gap.samples,
        "reason": gap.reason,
    }


def gap_from_detail(detail: Mapping[str, Any]) -> Gap:
    """Return the gap that `gap_detail` wrote."""
    hashes = {"before": bytes.fromhex(detail["before"]), "hash": bytes.fromhex(detail["hash"])}
    return Gap(**{**detail, **hashes})


def _interpret(decision: Decision, fresh: Sequence[Arrival], history: History) -> dict[int, bytes]:
    """Count samples, mark days, take the latest values; return the descriptors that are not known, by ``seq``."""
    unknown: dict[int, bytes] = {}
    newest = NewestReadings()
    wild = []
    for arrival in fresh:
        payload = arrival.record.payload
        window = ClockWindow.at(arrival.message.received_ms)
        filed_ms = window.filed_ms(payload, arrival.message.received_ms)
        if not window.holds_all(payload):
            wild.append(arrival)
        if isinstance(payload.body, Descriptor):
            decision.interpreters[arrival.record.hash] = Interpreter(payload.body)
        if not payload.frames:
            decision.records.append(Admitted(arrival, filed_ms, None, None, 0))
            if isinstance(payload.body, Event) and payload.body.name == "meter_replaced":
                # It says how a counter goes on, whether or not samples come with it.
                _mark_days(decision, filed_ms, filed_ms)
            continue
        frames = payload.frames
        interpreter = decision.interpreters.get(payload.descriptor) or history.interpreter(payload.descriptor)
        if interpreter is None:
            unknown[payload.seq] = payload.descriptor
        else:
            newest.add(payload.descriptor, interpreter, window.newest_read(frames))
        first_ms, last_ms = window.sample_span(frames)
        samples = interpreter.samples(frames) if interpreter else 0
        decision.records.append(Admitted(arrival, filed_ms, first_ms, last_ms, samples))
        for frame in frames:
            decision.dirty_days |= window.sampled_days(frame)
    decision.latest = newest.readings()
    _note_wild_clock(decision, wild)
    return unknown


def _note_unknown_descriptors(decision: Decision, unknown: Mapping[int, bytes]) -> None:
    """Raise one incident a descriptor for the records up to the head; before a record after it there may be one."""
    records: dict[bytes, list[int]] = {}
    for seq, descriptor_hash in sorted(unknown.items()):
        if seq <= decision.head.seq:
            records.setdefault(descriptor_hash, []).append(seq)
    for descriptor_hash, seqs in records.items():
        detail: dict[str, str | int] = {"descriptor": descriptor_hash.hex(), "first": seqs[0], "last": seqs[-1]}
        decision.incidents.append(Incident(decision.gateway, IncidentKind.UNKNOWN_DESCRIPTOR, seqs[0], detail))


def _note_wild_clock(decision: Decision, wild: Sequence[Arrival]) -> None:
    """Raise one incident for all records of a batch with times that cannot be."""
    if wild:
        seqs = [arrival.record.seq for arrival in wild]
        detail: dict[str, str | int] = {
            "first": seqs[0],
            "last": seqs[-1],
            "records": len(seqs),
            "time_ms": wild[0].record.payload.time_ms,
            "received_ms": wild[0].message.received_ms,
        }
        decision.incidents.append(Incident(decision.gateway, IncidentKind.OUT_OF_WINDOW, seqs[0], detail))


def _mark_days(decision: Decision, first_ms: int | None, last_ms: int | None) -> None:
    if first_ms is not None and last_ms is not None:
        decision.dirty_days.update(utc_days(first_ms - MARGIN_MS, last_ms + MARGIN_MS))


def _note_holes(decision: Decision, fresh: Sequence[Arrival], stored: _Stored, gaps: Sequence[Gap]) -> None:
    """Note the first record after each hole: it arrives as a new one only once."""
    for arrival in fresh:
        seq = arrival.record.payload.seq
        if seq <= decision.head.seq or stored.before(seq) is not None or any(gap.last == seq - 1 for gap in gaps):
            continue
        decision.holes.append(seq)


def _advance(
    decision: Decision, batch: Mapping[int, Record], stored: _Stored, declared: Sequence[Gap], history: History
) -> dict[int, bytes]:
    """Move the head over all that is contiguous, through filled holes and declared gaps.

    Returns the descriptors that records stored earlier need, and that are not here now that the head is, by ``seq``.
    """
    unknown: dict[int, bytes] = {}
    start = head = decision.head
    ahead = _LinksAhead(stored.ahead, history)
    gaps: list[Gap] | None = None
    while True:
        while (link := _link(batch.get(head.seq + 1)) or ahead.get(head.seq + 1)) is not None:
            if link.prev != head.hash:
                detail: dict[str, str | int] = {"named": link.prev.hex(), "stored": head.hash.hex()}
                decision.incidents.append(Incident(decision.gateway, IncidentKind.PREVIOUS_MISMATCH, link.seq, detail))
            if link.seq in stored.ahead:
                # A descriptor that this record refers to may have been in the hole.
                _mark_days(decision, link.first_sample_ms, link.last_sample_ms)
                known = link.descriptor in decision.interpreters or history.interpreter(link.descriptor) is not None
                if link.first_sample_ms is not None and not known:
                    unknown[link.seq] = link.descriptor
            head = ChainHead(link.seq, link.hash)
        if gaps is None:
            moved_up_to_a_hole = head != start and any(seq > head.seq for seq in stored.ahead)
            gaps = [*declared, *(history.gaps() if moved_up_to_a_hole else ())]
        closing = _closing_gap(decision, head, gaps, declared, history)
        if closing is None:
            decision.head = head
            return unknown
        head = ChainHead(closing.last, closing.hash)


class _LinksAhead:
    """Links of records stored after the head, read from the store only where the head arrives at them."""

    def __init__(self, hashes: Mapping[int, bytes], history: History) -> None:
        self._hashes = hashes
        self._history = history
        self._links: Iterator[Link] = iter(())

    def get(self, seq: int) -> Link | None:
        """Return the link of ``seq``; those asked for must ascend."""
        if seq not in self._hashes:
            return None
        link = next(self._links, None)
        if link is None or link.seq != seq:
            last = seq
            while last + 1 in self._hashes and last - seq < LINKS_AT_ONCE:
                last += 1
            self._links = iter(self._history.links(seq, last))
            link = next(self._links)
        return link


def _link(record: Record | None) -> Link | None:
    if record is None:
        return None
    return Link(record.seq, record.hash, record.payload.prev, None, None, record.payload.descriptor)


def _closing_gap(
    decision: Decision, head: ChainHead, gaps: Sequence[Gap], declared: Sequence[Gap], history: History
) -> Gap | None:
    """Return a gap that reaches over the record after ``head`` and begins where the stored chain says it should."""
    for gap in gaps:
        if not gap.first <= head.seq + 1 <= gap.last:
            continue
        if gap.first == head.seq + 1:
            before: bytes | None = head.hash
        else:
            before = history.hashes(gap.first - 1, gap.first - 1).get(gap.first - 1, ZERO_HASH)
        if gap.before == before:
            return gap
        if gap in declared:
            decision.incidents.append(Incident(decision.gateway, IncidentKind.GAP_MISMATCH, gap.first, gap_detail(gap)))
    return None
