"""Register words and values: published layouts, and the codec's round trip."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import WordsError
from wire.words import (
    WordOrder,
    WordType,
    decode_octets,
    decode_text,
    decode_words,
    encode_decimal,
    encode_words,
    raw_value,
)

ORDERS = st.sampled_from(list(WordOrder))
BYTE_ORDERS = st.sampled_from([WordOrder.ABCD, WordOrder.DCBA])
BINARY = [t for t in WordType if t.has_fixed_width and t is not WordType.BIT and not t.is_decimal]
DECIMALS = [WordType.BCD16, WordType.BCD32, WordType.BCD64]


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


@given(st.sampled_from([t for t in BINARY if not t.is_float]), ORDERS, st.data())
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


@given(st.sampled_from(DECIMALS), ORDERS, st.data())
def test_decimals_come_back(type_: WordType, order: WordOrder, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 10 ** (type_.bits // 4) - 1))
    assert decode_words(encode_words(value, type_, order), type_, order) == value
    for outside in (-1, 10 ** (type_.bits // 4), 0.5):
        with pytest.raises(WordsError, match="does not fit"):
            encode_words(outside, type_, order)


@given(st.integers(1, 8), BYTE_ORDERS, st.booleans(), st.data())
def test_decimal_fields_come_back(length: int, order: WordOrder, signed: bool, data: st.DataObject) -> None:
    largest = 8 * 10 ** (2 * length - 1) - 1 if signed else 10 ** (2 * length) - 1
    value = data.draw(st.integers(-largest if signed else 0, largest))
    type_ = WordType.SIGNED_BCD if signed else WordType.BCD
    assert decode_octets(encode_decimal(value, length, order, signed=signed), type_, order) == value
    with pytest.raises(WordsError, match="does not fit"):
        encode_decimal(largest + 1, length, order, signed=signed)


@pytest.mark.parametrize(
    ("octets", "type_", "order", "value"),
    [
        ("78563412", WordType.BCD, WordOrder.DCBA, 12_345_678),
        ("000123", WordType.BCD, WordOrder.ABCD, 123),
        ("452380", WordType.SIGNED_BCD, WordOrder.DCBA, -2_345),
        ("4523FF", WordType.SIGNED_BCD, WordOrder.DCBA, None),
        ("2A", WordType.BCD, WordOrder.DCBA, None),
        ("E803", WordType.UINT16, WordOrder.DCBA, 1_000),
        ("FFFF", WordType.INT16, WordOrder.DCBA, -1),
        ("0000803F", WordType.FLOAT32, WordOrder.DCBA, 1.0),
    ],
)
def test_fields_of_answers(octets: str, type_: WordType, order: WordOrder, value: float | None) -> None:
    assert decode_octets(bytes.fromhex(octets), type_, order) == value


def test_digits_above_nine_are_no_value() -> None:
    assert decode_words([0x12A4], WordType.BCD16, WordOrder.ABCD) is None
    with pytest.raises(WordsError, match="12A4 are no decimal digits"):
        raw_value([0x12A4], WordType.BCD16, WordOrder.ABCD)


@given(st.integers(0, 15), st.integers(0, 0xFFFF), ORDERS)
def test_a_bit_is_what_stands_at_its_place(bit: int, word: int, order: WordOrder) -> None:
    swapped = (word & 0xFF) << 8 | word >> 8 if order.bytes_swapped else word
    assert decode_words([word], WordType.BIT, order, bit=bit) == swapped >> bit & 1
    assert decode_words(encode_words(1, WordType.BIT, order, bit=bit), WordType.BIT, order, bit=bit) == 1


def test_bits_of_a_field_are_counted_from_the_least_significant() -> None:
    assert decode_octets(b"\x01\x80", WordType.BIT, WordOrder.DCBA, bit=15) == 1
    assert decode_octets(b"\x01\x80", WordType.BIT, WordOrder.ABCD, bit=8) == 1
    with pytest.raises(WordsError, match="no bit 16 in 16"):
        decode_octets(b"\x01\x80", WordType.BIT, WordOrder.DCBA, bit=16)


@pytest.mark.parametrize(
    ("words", "order", "text"),
    [
        ([0x4144, 0x4C34, 0x3030, 0x0000], WordOrder.ABCD, "ADL400"),
        ([0x4441, 0x344C, 0x3030, 0x4100], WordOrder.BADC, "ADL400"),
        ([0x2041, 0x4220], WordOrder.ABCD, "AB"),
        ([0x41FF], WordOrder.ABCD, "A\ufffd"),
    ],
)
def test_text_in_registers(words: list[int], order: WordOrder, text: str) -> None:
    assert decode_text(words, order) == text
    assert decode_words(words, WordType.STRING, order) is None


def test_a_field_of_another_length_or_order_is_refused() -> None:
    with pytest.raises(WordsError, match="uint32 takes 4 bytes, 3 were given"):
        decode_octets(bytes(3), WordType.UINT32, WordOrder.ABCD)
    with pytest.raises(WordsError, match="CDAB is one of registers"):
        decode_octets(bytes(4), WordType.UINT32, WordOrder.CDAB)
    with pytest.raises(WordsError, match="said by its series"):
        _ = WordType.STRING.words
