from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.columns import decode_frame, decode_raw, stack
from evidence.errors import ColumnsError
from wire.descriptor import AnswerPlace, NodePlace, Series
from wire.frame import AnswerFrameBuilder, NodeFrameBuilder, NodeSample, Variant
from wire.node import OPC_BAD, NodeValue
from wire.record import STATUS_OK, STATUS_TIMEOUT, Frame, FrameBuilder
from wire.values import value_in_answer, value_of_node
from wire.words import WordOrder, WordType, decode_words, encode_decimal, encode_words, raw_value

words = st.integers(0, 0xFFFF)
special = st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x7FF0, 0xFFF0])
finite = st.floats(allow_nan=False, allow_infinity=False)


def series(type_: WordType, order: WordOrder = WordOrder.ABCD, **fields: Any) -> Series:
    return Series("value", "quantity", "unit", "gauge", 3, fields.pop("address", 0), type_, order, **fields)


@st.composite
def reads(draw: st.DrawFn) -> tuple[Frame, list[tuple[int, ...] | None]]:
    """A frame of eight registers at address 100, and the words of each read (None for a failed one)."""
    row = st.tuples(*[st.one_of(words, special)] * 8)
    rows = draw(st.lists(st.one_of(row, st.none()), min_size=1, max_size=12))
    builder = FrameBuilder(0, 1, 3, 100, 8)
    time_ms = 1_751_299_200_000
    for values in rows:
        time_ms += draw(st.integers(0, 10_000))
        builder.add(time_ms, STATUS_TIMEOUT if values is None else STATUS_OK, values, 5)
    return builder.build(), rows


def pattern(values: tuple[int, ...], type_: WordType, order: WordOrder) -> int:
    raw = raw_value(values, WordType(f"uint{type_.bits}"), order)
    assert isinstance(raw, int)
    return raw


register_types = st.sampled_from([type_ for type_ in WordType if type_.has_fixed_width])


@given(reads(), st.tuples(register_types, st.sampled_from(WordOrder)), st.tuples(finite, finite), st.data())
def test_columns_equal_the_scalar_twin(
    frame_and_rows: tuple[Frame, list[tuple[int, ...] | None]],
    layout: tuple[WordType, WordOrder],
    scaling: tuple[float, float],
    data: st.DataObject,
) -> None:
    type_, order = layout
    scale, offset = data.draw(st.sampled_from([(1.0, 0.0), scaling]))
    first = data.draw(st.integers(0, 4))
    frame, rows = frame_and_rows
    cells = [None if row is None else row[first : first + type_.words] for row in rows]
    bit = data.draw(st.integers(0, 15)) if type_ is WordType.BIT else 0
    seen = [pattern(cell, type_, order) for cell in cells if cell is not None]
    invalid = tuple(data.draw(st.lists(st.sampled_from([*seen, 0xFFFF, 2**64 - 1]), max_size=3)))
    wanted = [
        None if cell is None else decode_words(cell, type_, order, scale=scale, offset=offset, invalid=invalid, bit=bit)
        for cell in cells
    ]

    time_ms, values = decode_frame(
        frame, series(type_, order, address=100 + first, scale=scale, offset=offset, invalid=invalid, bit=bit)
    )

    assert time_ms.tolist() == list(frame.times_ms)
    assert [None if np.isnan(value) else value for value in values.tolist()] == [
        None if value is None else float(value) for value in wanted
    ]


@given(st.lists(reads(), min_size=1, max_size=5), register_types, st.sampled_from(WordOrder))
def test_stacked_frames_equal_the_frames_one_by_one(
    many: list[tuple[Frame, list[tuple[int, ...] | None]]], type_: WordType, order: WordOrder
) -> None:
    frames = [frame for frame, _ in many]
    one = series(type_, order, address=102)
    together = decode_raw(stack(frames), one)
    apart = np.concatenate([decode_raw(stack([frame]), one) for frame in frames])
    np.testing.assert_array_equal(together, apart)
    assert stack(frames).time_ms.tolist() == [
        time_ms for frame in frames for time_ms, status, _ in frame.samples() if status == STATUS_OK
    ]


