"""What register words mean: types, word orders, scales and "not available" values, one value at a time.

A register is 16 bits and travels high byte first (MODBUS Application Protocol V1.1b3, 4.2). How several registers make
one value is the device's choice; the four orders in use are named by the letters of a 32-bit value's bytes, ``A`` the
most significant: ``ABCD`` high word first, ``CDAB`` low word first, ``BADC`` and ``DCBA`` the same with the bytes of
each word swapped. For 64-bit values the same rule is applied to four words. ``evidence.columns`` is the vectorised
twin of this module; property tests keep the two equal.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from enum import StrEnum

from wire.errors import WordsError


class WordType(StrEnum):
    """The types a value can have in registers."""

    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def words(self) -> int:
        """Number of 16-bit registers: 1, 2 or 4."""
        return int(self.value[-2:]) // 16

    @property
    def is_float(self) -> bool:
        """Whether the type is IEEE 754 binary32 or binary64."""
        return self in (WordType.FLOAT32, WordType.FLOAT64)

    @property
    def is_signed(self) -> bool:
        """Whether the type is a two's complement integer."""
        return self in (WordType.INT16, WordType.INT32, WordType.INT64)

    @property
    def bits(self) -> int:
        """Width in bits: 16, 32 or 64."""
        return self.words * 16


class WordOrder(StrEnum):
    """How the bytes of a value are spread over its registers."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def low_word_first(self) -> bool:
        """Whether the first register holds the least significant word."""
        return self in (WordOrder.CDAB, WordOrder.DCBA)

    @property
    def bytes_swapped(self) -> bool:
        """Whether the two bytes inside each register are exchanged."""
        return self in (WordOrder.BADC, WordOrder.DCBA)


_FORMATS = {
    WordType.UINT16: ">H",
    WordType.INT16: ">h",
    WordType.UINT32: ">I",
    WordType.INT32: ">i",
    WordType.UINT64: ">Q",
    WordType.INT64: ">q",
    WordType.FLOAT32: ">f",
    WordType.FLOAT64: ">d",
}


def raw_value(words: Sequence[int], type_: WordType, order: WordOrder) -> int | float:
    """Join ``words`` (each 0..65535, in the order they were read) to the unscaled value.

    Raises `WordsError` when the number of words is not that of the type.
    """
    if len(words) != type_.words:
        raise WordsError(f"{type_} takes {type_.words} registers, {len(words)} were given")
    value: int | float = struct.unpack(_FORMATS[type_], _ordered(words, order))[0]
    return value


def decode_words(
    words: Sequence[int],
    type_: WordType,
    order: WordOrder,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    invalid: Sequence[int] = (),
) -> float | int | None:
    """Return the value of ``words``: ``raw * scale + offset``, in the unit of the series.

    ``invalid`` lists the bit patterns (as unsigned integers over the ordered words, most significant first) that the
    device sends for "not available"; those, and floats that are not finite, give ``None``. An integer with scale 1 and
    offset 0 stays an integer.
    """
    raw = raw_value(words, type_, order)
    if invalid and int.from_bytes(_ordered(words, order), "big") in invalid:
        return None
    if isinstance(raw, float) and not math.isfinite(raw):
        return None
    if scale == 1.0 and offset == 0.0:
        return raw
    value = raw * scale + offset
    return value if math.isfinite(value) else None


def encode_words(raw: float, type_: WordType, order: WordOrder) -> list[int]:
    """Split an unscaled value into register words; the inverse of `raw_value`.

    Raises `WordsError` when the value does not fit the type.
    """
    try:
        packed = struct.pack(_FORMATS[type_], float(raw) if type_.is_float else raw)
    except (struct.error, OverflowError) as error:
        raise WordsError(f"{raw!r} does not fit {type_}") from error
    words = list(struct.unpack(f">{type_.words}H", packed))
    if order.bytes_swapped:
        words = [_swap(word) for word in words]
    return words[::-1] if order.low_word_first else words


def _ordered(words: Sequence[int], order: WordOrder) -> bytes:
    sequence = list(words[::-1]) if order.low_word_first else list(words)
    if order.bytes_swapped:
        sequence = [_swap(word) for word in sequence]
    try:
        return struct.pack(f">{len(sequence)}H", *sequence)
    except struct.error as error:
        raise WordsError(f"a register holds 0..65535, these were given: {list(words)}") from error


def _swap(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8
