"""Readings of meters and nodes: decoded like those of registers, and compared only with what means the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evidence.readings import Setting, SkippedRecord, collect_readings, merge_readings
from wire.descriptor import AnswerPlace, Descriptor, Device, NodePlace, Series
from wire.frame import STATUS_OK, STATUS_TIMEOUT, AnswerFrameBuilder, AnyFrame, NodeFrameBuilder, NodeSample, Variant
from wire.record import ZERO_HASH, ClockState, Payload
from wire.words import WordOrder, WordType, encode_decimal

REQUEST = b"\x11\x00\x00\x01\x00"
NODE = "ns=2;s=Line.Pieces"
DESCRIPTOR = bytes(31) + b"\x01"
ENERGY = Series(
    "energy", "active_energy_import", "kWh", "counter", 0, 0, WordType.BCD, WordOrder.DCBA, 0.01, modulus=1_000_000.0,
    place=AnswerPlace(REQUEST, 0, 4),
)  # fmt: skip
PIECES = Series(
    "pieces", "good_count", "piece", "counter", 0, 0, WordType.VARIANT, WordOrder.ABCD, place=NodePlace(NODE)
)


def device(name: str, series: Series) -> Device:
    return Device(name, "example", bytes(32), "", "any", 1, 1.0, 1.0, True, 60_000, (series,))


DESCRIPTORS = {
    DESCRIPTOR: Descriptor("gw-01", "test", "Asia/Shanghai", (device("meter-1", ENERGY), device("line-1", PIECES)))
}


def payload(seq: int, *frames: AnyFrame) -> Payload:
    return Payload("gw-01", bytes(16), seq, ZERO_HASH, DESCRIPTOR, ClockState(), 0, frames)


def answers(start_ms: int, *counts: int | None, length: int = 4) -> AnyFrame:
    builder = AnswerFrameBuilder(0, REQUEST)
    for position, count in enumerate(counts):
        data = None if count is None else encode_decimal(count, 4, WordOrder.DCBA) + bytes(length - 4)
        builder.add(start_ms + 60_000 * position, STATUS_TIMEOUT if data is None else STATUS_OK, data, 0)
    return builder.build()


def samples(start_ms: int, variant: Variant, *values: float) -> AnyFrame:
    builder = NodeFrameBuilder(1, NODE)
    for position, value in enumerate(values):
        builder.add(NodeSample(start_ms + 60_000 * position, 0, value), variant)
    return builder.build()


def test_answers_of_many_records_are_one_series() -> None:
    records = [
        payload(1, answers(0, 100, None, 103)),
        payload(2, answers(600_000, None)),
        payload(3, answers(900_000, 110, length=6)),
    ]
    readings = merge_readings(collect_readings(records, DESCRIPTORS, [])["gw-01/meter-1/energy"])
    assert readings.time_ms.tolist() == [0, 120_000, 900_000]
    assert readings.raw.tolist() == [100, 103, 110]
    assert readings.values.tolist() == pytest.approx([1.0, 1.03, 1.1])


def test_a_node_is_one_series_whatever_type_its_values_have() -> None:
    records = [payload(1, samples(0, Variant.UINT32, 5, 7)), payload(2, samples(120_000, Variant.DOUBLE, 8.0))]
    readings = merge_readings(collect_readings(records, DESCRIPTORS, [])["gw-01/line-1/pieces"])
    assert readings.values.tolist() == [5.0, 7.0, 8.0]


def test_a_frame_of_a_device_that_is_not_described_is_said() -> None:
    skipped: list[SkippedRecord] = []
    frame = replace(answers(0, 1), device=9)
    assert not collect_readings([payload(4, frame)], DESCRIPTORS, skipped)
    assert [one.seq for one in skipped] == [4]


def test_digits_are_counted_exactly_and_values_of_nodes_in_their_unit() -> None:
    digits, node = Setting("", ENERGY, 0), Setting("", PIECES, 0)
    assert digits.quantum == 0.01
    assert digits.rules(0.01).modulus == 100_000_000
    assert node.quantum == 1.0
    assert node.rules(1.0).resolution == 0.0


@pytest.mark.parametrize(
    "other",
    [
        replace(ENERGY, place=AnswerPlace(REQUEST, 4, 4)),
        replace(ENERGY, place=AnswerPlace(b"\x11\x00\x00\x02\x00", 0, 4)),
        replace(ENERGY, place=NodePlace(NODE), type=WordType.VARIANT),
        replace(ENERGY, bit=1, type=WordType.BIT),
    ],
)
def test_what_stands_elsewhere_means_something_else(other: Series) -> None:
    assert not Setting("", ENERGY, 0).same_meaning(Setting("", other, 0))
    assert Setting("", ENERGY, 0).same_meaning(Setting("", replace(ENERGY, maximum_rate=5.0), 9))