@pytest.mark.parametrize("order", WordOrder)
def test_counts_are_exact_up_to_53_bits(order: WordOrder) -> None:
    builder = FrameBuilder(0, 1, 3, 0, 4)
    counts = [2**53, 2**53 - 1, 0, 1]
    for position, value in enumerate(counts):
        builder.add(position, STATUS_OK, encode_words(value, WordType.UINT64, order), 1)
    assert decode_raw(stack([builder.build()]), series(WordType.UINT64, order)).tolist() == counts


def test_a_signalling_nan_is_invalid_and_does_not_warn() -> None:
    builder = FrameBuilder(0, 1, 3, 0, 2)
    builder.add(0, STATUS_OK, struct.unpack(">2H", bytes.fromhex("7f800001")), 1)
    _, values = decode_frame(builder.build(), series(WordType.FLOAT32, scale=2.0))
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    ("function", "address", "count"),
    [(4, 10, 2), (3, 11, 2), (3, 10, 1)],
    ids=["other function", "begins too late", "ends too early"],
)
def test_a_frame_without_the_registers_is_refused(function: int, address: int, count: int) -> None:
    builder = FrameBuilder(0, 1, function, address, count)
    builder.add(0, STATUS_OK, [0] * count, 1)
    with pytest.raises(ColumnsError, match="choose the frame that covers it"):
        decode_frame(builder.build(), series(WordType.UINT32, address=10))


def test_the_digits_of_registers_become_numbers() -> None:
    builder = FrameBuilder(0, 1, 3, 0, 2)
    for position, words in enumerate([(0x1234, 0x5678), (0x9999, 0x9999), (0x000A, 0x0000)]):
        builder.add(position, STATUS_OK, words, 1)
    values = decode_raw(stack([builder.build()]), series(WordType.BCD32))
    np.testing.assert_array_equal(values, [12_345_678, 99_999_999, np.nan])


def test_text_has_no_number() -> None:
    builder = FrameBuilder(0, 1, 3, 0, 4)
    builder.add(0, STATUS_OK, (0x4144, 0x4C34, 0x3030, 0), 1)
    assert np.isnan(decode_raw(stack([builder.build()]), series(WordType.STRING, length=4))).all()


