"""Samples and newest values of every kind of frame, by the descriptor."""

from __future__ import annotations

from ingest.readings import Interpreter, Reading
from wire.descriptor import AnswerPlace, Descriptor, Device, NodePlace, Series
from wire.frame import (
    STATUS_OK,
    STATUS_TIMEOUT,
    AnswerFrame,
    AnswerFrameBuilder,
    FrameBuilder,
    NodeFrame,
    NodeFrameBuilder,
    NodeSample,
    Variant,
)
from wire.words import WordOrder, WordType

REQUEST = b"\x11\x00\x00\x01\x00"
NODE = "ns=2;s=Line.Power"
KEPT, REVERSED = WordOrder.ABCD, WordOrder.DCBA


def interpreter() -> Interpreter:
    """A meter with two values in one answer, a line with one node that is two series, and a PLC with bits and text."""
    meter = (
        Series("energy", "energy", "kWh", "counter", 0, 0, WordType.BCD, REVERSED, 0.01,
               place=AnswerPlace(REQUEST, 0, 4)),
        Series("reserve", "energy", "kWh", "counter", 0, 0, WordType.BCD, REVERSED, place=AnswerPlace(REQUEST, 4, 4)),
    )  # fmt: skip
    line = (
        Series("power", "power", "kW", "gauge", 0, 0, WordType.VARIANT, KEPT, 0.001, place=NodePlace(NODE)),
        Series("power_w", "power", "W", "gauge", 0, 0, WordType.VARIANT, KEPT, place=NodePlace(NODE)),
    )
    plc = (
        Series("fault", "fault", "1", "state", 3, 0, WordType.BIT, KEPT, bit=4),
        Series("name", "name", "1", "state", 3, 1, WordType.STRING, KEPT, length=2),
        Series("count", "count", "1", "counter", 3, 3, WordType.BCD16, KEPT),
    )
    devices = [("meter-1", "dlt645", meter), ("line-1", "opc-ua", line), ("plc-1", "modbus-tcp", plc)]
    made = tuple(
        Device(name, "example", bytes(32), "", protocol, 1, 1.0, 1.0, True, 1_000, series)
        for name, protocol, series in devices
    )
    return Interpreter(Descriptor("gw-01", "test", "Asia/Shanghai", made))


def answers(*data: bytes | None) -> AnswerFrame:
    builder = AnswerFrameBuilder(0, REQUEST)
    for position, answer in enumerate(data):
        builder.add(position, STATUS_TIMEOUT if answer is None else STATUS_OK, answer, 0)
    return builder.build()


def samples(*values: tuple[int, float | None]) -> NodeFrame:
    builder = NodeFrameBuilder(1, NODE)
    for position, (status, value) in enumerate(values):
        sample = NodeSample(position, status, value)
        builder.add(sample, Variant.NULL if value is None else Variant.DOUBLE)
    return builder.build()


def test_answers_are_counted_by_the_series_that_they_hold() -> None:
    both, short = bytes.fromhex("7856341200000001"), bytes.fromhex("78563412")
    assert interpreter().samples([answers(both, None, both)]) == 4
    assert interpreter().samples([answers(short, None)]) == 1
    assert interpreter().samples([answers(None)]) == 0


def test_the_newest_answer_is_the_latest_value() -> None:
    frame = answers(bytes.fromhex("0000000000000000"), bytes.fromhex("7856341200000001"), None)
    assert interpreter().latest([frame]) == [
        Reading("gw-01/meter-1/energy", 1, 123_456.78, "kWh", STATUS_TIMEOUT),
        Reading("gw-01/meter-1/reserve", 1, 1_000_000, "kWh", STATUS_TIMEOUT),
    ]


def test_a_meter_that_never_answered_is_known_to_be_silent() -> None:
    assert interpreter().latest([answers(None, None)]) == [
        Reading("gw-01/meter-1/energy", 1, None, "kWh", STATUS_TIMEOUT),
        Reading("gw-01/meter-1/reserve", 1, None, "kWh", STATUS_TIMEOUT),
    ]


def test_good_samples_of_a_node_are_counted_for_each_of_its_series() -> None:
    uncertain, bad = 0x4000_0000, 0x800A_0000
    assert interpreter().samples([samples((0, 1.0), (0x0480, 2.0), (uncertain, 3.0), (bad, None))]) == 4


def test_the_newest_good_sample_is_the_latest_value() -> None:
    frame = samples((0, 1_500.0), (0x4000_0000, 9.0), (0x800A_0000, None))
    assert interpreter().latest([frame]) == [
        Reading("gw-01/line-1/power", 0, 1.5, "kW", 0x800A),
        Reading("gw-01/line-1/power_w", 0, 1_500.0, "W", 0x800A),
    ]
    assert [one.status for one in interpreter().latest([samples((0x0480, 1.0))])] == [0, 0]
    assert [(one.value, one.status) for one in interpreter().latest([samples((0x80AE_0000, None))])] == [
        (None, 0x80AE),
        (None, 0x80AE),
    ]


def test_bits_text_and_digits_of_registers() -> None:
    builder = FrameBuilder(2, 1, 3, 0, 4)
    builder.add(5, STATUS_OK, [0x0010, 0x4142, 0x4344, 0x1234], 0)
    frame = builder.build()
    assert interpreter().samples([frame]) == 3
    assert {one.series.rpartition("/")[2]: one.value for one in interpreter().latest([frame])} == {
        "fault": 1,
        "name": None,
        "count": 1_234,
    }


def test_frames_of_devices_that_the_descriptor_does_not_have_hold_nothing() -> None:
    builder, nodes = AnswerFrameBuilder(7, REQUEST), NodeFrameBuilder(7, NODE)
    builder.add(0, STATUS_OK, bytes(8), 0)
    nodes.add(NodeSample(0, 0, 1.0), Variant.DOUBLE)
    frames = [builder.build(), nodes.build()]
    assert interpreter().samples(frames) == 0
    assert interpreter().latest(frames) == []
