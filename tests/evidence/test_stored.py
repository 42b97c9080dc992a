"""Stored readings of meters, out of records: what belongs to which entry, and what is passed over."""

from __future__ import annotations

import pytest

from evidence.stored import ROUND_MS, StoredReading, stored_readings
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.errors import RecordError
from wire.event import Event
from wire.frame import STATUS_OK, Frame, FrameBuilder
from wire.keys import SigningKey
from wire.record import Body
from wire.words import WordOrder, WordType

NOW = 1_751_299_200_000
ENERGY = Series(
    "daily_energy", "energy", "kWh", "gauge", 3, 101, WordType.UINT16, WordOrder.ABCD, 0.5, invalid=(0xFFFF,)
)
POLLED = Series("daily_use", "energy", "kWh", "gauge", 3, 7, WordType.UINT16, WordOrder.ABCD)
DETAIL: dict[str, int | float | str | bytes] = {
    "device": "m", "name": "daily", "period": "day", "function": 3, "address": 100, "stride": 4, "registers": 3,
    "entries": 3, "good": 3, "time_ms": NOW,
}  # fmt: skip


def descriptor(*names: str) -> Descriptor:
    devices = tuple(
        Device(name, "x", bytes(32), "", "modbus-tcp", 1, 1.0, 1.0, True, 1000, (POLLED, ENERGY)) for name in names
    )
    return Descriptor("gw-01", "test", "Asia/Shanghai", devices)


def frame(address: int, *words: int, device: int = 0, time_ms: int = NOW, status: int = STATUS_OK) -> Frame:
    builder = FrameBuilder(device, 1, 3, address, 3)
    builder.add(time_ms, status, words if status == STATUS_OK else None, 1)
    return builder.build()


def read(*bodies: Body) -> list[StoredReading]:
    writer = ChainWriter("gw-01", SigningKey.generate())
    records = []
    for body in bodies:
        records.append(writer.seal(body, time_ms=NOW))
        writer.advance(records[-1])
    return list(stored_readings(records))


def test_entries_are_read_at_their_stride_and_the_rest_of_their_words_is_kept() -> None:
    frames = (frame(100, 1, 20, 3), frame(104, 4, 0xFFFF, 6), frame(108, 7, 8, 9))
    found = read(descriptor("m"), frames, Event("history", DETAIL))
    assert [(one.entry, one.values, one.raw) for one in found] == [
        (1, (10.0,), (1, 20, 3)),
        (2, (None,), (4, 0xFFFF, 6)),
        (3, (4.0,), (7, 8, 9)),
    ]
    assert {(one.gateway, one.device, one.history, one.series) for one in found} == {("gw-01", "m", "daily", (ENERGY,))}


def test_an_entry_that_failed_or_belongs_to_another_device_is_none() -> None:
    frames = (frame(100, status=2), frame(104, 1, 2, 3, device=1), frame(108, 7, 8, 9))
    assert [one.entry for one in read(descriptor("m", "n"), frames, Event("history", DETAIL))] == [3]


def test_reads_of_an_earlier_round_are_not_told_again() -> None:
    old = tuple(frame(address, 1, 2, 3, time_ms=NOW - ROUND_MS - 1) for address in (100, 104, 108))
    assert read(descriptor("m"), old, Event("history", DETAIL)) == []
    frames = (frame(100, 1, 20, 3),)
    assert len(read(descriptor("m"), frames, Event("history", DETAIL), Event("history", DETAIL))) == 1


def test_words_read_under_another_descriptor_mean_nothing_here() -> None:
    assert read(descriptor("n", "m"), (frame(100, 1, 2, 3),), descriptor("m"), Event("history", DETAIL)) == []


def test_an_event_of_an_unknown_device_is_passed_over() -> None:
    assert read(descriptor("n"), (frame(100, 1, 2, 3),), Event("history", DETAIL)) == []


def test_an_event_that_lacks_a_field_is_told() -> None:
    detail = {key: value for key, value in DETAIL.items() if key != "stride"}
    with pytest.raises(RecordError, match="lacks \\['stride'\\]"):
        read(descriptor("m"), (frame(100, 1, 2, 3),), Event("history", detail))
