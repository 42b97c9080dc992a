"""What words and bytes mean: types, orders, scales and "not available" values, one value at a time.

A register is 16 bits and travels high byte first (MODBUS Application Protocol V1.1b3, 4.2). How several registers make
one value is the device's choice; the four orders in use are named by the letters of a 32-bit value's bytes, ``A`` the
most significant: ``ABCD`` high word first, ``CDAB`` low word first, ``BADC`` and ``DCBA`` the same with the bytes of
each word swapped. For 64-bit values the same rule is applied to four words. Bytes of an answer that has no registers
stand most significant first (``ABCD``) or last (``DCBA``, as in DL/T 645 and CJ/T 188). ``evidence.columns`` is the
vectorised twin of this module; property tests keep the two equal.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property

from wire.errors import WordsError


class WordType(StrEnum):
    """The types a value can have.

    ``bcd16`` to ``bcd64`` are packed decimal digits in registers. ``bit`` is one bit of a register, a coil or a field
    of bytes; ``string`` is ASCII text, two characters a register. ``bcd`` and ``bcd_signed`` are the decimal digits of
    an answer's field, of whatever length; of the signed kind the highest bit is the sign (DL/T 645-2007, annex A).
    ``variant`` is a value that brings its type along (OPC UA).
    """

    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    BIT = "bit"
    STRING = "string"
    BCD = "bcd"
    SIGNED_BCD = "bcd_signed"
    VARIANT = "variant"

    @cached_property
    def has_fixed_width(self) -> bool:
        """Whether the type alone says how many registers or bytes a value takes; of a bit: in registers."""
        return self not in _NO_FIXED_WIDTH

    @cached_property
    def words(self) -> int:
        """Number of 16-bit registers: 1, 2 or 4. Raises `WordsError` for a type without a fixed width."""
        if self is WordType.BIT:
            return 1
        if not self.has_fixed_width:
            raise WordsError(f"how many registers a {self} takes is said by its series, not by its type")
        return int(self.value[-2:]) // 16

    @cached_property
    def is_float(self) -> bool:
        """Whether the type is IEEE 754 binary32 or binary64."""
        return self in (WordType.FLOAT32, WordType.FLOAT64)

    @cached_property
    def is_signed(self) -> bool:
        """Whether the type is a two's complement integer."""
        return self in (WordType.INT16, WordType.INT32, WordType.INT64)

    @cached_property
    def is_decimal(self) -> bool:
        """Whether the type is packed decimal digits."""
        return self in (WordType.BCD16, WordType.BCD32, WordType.BCD64, WordType.BCD, WordType.SIGNED_BCD)

    @cached_property
    def counts(self) -> bool:
        """Whether values are whole numbers of their scale, as all integers are: what is counted exactly."""
        return not self.is_float and self not in (WordType.STRING, WordType.VARIANT)

    @cached_property
    def bits(self) -> int:
        """Width in bits: 16, 32 or 64. Raises `WordsError` for a type without a fixed width."""
        return self.words * 16


_NO_FIXED_WIDTH = frozenset({WordType.STRING, WordType.BCD, WordType.SIGNED_BCD, WordType.VARIANT})


