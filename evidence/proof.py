"""The proof of a set of intervals: authentic records, an unbroken chain, and the same numbers computed again.

Five things are asked, and each answer is ``pass``, ``fail`` or ``not_checked``; what was not checked is never called
proven. Signatures and hashes are checked as `wire.chain.verify_run` does: a signature vouches for every record before
it, so a run is verified by its hashes and the signature on its last record, and record by record only when something
does not fit, to name the one that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from evidence.finding import Check, ProofFault
from evidence.interval_stream import IntervalStream
from evidence.intervals import QUARTER_HOUR_MS, SeriesIntervals
from evidence.meaning import DescriptorUses, has_samples, meaning_faults, meaning_notices
from evidence.readings import SkippedRecord
from evidence.recomputation import differences
from evidence.record_block import BLOCK_RECORDS, BlockVerifier, VerifiedBlock
from evidence.record_table import FrameTable
from wire.descriptor import Descriptor
from wire.errors import RecordError
from wire.event import Event, Gap
from wire.keys import VerifyingKey
from wire.record import ZERO_HASH, Payload, Record
from wire.rotation import KeyHistory, rotates_key

_CHAIN_FAULTS = {
    "prev-mismatch": "与前一条记录的哈希不符",
    "seq-gap": "记录缺失，且没有签名的缺口声明",
    "duplicate-seq": "序号重复",
    "swapped-order": "记录顺序颠倒",
    "seq-mismatch": "保存的序号与记录自身的序号不符",
    "tail-missing": "此号起的末尾记录缺失",
    "head-mismatch": "与数据库中的链头不符",
}
_SIGNATURE_FAULTS = {
    "bad-signature": "签名不符，内容被改动过",
    "wrong-key": "不是由该网关此时有效的密钥签署",
    "bad-rotation": "更换密钥的声明无效",
    "foreign-gateway": "属于另一个网关",
    "truncated": "内容被截断",
}
_NO_LOG = ("no transparency log is configured", "未配置透明日志")
_NO_TIME_STAMP = ("no time-stamping service is configured", "未配置时间戳服务")
_UNSETTLED = ("records have just arrived, their intervals are being computed", "刚收到新记录，区间数据正在计算")
_NO_RECORDS = ("there are no records to check", "没有可核验的记录")
_NO_INTERVALS = ("no stored intervals were given to compare with", "没有可供比对的已存区间数据")


@dataclass(frozen=True)
class GatewayRecords:
    """The kept records of one gateway. ``key`` is the one that was enrolled: the trust in all later ones rests on it.

    ``records``: (seq as kept, bytes as sent), in order of seq, the first of them ``first_seq``. They are iterated over
    once, and again where numbers are missing or times are not in order, so that they need not be in memory.
    ``prev_hash``: hash of the record before it, ``None`` when not known (the run then vouches for itself only).
    ``descriptor_records``: bytes of earlier records whose descriptors are still in force. ``event_records``: bytes of
    later events, which may declare lost what is missing here. ``rotation_records``: bytes of the earlier events that
    hand over from ``key`` to the one that signs at the beginning, in their order. ``head``: seq and hash of the last
    record that was committed, when the run should end with it; ``None`` when a record after the range ends the run.
    """

    gateway: str
    key: VerifyingKey
    first_seq: int
    prev_hash: bytes | None
    records: Iterable[tuple[int, bytes]]
    descriptor_records: Sequence[bytes] = ()
    event_records: Sequence[bytes] = ()
    rotation_records: Sequence[bytes] = ()
    head: tuple[int, bytes] | None = None


@dataclass(frozen=True)
class CheckedGateway:
    """What was looked at of one gateway: number of records, first and last seq (None without records)."""

    gateway: str
    records: int
    first_seq: int | None
    last_seq: int | None


@dataclass(frozen=True)
class Proof:
    """Answers, the faults behind every ``fail``, and the reason (English, Chinese) of every ``not_checked``."""

    signature: Check
    chain: Check
    log: Check
    timestamp: Check
    recomputation: Check
    faults: list[ProofFault]
    notices: list[ProofFault]
    reasons: dict[str, tuple[str, str]]
    gateways: list[CheckedGateway]

    @property
    def proven(self) -> bool:
        """Whether records and chain hold and the numbers were computed again and found equal."""
        return self.signature == self.chain == self.recomputation == Check.PASS

    @property
    def records(self) -> int:
        """Records checked, of all gateways."""
        return sum(gateway.records for gateway in self.gateways)

    def to_json(self) -> dict[str, Any]:
        """The proof as a JSON object."""
        return {
            "proven": self.proven,
            "signature": self.signature.value,
            "chain": self.chain.value,
            "log": self.log.value,
            "timestamp": self.timestamp.value,
            "recomputation": self.recomputation.value,
            "reasons": {check: {"en": en, "zh": zh} for check, (en, zh) in self.reasons.items()},
            "faults": [fault.to_json() for fault in self.faults],
            "notices": [notice.to_json() for notice in self.notices],
            "records": self.records,
            "gateways": [
                {
                    "gateway": gateway.gateway,
                    "records": gateway.records,
                    "first_seq": gateway.first_seq,
                    "last_seq": gateway.last_seq,
                }
                for gateway in self.gateways
            ],
        }


def unchecked_proof(reason: tuple[str, str]) -> Proof:
    """The proof of what nobody has looked at; ``reason`` (English, Chinese) says why."""
    checks = ("signature", "chain", "recomputation")
    return Proof(
        signature=Check.NOT_CHECKED,
        chain=Check.NOT_CHECKED,
        log=Check.NOT_CHECKED,
        timestamp=Check.NOT_CHECKED,
        recomputation=Check.NOT_CHECKED,
        faults=[],
        notices=[],
        reasons={"log": _NO_LOG, "timestamp": _NO_TIME_STAMP} | dict.fromkeys(checks, reason),
        gateways=[],
    )


def prove(
    gateways: Sequence[GatewayRecords],
    stored_intervals: Mapping[str, SeriesIntervals] | None,
    from_ms: int,
    to_ms: int,
    step_ms: int = QUARTER_HOUR_MS,
    *,
    units: Mapping[str, str] | None = None,
    unsettled: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> Proof:
    """Check records of ``gateways`` and compute from them the intervals that start in ``[from_ms, to_ms)``.

    ``stored_intervals`` (by full series id) are compared with the result; without any, recomputation stays unchecked.
    The records should reach `evidence.intervals.MARGIN_MS` beyond the range, as they did when the intervals were made.
    ``units`` are those that series (by full id) are taken for: a descriptor that says otherwise fails the
    recomputation, and so does one that is not there. Nothing is called checked while a gateway has no records at all.
    ``unsettled`` are spans (ms, half-open), by gateway, whose intervals are still to be made of records that have
    arrived: they are not compared, and recomputation is not called passed.
    Nothing is raised for what is wrong with records: it is among the faults. Raises `IntervalError` when the range is
    not made of whole steps.
    """
    grid = (from_ms, to_ms, step_ms)
    runs = [
        _check_run(gateway, grid, [name for name in stored_intervals or () if name.startswith(f"{gateway.gateway}/")])
        for gateway in gateways
    ]
    checked = [run.checked for run in runs]
    faults = [fault for run in runs for fault in run.signature_faults + run.chain_faults]
    signature = chain = recomputation = Check.NOT_CHECKED
    reasons = {"log": _NO_LOG, "timestamp": _NO_TIME_STAMP}
    silent = _without_records(checked, stored_intervals)
    if checked and not silent:
        signature = _answer(any(run.signature_faults for run in runs))
        # the chain cannot be followed through a record that is not authentic
        chain = _answer(any(run.signature_faults or run.chain_faults for run in runs))
    else:
        if any(run.signature_faults for run in runs):
            signature = Check.FAIL
        if any(run.signature_faults or run.chain_faults for run in runs):
            chain = Check.FAIL
        names = ", ".join(silent)
        missing = (f"{_NO_RECORDS[0]} of {names}", f"{_NO_RECORDS[1]}：{names}") if silent else _NO_RECORDS
        unchecked = {"signature": signature, "chain": chain}
        reasons |= {name: missing for name, check in unchecked.items() if check is Check.NOT_CHECKED}
    if not stored_intervals:
        reasons["recomputation"] = _NO_INTERVALS
    else:
        differing: list[ProofFault] = []
        recomputed: dict[str, SeriesIntervals] = {}
        for run in runs:
            uses = run.uses
            # A descriptor that is missing may be the one that is not authentic, which is named already.
            differing += meaning_faults(uses, units or {}, missing_is_named=bool(run.signature_faults))
            run.notices += meaning_notices(uses, units or {})
            recomputed |= run.recomputed
            run.notices += run.not_decoded
        differing += differences(stored_intervals, recomputed, grid, unsettled or {})
        recomputation = _answer(bool(differing))
        if unsettled and not differing:
            recomputation = Check.NOT_CHECKED
            reasons["recomputation"] = _UNSETTLED
        faults += differing
    return Proof(
        signature=signature,
        chain=chain,
        log=Check.NOT_CHECKED,
        timestamp=Check.NOT_CHECKED,
        recomputation=recomputation,
        faults=faults,
        notices=[notice for run in runs for notice in run.notices],
        reasons=reasons,
        gateways=checked,
    )


@dataclass
class _CheckedRun:
    """What a run of records shows; the intervals of the series asked for, and what of the records was not decoded."""

    checked: CheckedGateway
    uses: DescriptorUses
    recomputed: dict[str, SeriesIntervals] = field(default_factory=dict)
    signature_faults: list[ProofFault] = field(default_factory=list)
    chain_faults: list[ProofFault] = field(default_factory=list)
    notices: list[ProofFault] = field(default_factory=list)
    not_decoded: list[ProofFault] = field(default_factory=list)


def _answer(failed: bool) -> Check:
    return Check.FAIL if failed else Check.PASS


def _check_run(gateway: GatewayRecords, grid: tuple[int, int, int], wanted: Sequence[str]) -> _CheckedRun:
    """Check one gateway, and compute the ``wanted`` series again on ``grid`` (from, to, step; ms)."""
    handed_over: list[ProofFault] = []
    keys = _handed_over(gateway, handed_over)
    descriptors, wrong_descriptors = _earlier_descriptors(gateway, keys)
    passed = _Pass(gateway, keys, (), grid=grid, wanted=wanted, descriptors=dict(descriptors))
    if passed.has_holes:
        # a gap may be declared by a record that stands far behind it
        gaps = [*passed.declared, *_later_gaps(gateway, passed.keys)]
        passed = _Pass(gateway, keys, gaps, grid=grid, wanted=wanted, descriptors=dict(descriptors))
    run = _CheckedRun(
        checked=CheckedGateway(gateway.gateway, passed.records, passed.first_seq, passed.last_seq),
        uses=passed.uses(),
        recomputed=passed.recomputed(),
        signature_faults=[*handed_over, *passed.signature_faults, *wrong_descriptors],
        chain_faults=[*passed.chain_faults, *passed.head_faults()],
        notices=passed.notices,
    )
    run.not_decoded = [
        _record_fault(gateway.gateway, skipped.seq, "not-decoded", skipped.reason) for skipped in passed.skipped
    ]
    return run


def _earlier_descriptors(gateway: GatewayRecords, keys: KeyHistory) -> tuple[dict[bytes, Descriptor], list[ProofFault]]:
    """The descriptors from before the run that are still in force, and what is wrong with their records."""
    descriptors: dict[bytes, Descriptor] = {}
    faults: list[ProofFault] = []
    for data in gateway.descriptor_records:
        try:
            record = keys.open(data)
        except RecordError as error:
            faults.append(_record_fault(gateway.gateway, None, error.fault, f"a descriptor: {error}"))
        else:
            if isinstance(record.payload.body, Descriptor):
                descriptors[record.hash] = record.payload.body
    return descriptors, faults


class _Pass:
    """One reading of the records of a gateway, block by block: what is wrong with them, and what follows from them.

    Memory does not grow with the number of records.
    """

    def __init__(
        self,
        gateway: GatewayRecords,
        keys: KeyHistory,
        gaps: Sequence[Gap],
        *,
        grid: tuple[int, int, int],
        wanted: Sequence[str],
        descriptors: dict[bytes, Descriptor],
    ) -> None:
        self._gateway, self._first_keys, self._gaps = gateway, keys, gaps
        self._span = grid[:2]
        self._descriptors = descriptors
        self._first_uses: dict[bytes, int] = {}
        self._stream = IntervalStream(*grid, wanted, descriptors) if wanted else None
        self._head_hash: bytes | None = None
        self._end: int | None = None
        self.keys = keys
        self.records = 0
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        self.has_holes = False
        self.declared: list[Gap] = []
        self.signature_faults: list[ProofFault] = []
        self.chain_faults: list[ProofFault] = []
        self.notices: list[ProofFault] = []
        for block, verified in self._blocks():
            self._take(block, verified)

    @property
    def skipped(self) -> Sequence[SkippedRecord]:
        """The records that could not be decoded."""
        return () if self._stream is None else self._stream.skipped

    def uses(self) -> DescriptorUses:
        """The descriptors that samples of the range name."""
        return DescriptorUses.of(self._gateway.gateway, self._first_uses, self._descriptors)

    def recomputed(self) -> dict[str, SeriesIntervals]:
        """The intervals of the stored series, from the words that were signed."""
        if self._stream is None:
            return {}
        return self._stream.finish(lambda: (_told(verified) for _, verified in self._blocks()))

    def head_faults(self) -> Iterator[ProofFault]:
        """Whether the run ends where the chain does; records that came after the head was read may follow it."""
        head = self._gateway.head
        if head is None or self._end is None:
            return
        seq, hash_ = head
        if seq > self._end:
            text = f"records {self._end + 1} to {seq} were committed and are missing"
            yield _record_fault(self._gateway.gateway, self._end + 1, "tail-missing", text)
        if self._head_hash is not None and self._head_hash != hash_:
            text = f"the head of the chain names {hash_.hex()[:16]}, but the record is {self._head_hash.hex()[:16]}"
            yield _record_fault(self._gateway.gateway, seq, "head-mismatch", text)

    def _blocks(self) -> Iterator[tuple[list[tuple[int, bytes]], VerifiedBlock]]:
        gateway = self._gateway
        before = ZERO_HASH if gateway.first_seq == 1 else gateway.prev_hash
        verifier = BlockVerifier(gateway.gateway, self._first_keys, gateway.first_seq - 1, before, self._gaps)
        records = iter(gateway.records)
        while block := list(islice(records, BLOCK_RECORDS)):
            yield block, verifier.verify(block)

    def _take(self, block: Sequence[tuple[int, bytes]], verified: VerifiedBlock) -> None:
        name = self._gateway.gateway
        self.records += len(block)
        self.first_seq = block[0][0] if self.first_seq is None else self.first_seq
        self.last_seq, self._end = block[-1][0], verified.seq
        self.keys = verified.keys
        if self._gateway.head is not None:
            self._head_hash = verified.hashes.get(self._gateway.head[0], self._head_hash)
        for table in verified.tables:
            self._note_use(table.descriptor, table.within(*self._span).seq[:1].tolist())
        for record in verified.records:
            self._learn(record)
        for fault in verified.faults:
            list_ = self.chain_faults if fault.fault in _CHAIN_FAULTS else self.signature_faults
            list_.append(_record_fault(name, fault.seq, fault.fault, fault.text))
            self.has_holes |= fault.fault == "seq-gap"
        self.notices += [_gap_notice(name, gap) for gap in verified.gaps]
        if self._stream is not None:
            self._stream.add(*_told(verified))

    def _learn(self, record: Record) -> None:
        payload = record.payload
        if payload.frames:
            self._note_use(payload.descriptor, [payload.seq] if has_samples(payload, self._span) else [])
        elif isinstance(payload.body, Descriptor):
            self._descriptors[record.hash] = payload.body
        elif isinstance(payload.body, Event):
            if payload.body.name == "gap":
                self.declared.append(Gap.from_event(payload.body))
            if rotates_key(record):
                self.notices.append(_rotation_notice(self._gateway.gateway, record))

    def _note_use(self, descriptor: bytes, seqs: Sequence[int]) -> None:
        for seq in seqs:
            self._first_uses[descriptor] = min(seq, self._first_uses.get(descriptor, seq))


def _told(verified: VerifiedBlock) -> tuple[list[Payload], Sequence[FrameTable]]:
    return [record.payload for record in verified.records], verified.tables


def _handed_over(gateway: GatewayRecords, faults: list[ProofFault]) -> KeyHistory:
    """Follow the rotations before the run from the enrolled key; what is wrong with one is among the faults."""
    keys = KeyHistory(gateway.key)
    for data in gateway.rotation_records:
        try:
            record = keys.open(data)
            if record.payload.gateway != gateway.gateway:
                raise RecordError("foreign-gateway", f"it is a record of {record.payload.gateway}")
            keys = keys.through(record)
        except RecordError as error:
            faults.append(_rotation_fault(gateway.gateway, error))
    return keys


def _later_gaps(gateway: GatewayRecords, keys: KeyHistory) -> Iterator[Gap]:
    for data in gateway.event_records:
        try:
            record = keys.open(data)
            keys = keys.through(record)
        except RecordError:
            # It declares nothing then; what is missing stays missing.
            continue
        body = record.payload.body
        if record.payload.gateway == gateway.gateway and isinstance(body, Event) and body.name == "gap":
            yield Gap.from_event(body)


def _record_fault(gateway: str, seq: int | None, fault: str, text: str) -> ProofFault:
    title = _CHAIN_FAULTS.get(fault) or _SIGNATURE_FAULTS.get(fault, "不是有效的签名记录")
    return ProofFault(
        gateway=gateway,
        seq=seq,
        fault=fault,
        en=f"{gateway}, record {seq}: {text}" if seq is not None else f"{gateway}: {text}",
        zh=f"{gateway} 第 {seq} 号记录：{title}" if seq is not None else f"{gateway} 的描述记录：{title}",
    )


def _gap_notice(gateway: str, gap: Gap) -> ProofFault:
    return ProofFault(
        gateway=gateway,
        seq=gap.first,
        fault="signed-gap",
        en=f"{gateway}: records {gap.first} to {gap.last} ({gap.samples} samples) were lost: {gap.reason}; signed",
        zh=f"{gateway}：第 {gap.first} 至 {gap.last} 号记录（{gap.samples} 次采样）已丢失，已签名声明：{gap.reason}",
    )


def _rotation_fault(gateway: str, error: RecordError) -> ProofFault:
    return ProofFault(
        gateway=gateway,
        seq=None,
        fault=error.fault,
        en=f"{gateway}: a change of keys: {error}",
        zh=f"{gateway} 的更换密钥记录：{_SIGNATURE_FAULTS.get(error.fault, '不是有效的签名记录')}",
    )


def _rotation_notice(gateway: str, record: Record) -> ProofFault:
    return ProofFault(
        gateway=gateway,
        seq=record.seq,
        fault="key-rotated",
        en=f"{gateway}, record {record.seq}: another key signs from here on; the one before has signed that",
        zh=f"{gateway} 第 {record.seq} 号记录：此后由新密钥签署，已由原密钥签名声明",
    )


def _without_records(checked: Sequence[CheckedGateway], stored: Mapping[str, SeriesIntervals] | None) -> list[str]:
    """The gateways that should have records and have none: those given, and those that series are named after."""
    named = {series_id.split("/", 1)[0] for series_id in stored or ()} | {one.gateway for one in checked}
    return sorted(named - {one.gateway for one in checked if one.records})
