"""Deterministically encoded CBOR (RFC 8949, section 4.2.1), and nothing else of CBOR.

Encoding is done by cbor2. Decoding is ours because a record must have exactly one encoding: a general decoder accepts
indefinite lengths, long integers, duplicate keys and tags, and each of those would let two different byte strings mean
one record. Accepted are integers, byte and text strings, arrays, maps, ``false``, ``true``, ``null`` and finite
floats, each in its shortest form, with the keys of a map in bytewise order.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2

from wire.errors import RecordError
from wire.limits import MAXIMUM_DEPTH, MAXIMUM_ITEMS, MAXIMUM_TEXT_BYTES

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE_OR_FLOAT = range(8)
_SIMPLE = {20: False, 21: True, 22: None}
_FLOATS = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}
_SMALLEST_ARGUMENT = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}


def encode(value: Any) -> bytes:
    """Encode ``value`` deterministically. Maps must have keys of one type, integers 0..23 or texts."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Any:
    """Decode exactly one data item from ``data``.

    Raises `RecordError` with fault ``truncated``, ``trailing-bytes``, ``not-canonical``, ``not-cbor``, ``too-deep`` or
    ``too-many-items``.
    """
    decoder = _Decoder(data)
    value = decoder.item(0)
    if decoder.position != len(data):
        raise RecordError("trailing-bytes", f"{len(data) - decoder.position} bytes follow the end of the data item")
    return value


class _Decoder:
    __slots__ = ("data", "end", "items", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        self.position = 0
        self.items = 0

    def item(self, depth: int) -> Any:  # noqa: PLR0911 - one for each kind of item
        # Every record that a server admits passes here item by item: what is needed most is written out, not called.
        self.items += 1
        if self.items > MAXIMUM_ITEMS:
            raise RecordError("too-many-items", f"more than {MAXIMUM_ITEMS} data items")
        position = self.position
        if position >= self.end:
            raise RecordError("truncated", f"the data ends at byte {position}, where another item should begin")
        byte = self.data[position]
        self.position = position + 1
        if byte < 24:
            return byte
        major, argument = byte >> 5, byte & 0x1F
        if major == _SIMPLE_OR_FLOAT:
            return self._simple_or_float(argument)
        if argument >= 24:
            argument = self._argument(argument)
        if major == _UNSIGNED:
            return argument
        if major == _BYTES:
            return self._take(argument)
        if major == _NEGATIVE:
            return -1 - argument
        if major == _TEXT:
            return self._text(argument)
        if major == _TAG:
            raise RecordError("not-canonical", f"tag {argument} at byte {self.position}: records carry no tags inside")
        if depth >= MAXIMUM_DEPTH:
            raise RecordError("too-deep", f"arrays and maps are nested deeper than {MAXIMUM_DEPTH}")
        if major == _MAP:
            return self._map(self._count(argument, 2), depth + 1)
        item, depth = self.item, depth + 1
        return [item(depth) for _ in range(self._count(argument, 1))]

    def _argument(self, additional: int) -> int:
        """Return the argument that stands in the bytes after the first one."""
        if additional > 27:
            raise RecordError("not-canonical", f"indefinite or reserved length at byte {self.position - 1}")
        value = int.from_bytes(self._take(1 << (additional - 24)), "big")
        if value < _SMALLEST_ARGUMENT[additional]:
            raise RecordError("not-canonical", f"{value} before byte {self.position} is not in its shortest form")
        return value

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > self.end:
            raise RecordError("truncated", f"{count} bytes should follow byte {self.position}, the data ends before")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _count(self, count: int, items_each: int) -> int:
        if count * items_each > self.end - self.position:
            raise RecordError("truncated", f"{count} elements are announced at byte {self.position}, fewer can follow")
        return count

    def _text(self, count: int) -> str:
        if count > MAXIMUM_TEXT_BYTES:
            raise RecordError("not-cbor", f"a text of {count} bytes; at most {MAXIMUM_TEXT_BYTES} are accepted")
        try:
            return self._take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise RecordError("not-cbor", f"the text before byte {self.position} is not UTF-8") from error

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        previous = b""
        item, data = self.item, self.data
        for _ in range(count):
            start = self.position
            key = item(depth)
            encoded = data[start : self.position]
            if encoded <= previous:
                raise RecordError("not-canonical", f"map keys at byte {start} are not in strictly rising order")
            if type(key) is not int and type(key) is not str:
                raise RecordError("not-cbor", f"the map key at byte {start} is neither an integer nor a text")
            previous = encoded
            result[key] = item(depth)
        return result

    def _simple_or_float(self, additional: int) -> Any:
        if additional in _SIMPLE:
            return _SIMPLE[additional]
        if additional not in _FLOATS:
            raise RecordError("not-canonical", f"simple value or break code {additional} at byte {self.position - 1}")
        size, form = _FLOATS[additional]
        value: float = struct.unpack(form, self._take(size))[0]
        if not math.isfinite(value):
            raise RecordError("not-finite", f"the float before byte {self.position} is {value}; leave it out instead")
        if size > 2 and _fits_shorter_float(value, size):
            raise RecordError("not-canonical", f"the float before byte {self.position} is not in its shortest form")
        return value


def _fits_shorter_float(value: float, size: int) -> bool:
    form = ">e" if size == 4 else ">f"
    try:
        shorter: float = struct.unpack(form, struct.pack(form, value))[0]
    except (OverflowError, struct.error):
        return False
    return shorter == value