class WordOrder(StrEnum):
    """How the bytes of a value are spread over its registers."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @cached_property
    def low_word_first(self) -> bool:
        """Whether the first register holds the least significant word."""
        return self in (WordOrder.CDAB, WordOrder.DCBA)

    @cached_property
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


def raw_value(words: Sequence[int], type_: WordType, order: WordOrder, *, bit: int = 0) -> int | float:
    """Join ``words`` (each 0..65535, in the order they were read) to the unscaled value.

    ``bit`` is the number of the bit that is meant by the type ``bit``, 0 the least significant. Raises `WordsError`
    when the number of words is not that of the type, when the digits of a decimal are none, and for texts.
    """
    if len(words) != type_.words:
        raise WordsError(f"{type_} takes {type_.words} registers, {len(words)} were given")
    number = _number(_ordered(words, order), type_, bit)
    if number is None:
        raise WordsError(f"{' '.join(f'{word:04X}' for word in words)} are no decimal digits")
    return number


def decode_words(
    words: Sequence[int],
    type_: WordType,
    order: WordOrder,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    invalid: Sequence[int] = (),
    bit: int = 0,
) -> float | int | None:
    """Return the value of ``words``: ``raw * scale + offset``, in the unit of the series.

    ``invalid`` lists the bit patterns (as unsigned integers over the ordered words, most significant first) that the
    device sends for "not available"; those, floats that are not finite and digits above 9 give ``None``, and so does a
    text (see `decode_text`). An integer with scale 1 and offset 0 stays an integer.
    """
    if type_ is not WordType.STRING and len(words) != type_.words:
        raise WordsError(f"{type_} takes {type_.words} registers, {len(words)} were given")
    return _value(_ordered(words, order), type_, scale=scale, offset=offset, invalid=invalid, bit=bit)


def decode_octets(
    octets: bytes,
    type_: WordType,
    order: WordOrder,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    invalid: Sequence[int] = (),
    bit: int = 0,
) -> float | int | None:
    """Return the value of the bytes of a field of an answer; otherwise as `decode_words`.

    Raises `WordsError` when the field is not as long as its type, or ``order`` is one of swapped registers.
    """
    if type_.has_fixed_width and type_ is not WordType.BIT and 8 * len(octets) != type_.bits:
        raise WordsError(f"{type_} takes {type_.bits // 8} bytes, {len(octets)} were given")
    return _value(_ordered_octets(octets, order), type_, scale=scale, offset=offset, invalid=invalid, bit=bit)


def decode_text(words: Sequence[int], order: WordOrder) -> str:
    """Return the text in ``words``: two characters a register up to the first NUL, without spaces around it.

    What is not ASCII becomes U+FFFD: the words themselves are kept in the record.
    """
    return _ordered(words, order).split(b"\0", 1)[0].decode("ascii", errors="replace").strip()


def scaled(raw: int | float, scale: float, offset: float) -> float | int | None:
    """Return ``raw * scale + offset``, ``None`` where that is not finite; integers stay so when nothing is changed."""
    if isinstance(raw, float) and not math.isfinite(raw):
        return None
    if scale == 1.0 and offset == 0.0:
        return raw
    value = raw * scale + offset
    return value if math.isfinite(value) else None


def encode_words(raw: float, type_: WordType, order: WordOrder, *, bit: int = 0) -> list[int]:
    """Split an unscaled value into register words; the inverse of `raw_value`.

    Raises `WordsError` when the value does not fit the type.
    """
    words = list(struct.unpack(f">{type_.words}H", _packed(raw, type_, bit)))
    if order.bytes_swapped:
        words = [_swap(word) for word in words]
    return words[::-1] if order.low_word_first else words


def encode_decimal(raw: int, length: int, order: WordOrder, *, signed: bool = False) -> bytes:
    """Return ``raw`` as the packed decimal digits of a field of ``length`` bytes.

    With ``signed`` the highest bit is the sign. Raises `WordsError` when the value does not fit.
    """
    digits = f"{abs(raw):0{2 * length}d}"
    fits = len(digits) == 2 * length and (digits[0] <= "7" if signed else raw >= 0)
    if not fits:
        raise WordsError(f"{raw} does not fit {length} bytes of {'signed ' if signed else ''}decimal digits")
    octets = bytearray.fromhex(digits)
    if raw < 0:
        octets[0] |= 0x80
    return _ordered_octets(bytes(octets), order)


def _packed(raw: float, type_: WordType, bit: int) -> bytes:
    if type_ is WordType.BIT:
        if raw not in (0, 1):
            raise WordsError(f"{raw!r} does not fit {type_}")
        return struct.pack(">H", int(raw) << bit)
    if type_.is_decimal:
        if raw != int(raw):
            raise WordsError(f"{raw!r} does not fit {type_}")
        return encode_decimal(int(raw), type_.bits // 8, WordOrder.ABCD)
    try:
        return struct.pack(_FORMATS[type_], float(raw) if type_.is_float else raw)
    except (struct.error, OverflowError) as error:
        raise WordsError(f"{raw!r} does not fit {type_}") from error


def _value(
    octets: bytes, type_: WordType, *, scale: float, offset: float, invalid: Sequence[int], bit: int
) -> float | int | None:
    if type_ is WordType.STRING or (invalid and int.from_bytes(octets, "big") in invalid):
        return None
    raw = _number(octets, type_, bit)
    return None if raw is None else scaled(raw, scale, offset)


def _number(octets: bytes, type_: WordType, bit: int) -> int | float | None:
    """Return the number that ``octets``, most significant first, stand for; ``None`` for digits above 9."""
    if type_ is WordType.BIT:
        if not 0 <= bit < 8 * len(octets):
            raise WordsError(f"there is no bit {bit} in {8 * len(octets)}")
        return int.from_bytes(octets, "big") >> bit & 1
    if type_.is_decimal:
        return _decimal(octets, signed=type_ is WordType.SIGNED_BCD)
    number: int | float = struct.unpack(_FORMATS[type_], octets)[0]
    return number


def _decimal(octets: bytes, *, signed: bool) -> int | None:
    negative = signed and octets[0] >= 0x80
    digits = (bytes([octets[0] & 0x7F]) + octets[1:] if negative else octets).hex()
    if not digits.isdecimal():
        return None
    return -int(digits) if negative else int(digits)


def _ordered(words: Sequence[int], order: WordOrder) -> bytes:
    sequence = list(words[::-1]) if order.low_word_first else list(words)
    if order.bytes_swapped:
        sequence = [_swap(word) for word in sequence]
    try:
        return struct.pack(f">{len(sequence)}H", *sequence)
    except struct.error as error:
        raise WordsError(f"a register holds 0..65535, these were given: {list(words)}") from error


def _ordered_octets(octets: bytes, order: WordOrder) -> bytes:
    if order.low_word_first != order.bytes_swapped:
        raise WordsError(f"bytes stand in the order ABCD or DCBA; {order} is one of registers")
    return octets[::-1] if order.bytes_swapped else octets


def _swap(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8
