from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.columns import decode_frame, decode_raw, stack
from evidence.errors import ColumnsError
from wire.descriptor import Series
from wire.record import STATUS_OK, STATUS_TIMEOUT, Frame, FrameBuilder
from wire.words import WordOrder, WordType, decode_words, encode_words, raw_value

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


@given(reads(), st.tuples(st.sampled_from(WordType), st.sampled_from(WordOrder)), st.tuples(finite, finite), st.data())
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
    seen = [pattern(cell, type_, order) for cell in cells if cell is not None]
    invalid = tuple(data.draw(st.lists(st.sampled_from([*seen, 0xFFFF, 2**64 - 1]), max_size=3)))
    wanted = [
        None if cell is None else decode_words(cell, type_, order, scale=scale, offset=offset, invalid=invalid)
        for cell in cells
    ]

    time_ms, values = decode_frame(
        frame, series(type_, order, address=100 + first, scale=scale, offset=offset, invalid=invalid)
    )

    assert time_ms.tolist() == list(frame.times_ms)
    assert [None if np.isnan(value) else value for value in values.tolist()] == [
        None if value is None else float(value) for value in wanted
    ]


@given(st.lists(reads(), min_size=1, max_size=5), st.sampled_from(WordType), st.sampled_from(WordOrder))
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