answer_types = st.sampled_from(
    [
        *((type_, type_.bits // 8) for type_ in WordType if type_.has_fixed_width and not type_.is_decimal),
        *((type_, length) for type_ in (WordType.BCD, WordType.SIGNED_BCD) for length in (1, 2, 4, 7, 8)),
        (WordType.BIT, 3),
        (WordType.STRING, 5),
    ]
)


@given(
    st.lists(st.one_of(st.none(), st.binary(min_size=12, max_size=12)), min_size=1, max_size=12),
    answer_types,
    st.sampled_from([WordOrder.ABCD, WordOrder.DCBA]),
    st.data(),
)
def test_fields_of_answers_equal_the_scalar_twin(
    answers: list[bytes | None], layout: tuple[WordType, int], order: WordOrder, data: st.DataObject
) -> None:
    type_, length = layout
    decimal = type_ in (WordType.BCD, WordType.SIGNED_BCD)
    builder = AnswerFrameBuilder(0, b"\x11\x00\x01")
    start = data.draw(st.integers(0, 4))
    kept: list[bytes | None] = []
    for position, answer in enumerate(answers):
        if answer is not None and decimal and data.draw(st.booleans()):
            digits = data.draw(st.integers(0, 8 * 10 ** (2 * length - 1) - 1))
            field = encode_decimal(digits, length, order, signed=type_ is WordType.SIGNED_BCD)
            kept.append(answer[:start] + field + answer[start + length :])
        else:
            kept.append(answer)
        builder.add(1_000 * position, STATUS_OK if answer else STATUS_TIMEOUT, kept[-1], 5)
    seen = [int.from_bytes(answer[start : start + length], "big") for answer in kept if answer]
    one = series(
        type_,
        order,
        address=0,
        place=AnswerPlace(b"\x11\x00\x01", start, length),
        scale=data.draw(st.sampled_from([1.0, 0.01])),
        bit=data.draw(st.integers(0, 8 * length - 1)) if type_ is WordType.BIT else 0,
        invalid=tuple(data.draw(st.lists(st.sampled_from([*seen, 0xFF]), max_size=2))),
    )

    _, values = decode_frame(builder.build(), one)

    wanted = [None if answer is None else value_in_answer(one, answer) for answer in kept]
    assert [None if np.isnan(value) else value for value in values.tolist()] == [
        None if value is None else float(value) for value in wanted
    ]


def test_answers_of_another_length_do_not_hold_the_field() -> None:
    builder = AnswerFrameBuilder(0, b"\x11")
    builder.add(0, STATUS_OK, bytes(4), 1)
    one = series(WordType.BCD, place=AnswerPlace(b"\x11", 2, 4))
    with pytest.raises(ColumnsError, match="an answer of 4 bytes to 11"):
        decode_frame(builder.build(), one)


NUMBERS = {
    Variant.BOOLEAN: st.booleans(),
    Variant.SBYTE: st.integers(-128, 127),
    Variant.BYTE: st.integers(0, 255),
    Variant.INT16: st.integers(-(2**15), 2**15 - 1),
    Variant.UINT16: st.integers(0, 2**16 - 1),
    Variant.INT32: st.integers(-(2**31), 2**31 - 1),
    Variant.UINT32: st.integers(0, 2**32 - 1),
    Variant.INT64: st.integers(-(2**63), 2**63 - 1),
    Variant.UINT64: st.integers(0, 2**64 - 1),
    Variant.FLOAT: st.floats(width=32),
    Variant.DOUBLE: st.floats(),
    Variant.STRING: st.text(max_size=20),
}


@given(st.sampled_from(list(NUMBERS)), st.tuples(finite, finite), st.data())
def test_values_of_nodes_equal_the_scalar_twin(
    variant: Variant, scaling: tuple[float, float], data: st.DataObject
) -> None:
    scale, offset = data.draw(st.sampled_from([(1.0, 0.0), scaling]))
    one = series(WordType.VARIANT, place=NodePlace("ns=2;s=Power"), scale=scale, offset=offset)
    builder = NodeFrameBuilder(0, "ns=2;s=Power")
    samples: list[tuple[int, NodeValue | None]] = data.draw(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from([0, 0x0480, 0x4000_0000]), NUMBERS[variant]),
                st.tuples(st.just(OPC_BAD), st.none()),
            ),
            min_size=1,
            max_size=12,
        )
    )
    for position, (status, value) in enumerate(samples):
        builder.add(NodeSample(position, status, value), Variant.NULL if value is None else variant)

    frame = builder.build()
    _, values = decode_frame(frame, one)

    wanted = [value_of_node(one, value) if status < 0x4000_0000 else None for status, value in samples]
    assert [None if np.isnan(value) else value for value in values.tolist()] == [
        None if value is None else float(value) for value in wanted
    ]
    assert frame.n_ok == sum(status < 0x4000_0000 for status, _ in samples)


def test_frames_of_a_node_stack_whatever_their_types() -> None:
    frames = []
    for variant, value in [(Variant.INT16, -3), (Variant.DOUBLE, 2.5), (Variant.STRING, "x"), (Variant.NULL, None)]:
        builder = NodeFrameBuilder(0, "i=85")
        builder.add(NodeSample(len(frames), 0 if value is not None else OPC_BAD, value), variant)
        frames.append(builder.build())
    block = stack(frames)
    assert block.time_ms.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(
        decode_raw(block, series(WordType.VARIANT, place=NodePlace("i=85"))), [-3.0, 2.5, np.nan]
    )
