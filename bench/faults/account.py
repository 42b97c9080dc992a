"""The account of a campaign: every answer that a device gave is on record once, or something signed says why not.

The devices number their answers (`bench.faults.served`), so the account needs no clock. Between two numbers on record
that do not follow each other the missing ones must be covered by signed statements that stand between them in the
chain: a failed read of that device covers one answer (it did not arrive), a *loss* or *gap* event as many as there can
have been in the time it names. A request that a stalled line has held up reaches the device when the agent has given it
up long ago and reads again: so a failed read may cover an answer a few good reads behind it, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wire.event import Event, Gap
from wire.frame import STATUS_OK, Frame
from wire.record import Payload

IN_FLIGHT = 2
"""Answers that a window of loss may cover beyond its length: the ones that were under way at its two ends."""


LATE_READS = 5
"""Good reads after a failed one within which the device may have answered the failed one."""


@dataclass(slots=True)
class Account:
    """Numbers of answers: ``served`` by the devices, ``stored`` in records, ``declared`` missing under a signed
    statement, ``lost`` without one, ``duplicated`` in records. ``findings`` names every lost or double number.
    """

    served: int = 0
    stored: int = 0
    declared: int = 0
    lost: int = 0
    duplicated: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, other: Account) -> None:
        """Add the numbers and findings of ``other``."""
        self.served += other.served
        self.stored += other.stored
        self.declared += other.declared
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.findings += other.findings


@dataclass(slots=True)
class _Device:
    name: str
    served: int
    last: int = 0
    failed: int = 0
    room: int = 0
    late: int = 0
    late_reads: int = 0
    seen: set[int] = field(default_factory=set)


def account(gateway: str, payloads: Iterable[Payload], served: Sequence[int], interval_ms: int) -> Account:
    """Compare what a gateway has on record, by seq, with what its devices (by index) have ``served``.

    :param interval_ms: how often each device is asked.
    """
    devices = [_Device(f"{gateway}/{index}", count) for index, count in enumerate(served)]
    result = Account(served=sum(served))
    declared, expected = _gaps(payloads := list(payloads)), 1
    for payload in payloads:
        for seq in range(expected, payload.seq):
            if (window := declared.get(seq)) is None:
                result.findings.append(f"{gateway}: record {seq} is neither stored nor declared a gap")
                continue
            for device in devices:
                device.room += window
        expected = payload.seq + 1
        if isinstance(payload.body, Event) and payload.body.name == "loss":
            span = int(payload.body.detail["last_ms"]) - int(payload.body.detail["first_ms"])
            for device in devices:
                device.room += math.ceil(span / interval_ms) + IN_FLIGHT
        for frame in payload.frames:
            if isinstance(frame, Frame):
                _enter(devices[frame.device], frame, result)
    for device in devices:
        _settle(device, device.served + 1, result)
    return result


def _enter(device: _Device, frame: Frame, result: Account) -> None:
    for _, status, words in frame.samples():
        if status != STATUS_OK or words is None:
            device.failed += 1
            continue
        number = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
        if number in device.seen:
            result.duplicated += 1
            result.findings.append(f"{device.name}: answer {number} is on record twice")
            continue
        device.seen.add(number)
        result.stored += 1
        _settle(device, number, result)


def _settle(device: _Device, number: int, result: Account) -> None:
    missing = max(0, number - device.last - 1)
    covered = min(missing, device.failed + device.room + device.late)
    result.declared += covered
    if missing > covered:
        result.lost += missing - covered
        result.findings.append(
            f"{device.name}: of the answers {device.last + 1} to {number - 1} {missing - covered} are missing and not "
            f"declared ({device.failed + device.late} failed reads and room for {device.room} in signed losses)"
        )
    unused = max(0, device.failed + device.late - max(0, covered - device.room))
    device.late_reads = LATE_READS if device.failed else max(0, device.late_reads - 1)
    device.late = unused if device.late_reads else 0
    device.last, device.failed, device.room = max(device.last, number), 0, 0


def _gaps(payloads: Sequence[Payload]) -> dict[int, int]:
    """Return, by seq of a record that a gap event declares lost, the reads that it says were lost with it."""
    declared: dict[int, int] = {}
    for payload in payloads:
        if isinstance(payload.body, Event) and payload.body.name == "gap":
            gap = Gap.from_event(payload.body)
            declared.update(dict.fromkeys(range(gap.first, gap.last + 1), 0))
            declared[gap.last] = gap.samples
    return declared
