"""Register words and values: published layouts, and the codec's round trip."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WordsError
from wire.words import WordOrder, WordType, decode_words, encode_words, raw_value

ORDERS = st.sampled_from(list(WordOrder))


@pytest.mark.parametrize(
    ("words", "type_", "order", "value"),
    [
        ([0x4366, 0x3334], WordType.FLOAT32, WordOrder.ABCD, struct.unpack(">f", b"\x43\x66\x33\x34")[0]),
        ([0x3334, 0x4366], WordType.FLOAT32, WordOrder.CDAB, struct.unpack(">f", b"\x43\x66\x33\x34")[0]),
        ([0x6643, 0x3433], WordType.FLOAT32, WordOrder.BADC, struct.unpack(">f", b"\x43\x66\x33\x34")[0]),
        ([0x3433, 0x6643], WordType.FLOAT32, WordOrder.DCBA, struct.unpack(">f", b"\x43\x66\x33\x34")[0]),
        ([0x0001, 0x86A0], WordType.UINT32, WordOrder.ABCD, 100_000),
        ([0x86A0, 0x0001], WordType.INT32, WordOrder.CDAB, 100_000),
        ([0xFFFF, 0xFFFE], WordType.INT32, WordOrder.ABCD, -2),
        ([0xFF9C], WordType.INT16, WordOrder.ABCD, -100),
        ([0x9CFF], WordType.INT16, WordOrder.BADC, -100),
        ([0, 0, 1, 0], WordType.UINT64, WordOrder.ABCD, 65_536),
        ([0, 1, 0, 0], WordType.INT64, WordOrder.CDAB, 65_536),
    ],
)
def test_published_layouts(words: list[int], type_: WordType, order: WordOrder, value: float) -> None:
    assert raw_value(words, type_, order) == value


@given(st.sampled_from([t for t in WordType if not t.is_float]), ORDERS, st.data())
def test_integers_come_back(type_: WordType, order: WordOrder, data: st.DataObject) -> None:
    low, high = (-(2 ** (type_.bits - 1)), 2 ** (type_.bits - 1) - 1) if type_.is_signed else (0, 2**type_.bits - 1)
    value = data.draw(st.integers(low, high))
    assert raw_value(encode_words(value, type_, order), type_, order) == value
    for outside in (low - 1, high + 1):
        with pytest.raises(WordsError, match="does not fit"):
            encode_words(outside, type_, order)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), ORDERS)
def test_floats_come_back(value: float, order: WordOrder) -> None:
    for type_ in (WordType.FLOAT32, WordType.FLOAT64):
        assert decode_words(encode_words(value, type_, order), type_, order) == value


def test_scale_and_offset_are_applied_to_the_raw_value() -> None:
    assert decode_words([235], WordType.INT16, WordOrder.ABCD, scale=0.1, offset=-40.0) == pytest.approx(-16.5)


def test_an_unscaled_integer_stays_exact() -> None:
    words = encode_words(2**63 + 1, WordType.UINT64, WordOrder.CDAB)
    assert decode_words(words, WordType.UINT64, WordOrder.CDAB) == 2**63 + 1


@pytest.mark.parametrize("order", list(WordOrder))
def test_the_not_available_pattern_is_no_value_whatever_the_order(order: WordOrder) -> None:
    words = encode_words(0x7FFFFFFE, WordType.INT32, order)
    assert decode_words(words, WordType.INT32, order, invalid=(0x7FFFFFFE,)) is None
    assert decode_words(words, WordType.INT32, order) == 0x7FFFFFFE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_not_finite_is_no_value(value: float) -> None:
    assert decode_words(encode_words(value, WordType.FLOAT32, WordOrder.ABCD), WordType.FLOAT32, WordOrder.ABCD) is None


def test_a_wrong_number_of_words_is_refused() -> None:
    with pytest.raises(WordsError, match="takes 2 registers, 1 were given"):
        decode_words([1], WordType.UINT32, WordOrder.ABCD)


def test_a_word_beyond_16_bits_is_refused() -> None:
    with pytest.raises(WordsError, match=r"0\.\.65535"):
        decode_words([70_000], WordType.UINT16, WordOrder.ABCD)
