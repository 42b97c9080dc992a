"""What a chain says beside its samples: commissioning, declared losses, and the first round of stored readings."""

from __future__ import annotations

from typing import Any

from evidence.field_record import FieldRecord, field_record
from wire.chain import ChainWriter
from wire.event import Event, Gap
from wire.keys import SigningKey
from wire.record import Body

NOW = 1_751_299_200_000
COMMISSIONED: dict[str, Any] = {
    "operator": "李伟", "device": "meter-1", "model": "acrel-adl400", "serial_number": "A1", "time_ms": NOW,
    "passed": 14, "failed": 1, "not_checked": 2, "checks_failed": "voltage", "checks_not_made": "", "report": bytes(32),
    "accepted": "no load yet",
}  # fmt: skip
HISTORY: dict[str, Any] = {
    "device": "meter-1", "name": "daily", "period": "day", "entry_byte": 1, "entries": 62, "good": 60, "time_ms": NOW,
}  # fmt: skip


def told(*bodies: Body) -> FieldRecord:
    writer = ChainWriter("gw-01", SigningKey.generate())
    records = []
    for body in bodies:
        records.append(writer.seal(body, time_ms=NOW + 1))
        writer.advance(records[-1])
    return field_record(records)


def test_who_proved_a_device_and_how_it_ended() -> None:
    (one,) = told(Event("start"), Event("commissioned", COMMISSIONED)).commissioned
    assert (one.seq, one.time_ms, one.device, one.operator) == (2, NOW, "meter-1", "李伟")
    assert (one.passed, one.failed, one.not_checked) == (14, 1, 2)
    assert (one.checks_failed, one.accepted, one.report) == ("voltage", "no load yet", bytes(32))


def test_losses_of_records_and_of_reads_are_added_up() -> None:
    gap = Gap(3, 9, bytes(32), bytes(32), 120, "the spool is full")
    lost = {"samples": 30, "first_ms": NOW - 5000, "last_ms": NOW, "reason": "the disk did not take records"}
    found = told(gap.to_event(), Event("loss", lost))
    assert [(one.kind, one.first, one.last, one.samples) for one in found.losses] == [
        ("gap", 3, 9, 120),
        ("loss", NOW - 5000, NOW, 30),
    ]
    assert found.lost_samples == 150


def test_of_the_rounds_of_stored_readings_the_first_counts() -> None:
    other = HISTORY | {"name": "monthly"}
    found = told(Event("history", HISTORY), Event("history", HISTORY | {"good": 62}), Event("history", other))
    assert [(one.seq, one.name, one.good) for one in found.stored] == [(1, "daily", 60), (3, "monthly", 60)]


def test_an_event_that_lacks_a_detail_is_passed_over() -> None:
    for name, detail in (("commissioned", COMMISSIONED), ("history", HISTORY)):
        for key in set(detail) - {"accepted", "checks_not_made", "entry_byte"}:
            lacking = {other: value for other, value in detail.items() if other != key}
            assert told(Event(name, lacking)) == FieldRecord()  # type: ignore[arg-type]
    assert told(Event("commissioned", COMMISSIONED | {"report": "text"})) == FieldRecord()
