"""The chain of a gateway's records: making it, and checking it.

Each record carries the hash of the one before, so the signature of a record vouches for every record before it. A
contiguous run is therefore verified by its hashes and the signature on its last record; only when something does not
fit is each record looked at by itself, to name the one that is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wire.errors import RecordError
from wire.event import Event, Gap
from wire.keys import SigningKey, VerifyingKey
from wire.record import BOOT_ID_LENGTH, ZERO_HASH, Body, ClockState, Kind, Payload, Record, open_record, sign_record
from wire.rotation import KeyHistory, rotates_key


class ChainWriter:
    """Makes the next record of a gateway's chain.

    A record must be on disk before it is shown to anyone: `seal` makes it without moving on, `advance` moves on once it
    is kept, `append` does both. ``seq`` and ``hash`` are those of the last record (0 and zeros for a new chain);
    ``descriptor`` is the hash of the descriptor record in force.
    """

    def __init__(
        self,
        gateway: str,
        key: SigningKey,
        *,
        seq: int = 0,
        hash: bytes = ZERO_HASH,
        descriptor: bytes = ZERO_HASH,
        boot_id: bytes | None = None,
    ) -> None:
        self.gateway = gateway
        self.key = key
        self.seq = seq
        self.hash = hash
        self.descriptor = descriptor
        self.boot_id = os.urandom(BOOT_ID_LENGTH) if boot_id is None else boot_id

    def seal(self, body: Body, *, time_ms: int, clock: ClockState | None = None) -> Record:
        """Return the next record, signed, without moving on. Raises `RecordError` (``oversized``)."""
        payload = Payload(
            gateway=self.gateway,
            boot_id=self.boot_id,
            seq=self.seq + 1,
            prev=self.hash,
            descriptor=self.descriptor,
            clock=ClockState() if clock is None else clock,
            time_ms=time_ms,
            body=body,
        )
        return sign_record(payload, self.key)

    def advance(self, record: Record) -> None:
        """Make ``record``, just made by `seal`, the last of the chain; a descriptor comes into force behind itself."""
        if record.payload.seq != self.seq + 1 or record.payload.prev != self.hash:
            raise ValueError("only the record that seal returned last can become the end of the chain")
        self.seq, self.hash = record.payload.seq, record.hash
        if record.payload.kind is Kind.DESCRIPTOR:
            self.descriptor = record.hash

    def append(self, body: Body, *, time_ms: int, clock: ClockState | None = None) -> Record:
        """Make the next record and move on."""
        record = self.seal(body, time_ms=time_ms, clock=clock)
        self.advance(record)
        return record


@dataclass(frozen=True, slots=True)
class ChainFault:
    """One thing that is wrong with a run: at which ``seq``, the ``fault`` as in `RecordError`, and a sentence."""

    seq: int
    fault: str
    text: str


@dataclass(slots=True)
class RunResult:
    """What a check of a run found.

    ``records``: those proven authentic, in order. ``faults``: empty when all is well. ``gaps``: signed gaps that the
    run uses. ``seq`` and ``hash``: the end of the run, from which the next one continues. ``keys``: those that the run
    was checked with, and those that it hands over to.
    """

    records: list[Record] = field(default_factory=list)
    faults: list[ChainFault] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    seq: int = 0
    hash: bytes = ZERO_HASH
    keys: KeyHistory | None = None

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify_run(
    datas: Sequence[bytes],
    key: VerifyingKey | KeyHistory,
    *,
    gateway: str,
    prev_seq: int = 0,
    prev_hash: bytes | None = ZERO_HASH,
    seqs: Sequence[int] | None = None,
    gaps: Iterable[Gap] = (),
) -> RunResult:
    """Check records that should follow each other, beginning behind ``prev_seq`` with hash ``prev_hash``.

    ``datas`` are in order of seq. ``key`` is what signs at the beginning; where a record of the run hands over to
    another key, that one signs from there on. ``prev_hash`` ``None`` means that the hash before the run is not known:
    the run then vouches for itself only. ``seqs`` are the numbers under which the records are kept, to name one that
    cannot even be decoded. ``gaps`` are declared gaps known from elsewhere; those declared by authentic records of the
    run count too.
    Nothing is raised: whatever is wrong is in the result's ``faults``.
    """
    names = list(seqs) if seqs is not None else [prev_seq + 1 + index for index in range(len(datas))]
    result = RunResult(seq=prev_seq, hash=ZERO_HASH if prev_hash is None else prev_hash, keys=KeyHistory.of(key))
    opened = _open_all(datas, KeyHistory.of(key), gateway, names, result)
    known_gaps = {gap.first: gap for gap in gaps}
    for record in opened:
        if record is not None and isinstance(record.payload.body, Event) and record.payload.body.name == "gap":
            gap = Gap.from_event(record.payload.body)
            known_gaps[gap.first] = gap
    link_known = prev_hash is not None
    for name, record in zip(names, opened, strict=True):
        if record is None:
            link_known = False
            result.seq = name
            continue
        if seqs is not None and record.seq != name:
            text = f"it is kept as {name}, but says that it is {record.seq}"
            result.faults.append(ChainFault(name, "seq-mismatch", text))
        _follow(record, link_known, known_gaps, result)
        link_known = True
        result.records.append(record)
        result.seq, result.hash = record.seq, record.hash
    return result


def _open_all(
    datas: Sequence[bytes], keys: KeyHistory, gateway: str, names: Sequence[int], result: RunResult
) -> list[Record | None]:
    """Open every record; ``None`` stands for one that is not authentic, which is then among the faults."""
    linked = _open_linked(datas, keys, gateway)
    if linked is not None:
        records, result.keys = linked
        return list(records)
    opened: list[Record | None] = []
    for name, data in zip(names, datas, strict=True):
        try:
            record = keys.open(data)
            if record.payload.gateway != gateway:
                raise RecordError("foreign-gateway", f"it is a record of {record.payload.gateway}, not of {gateway}")
            keys = keys.through(record)
        except RecordError as error:
            result.faults.append(ChainFault(name, error.fault, str(error).removeprefix(f"{error.fault}: ")))
            opened.append(None)
        else:
            opened.append(record)
    result.keys = keys
    return opened


def _open_linked(datas: Sequence[bytes], keys: KeyHistory, gateway: str) -> tuple[list[Record], KeyHistory] | None:
    """Open a run by its hashes and one signature a key; ``None`` when that is not enough to vouch for every record."""
    records: list[Record] = []
    try:
        for index, data in enumerate(datas):
            record = open_record(data, None)
            if record.payload.gateway != gateway or (records and record.payload.prev != records[-1].hash):
                return None
            records.append(record)
            if index == len(datas) - 1 or rotates_key(record):
                open_record(data, keys.at(record.seq))
                keys = keys.through(record)
    except RecordError:
        return None
    return records, keys


def _follow(record: Record, link_known: bool, gaps: dict[int, Gap], result: RunResult) -> None:
    """Check that ``record`` follows the end of ``result``; add the fault, or the gap that explains it."""
    payload = record.payload
    if payload.seq <= result.seq:
        fault = "duplicate-seq" if payload.seq == result.seq else "swapped-order"
        result.faults.append(ChainFault(payload.seq, fault, f"it stands behind record {result.seq}"))
    elif payload.seq == result.seq + 1:
        if link_known and payload.prev != result.hash:
            named, kept = payload.prev.hex()[:16], result.hash.hex()[:16]
            text = f"it names {named} as the record before, but record {result.seq} is {kept}"
            result.faults.append(ChainFault(payload.seq, "prev-mismatch", text))
    else:
        first, last = result.seq + 1, payload.seq - 1
        explaining = _explain(first, last, result.hash if link_known else None, payload.prev, gaps)
        if explaining is None:
            text = f"records {first} to {last} are missing and no signed gap explains it"
            result.faults.append(ChainFault(first, "seq-gap", text))
        else:
            result.gaps += explaining


def _explain(first: int, last: int, before: bytes | None, after: bytes, gaps: Mapping[int, Gap]) -> list[Gap] | None:
    """Return the gaps by which records ``first`` to ``last`` are missing, None when they do not explain all of it.

    ``before`` is the hash of the record in front of them (None: not known), ``after`` what the one behind them names.
    Records that a gateway has lost can have been sent before: a gap may begin before the first that is missing, and end
    behind the last. What lies at such an end is known by the gap alone; at the others the hashes have to fit.
    """
    found: list[Gap] = []
    while first <= last:
        gap = gaps.get(first)
        if gap is None:
            gap = next((one for one in gaps.values() if one.first < first <= one.last), None)
        elif before is not None and gap.before != before:
            return None
        if gap is None:
            return None
        found.append(gap)
        if gap.last > last:
            return found
        first, before = gap.last + 1, gap.hash
    return found if before == after else None
