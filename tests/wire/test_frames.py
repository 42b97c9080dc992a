"""Frames of answers and nodes: what is put in comes out again, and what cannot stand in one frame is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import cbor
from wire.frame import (
    STATUS_OK,
    STATUS_TIMEOUT,
    AnswerFrameBuilder,
    AnyFrame,
    Frame,
    FrameBuilder,
    NodeFrameBuilder,
    NodeSample,
    Variant,
    frame_from_cbor,
    frame_to_cbor,
)
from wire.keys import SigningKey
from wire.node import OPC_BAD, valid_node_id
from wire.record import ZERO_HASH, ClockState, Payload, open_record, sign_record

START_MS = 1_751_299_200_000
NUMBERS: dict[Variant, st.SearchStrategy[Any]] = {
    Variant.BOOLEAN: st.booleans(),
    Variant.SBYTE: st.integers(-128, 127),
    Variant.INT64: st.integers(-(2**63), 2**63 - 1),
    Variant.UINT64: st.integers(0, 2**64 - 1),
    Variant.FLOAT: st.floats(width=32, allow_nan=False),
    Variant.DOUBLE: st.floats(allow_nan=False),
    Variant.STRING: st.text(max_size=40),
}
stamps = st.one_of(st.none(), st.integers(-(10**13), 10**14))


def travelled(frame: AnyFrame) -> AnyFrame:
    """The frame after it was a record."""
    payload = Payload("gw-01", bytes(16), 1, ZERO_HASH, ZERO_HASH, ClockState(), START_MS, (frame,))
    key = SigningKey.generate()
    (received,) = open_record(sign_record(payload, key).data, key.public).payload.frames
    return received


@given(
    st.integers(1, 40).flatmap(
        lambda length: st.lists(st.one_of(st.none(), st.binary(min_size=length, max_size=length)), min_size=1)
    )
)
def test_answers_come_back(answers: list[bytes | None]) -> None:
    builder = AnswerFrameBuilder(3, b"\x11\x00")
    for position, answer in enumerate(answers):
        builder.add(START_MS + position, STATUS_TIMEOUT if answer is None else STATUS_OK, answer, position)
    frame = builder.build()
    assert [data for _, _, data in frame.samples()] == answers
    assert (frame.n, frame.n_ok) == (len(answers), sum(answer is not None for answer in answers))
    assert frame.size == sum(len(answer or b"") for answer in answers)
    assert travelled(frame) == frame
    assert len(builder) == 0


@given(st.sampled_from(list(NUMBERS)), st.data())
def test_samples_of_nodes_come_back(variant: Variant, data: st.DataObject) -> None:
    good = st.tuples(st.sampled_from([0, 0x0480, 0x40A4_0000]), NUMBERS[variant])
    bad = st.tuples(st.integers(OPC_BAD, 2**32 - 1), st.none())
    drawn = data.draw(st.lists(st.tuples(st.one_of(good, bad), stamps, stamps), min_size=1, max_size=20))
    samples = [
        NodeSample(START_MS + position, status, value, source, server)
        for position, ((status, value), source, server) in enumerate(drawn)
    ]
    builder = NodeFrameBuilder(0, "ns=2;s=Line.Speed")
    for sample in samples:
        builder.add(sample, Variant.NULL if sample.value is None else variant, 4)
    frame = builder.build()
    assert list(frame.samples()) == samples
    assert list(travelled(frame).samples()) == samples
    assert frame.round_trip_ms == 4


def test_a_good_sample_without_a_value_is_a_sample_and_no_value() -> None:
    builder = NodeFrameBuilder(0, "i=1")
    builder.add(NodeSample(START_MS, 0, None), Variant.NULL)
    frame = travelled(builder.build())
    assert (frame.n, frame.n_ok) == (1, 0)


def test_answers_of_another_length_begin_another_frame() -> None:
    builder = AnswerFrameBuilder(0, b"\x11")
    builder.add(START_MS, STATUS_OK, b"ab", 1)
    with pytest.raises(ValueError, match="of one length: 2, this one 3"):
        builder.add(START_MS, STATUS_OK, b"abc", 1)
    assert builder.build().length == 2
    builder.add(START_MS, STATUS_OK, b"abc", 1)
    assert builder.build().length == 3


def test_values_of_another_type_begin_another_frame() -> None:
    builder = NodeFrameBuilder(0, "i=1")
    builder.add(NodeSample(START_MS, OPC_BAD, None), Variant.NULL)
    builder.add(NodeSample(START_MS, 0, 1), Variant.INT16)
    with pytest.raises(ValueError, match="of one type"):
        builder.add(NodeSample(START_MS, 0, 1.0), Variant.DOUBLE)
    assert builder.build().variant is Variant.INT16


@pytest.mark.parametrize(
    ("sample", "variant"),
    [
        (NodeSample(START_MS, OPC_BAD, 1.0), Variant.DOUBLE),
        (NodeSample(START_MS, 0, 1.0), Variant.NULL),
        (NodeSample(START_MS, 0, None), Variant.DOUBLE),
        (NodeSample(START_MS, 0, 300), Variant.BYTE),
        (NodeSample(START_MS, 0, "x"), Variant.DOUBLE),
        (NodeSample(START_MS, 0, "品" * 400), Variant.STRING),
        (NodeSample(START_MS, 0, 1), Variant.STRING),
    ],
)
def test_a_sample_that_contradicts_itself_is_refused(sample: NodeSample, variant: Variant) -> None:
    builder = NodeFrameBuilder(0, "i=1")
    with pytest.raises(ValueError, match=r"sample has a value|is not of the type|a text has at most"):
        builder.add(sample, variant)
    assert len(builder) == 0


@pytest.mark.parametrize("builder", [AnswerFrameBuilder(0, b"\x11"), FrameBuilder(0, 1, 3, 0, 1)])
def test_a_failed_read_has_nothing_and_a_good_one_something(builder: AnswerFrameBuilder | FrameBuilder) -> None:
    for status, data in [(STATUS_OK, None), (STATUS_TIMEOUT, b"\x00")]:
        with pytest.raises(ValueError, match="a failed one has none"):
            builder.add(START_MS, status, data, 0)


@pytest.mark.parametrize("kind", ["registers", "answers", "node"])
def test_times_do_not_fall(kind: str) -> None:
    builders: dict[str, Any] = {
        "registers": lambda at: registers.add(at, STATUS_OK, [1], 0),
        "answers": lambda at: answers.add(at, STATUS_OK, b"1", 0),
        "node": lambda at: node.add(NodeSample(at, 0, 1.0), Variant.DOUBLE),
    }
    registers, answers, node = FrameBuilder(0, 1, 3, 0, 1), AnswerFrameBuilder(0, b"\x11"), NodeFrameBuilder(0, "i=1")
    builders[kind](START_MS)
    builders[kind](START_MS)
    with pytest.raises(ValueError, match="may not fall"):
        builders[kind](START_MS - 1)


def test_a_record_tells_its_register_frames_apart() -> None:
    registers, answers = FrameBuilder(0, 1, 3, 0, 1), AnswerFrameBuilder(0, b"\x11")
    registers.add(START_MS, STATUS_OK, [1], 0)
    answers.add(START_MS, STATUS_OK, b"1", 0)
    frames = (answers.build(), registers.build())
    payload = Payload("gw-01", bytes(16), 1, ZERO_HASH, ZERO_HASH, ClockState(), START_MS, frames)
    assert payload.frames == frames
    assert payload.register_frames == frames[1:]
    assert isinstance(payload.register_frames[0], Frame)


def test_an_unchanging_node_costs_almost_nothing() -> None:
    """An hour of a value every second, with time stamps of a server in step: the columns are what makes it small."""
    builder = NodeFrameBuilder(0, "ns=2;s=Line.Speed")
    for second in range(3_600):
        at = START_MS + 1_000 * second
        builder.add(NodeSample(at, 0, 24.5, at - 3, at - 2), Variant.DOUBLE)
    payload = Payload("gw-01", bytes(16), 1, ZERO_HASH, ZERO_HASH, ClockState(), START_MS, (builder.build(),))
    assert len(sign_record(payload, SigningKey.generate()).data) < 0.2 * 3_600


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("i=85", True),
        ("ns=2;s=Line;Power", True),
        ("ns=65535;g=09087e75-8e5e-499b-954f-f2a9603db28a", True),
        ("b=AQI=", True),
        ("Power", False),
        ("ns=2;Power", False),
        ("i=power", False),
        ("ns=x;i=1", False),
        ("s=", False),
        (f"s={'x' * 1024}", False),
    ],
)
def test_node_ids(text: str, valid: bool) -> None:
    assert valid_node_id(text) == valid


def test_a_frame_of_each_kind_is_an_array_of_its_own() -> None:
    answers, node = AnswerFrameBuilder(0, b"\x11"), NodeFrameBuilder(0, "i=1")
    answers.add(START_MS, STATUS_TIMEOUT, None, 9)
    node.add(NodeSample(START_MS, OPC_BAD, None), Variant.NULL)
    for frame in (answers.build(), node.build()):
        encoded = cbor.decode(cbor.encode(frame_to_cbor(frame)))
        assert encoded[0] in ("answer", "node")
        assert frame_from_cbor(encoded, "frame") == frame
