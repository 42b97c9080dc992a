"""What the chain of a gateway says beside its samples: who proved the wiring, what was lost, what meters had stored.

Pure: signed records in, facts out. Times are ms since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wire.event import Event, Gap
from wire.record import Record

Detail = Mapping[str, int | float | str | bytes]


@dataclass(frozen=True, slots=True)
class CommissionedDevice:
    """One event ``commissioned``, record number ``seq``: the checks that an operator made of the values of a device.

    ``passed``, ``failed`` and ``not_checked`` count checks; ``report`` is the SHA-256 of the whole report; ``accepted``
    says why failed checks were taken as they are, empty when none failed.
    """

    seq: int
    time_ms: int
    device: str
    model: str
    serial_number: str
    operator: str
    passed: int
    failed: int
    not_checked: int
    checks_failed: str
    accepted: str
    report: bytes


@dataclass(frozen=True, slots=True)
class DeclaredLoss:
    """One event by which a gateway says, signed, what it could not keep: ``samples`` reads.

    ``gap``: records ``first`` to ``last`` were given up on the device. ``loss``: reads of the time from ``first`` to
    ``last`` (ms) were given up before they became records.
    """

    seq: int
    time_ms: int
    kind: Literal["gap", "loss"]
    samples: int
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class StoredRound:
    """One event ``history``, record number ``seq``: ``good`` of ``entries`` readings that ``device`` had stored.

    ``time_ms`` is when the last of them was read; ``descriptor`` the hash of the record that says what they mean.
    """

    seq: int
    time_ms: int
    device: str
    name: str
    period: str
    entries: int
    good: int
    descriptor: bytes


@dataclass
class FieldRecord:
    """The facts of one gateway. ``stored`` has the first round of each device and kind of stored readings: it reaches
    furthest back."""

    commissioned: list[CommissionedDevice] = field(default_factory=list)
    losses: list[DeclaredLoss] = field(default_factory=list)
    stored: list[StoredRound] = field(default_factory=list)

    @property
    def lost_samples(self) -> int:
        """How many reads the gateway declares as lost."""
        return sum(one.samples for one in self.losses)

    @property
    def devices(self) -> set[str]:
        """The devices that were commissioned on record."""
        return {one.device for one in self.commissioned}


def field_record(records: Iterable[Record]) -> FieldRecord:
    """Return the facts that ``records`` of one gateway, in the order of its chain, tell of; other records are passed
    over, and so is an event that lacks a detail."""
    found = FieldRecord()
    for record in records:
        payload = record.payload
        if not isinstance(payload.body, Event):
            continue
        try:
            _take(found, payload.seq, payload.time_ms, payload.descriptor, payload.body)
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _take(found: FieldRecord, seq: int, time_ms: int, descriptor: bytes, event: Event) -> None:
    if event.name == "commissioned":
        found.commissioned.append(_commissioned(seq, event.detail))
    elif event.name == "gap":
        gap = Gap.from_event(event)
        found.losses.append(DeclaredLoss(seq, time_ms, "gap", gap.samples, gap.first, gap.last, gap.reason))
    elif event.name == "loss":
        found.losses.append(_loss(seq, time_ms, event.detail))
    elif event.name == "history":
        told = _stored(seq, descriptor, event.detail)
        if not any((one.device, one.name) == (told.device, told.name) for one in found.stored):
            found.stored.append(told)


def _commissioned(seq: int, detail: Detail) -> CommissionedDevice:
    report = detail["report"]
    if not isinstance(report, bytes):
        raise TypeError("the hash of a report is a byte string")
    return CommissionedDevice(
        seq=seq,
        time_ms=int(detail["time_ms"]),
        device=str(detail["device"]),
        model=str(detail["model"]),
        serial_number=str(detail["serial_number"]),
        operator=str(detail["operator"]),
        passed=int(detail["passed"]),
        failed=int(detail["failed"]),
        not_checked=int(detail["not_checked"]),
        checks_failed=str(detail["checks_failed"]),
        accepted=str(detail.get("accepted", "")),
        report=report,
    )


def _loss(seq: int, time_ms: int, detail: Detail) -> DeclaredLoss:
    return DeclaredLoss(
        seq=seq,
        time_ms=time_ms,
        kind="loss",
        samples=int(detail["samples"]),
        first=int(detail["first_ms"]),
        last=int(detail["last_ms"]),
        reason=str(detail["reason"]),
    )


def _stored(seq: int, descriptor: bytes, detail: Detail) -> StoredRound:
    return StoredRound(
        seq=seq,
        time_ms=int(detail["time_ms"]),
        device=str(detail["device"]),
        name=str(detail["name"]),
        period=str(detail["period"]),
        entries=int(detail["entries"]),
        good=int(detail["good"]),
        descriptor=descriptor,
    )
