"""Sparkplug B payloads: the messages of an edge node as bytes, and what a host's commands say. Pure, no I/O.

Written from the facts of the Sparkplug specification 3.0 (Eclipse Foundation, chapter 6: field numbers, data types) and
of the Protocol Buffers encoding: a message is a sequence of fields, each a key ``number << 3 | wire type`` and its
value, a variable-length integer, 4 or 8 bytes little-endian, or counted bytes. Only what this edge node sends is here:
no templates, data sets, files or arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from agent.errors import SparkplugPayloadError

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
_MAXIMUM_VARINT_BYTES = 10

SparkplugValue = bool | int | float | str


class DataType(IntEnum):
    """The data types of metrics here, with their numbers on the wire (6.4.16).

    Left out are those that readers disagree on: a negative ``Int8`` or ``Int16`` fills its own width for some and 32
    bits for others, and ``UInt32`` stands in ``int_value`` (the specification) or in ``long_value`` (Eclipse Tahu).
    """

    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Quality(IntEnum):
    """What a value is worth: the numbers of the property ``Quality`` (6.4.11)."""

    BAD = 0
    GOOD = 192
    STALE = 500


QUALITY = "Quality"

_BITS = {
    DataType.INT32: 32,
    DataType.INT64: 64,
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT64: 64,
}
_SIGNED = frozenset({DataType.INT32, DataType.INT64})

_METRIC_VALUES, _PROPERTY_VALUES = 10, 3
"""The number of ``int_value`` in both; long, float, double, boolean and string follow in this order."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a metric, such as its unit."""

    key: str
    datatype: DataType
    value: SparkplugValue


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of an edge node or a device.

    With a ``name`` it is a definition, as births and deaths carry them, and its data type is told; without one it
    stands for what a birth has defined under the same ``alias``. ``value`` is ``None`` for none at present (null).
    ``time_ms``: when the value was read, milliseconds since the Unix epoch, UTC.
    """

    datatype: DataType
    value: SparkplugValue | None
    time_ms: int
    name: str | None = None
    alias: int | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """What a host writes to one metric, named or by its alias; numbers as they stand on the wire, unsigned."""

    name: str | None
    alias: int | None
    value: SparkplugValue | bytes | None


def encode_payload(metrics: Iterable[Metric], *, time_ms: int, seq: int | None) -> bytes:
    """Return the payload of a message made at ``time_ms``; ``seq`` 0 to 255, ``None`` in a node's death alone.

    Raises `SparkplugPayloadError` for a value that its data type does not hold.
    """
    parts = [_varint_field(1, time_ms)]
    parts += [_counted_field(2, _encode_metric(metric)) for metric in metrics]
    if seq is not None:
        parts.append(_varint_field(3, seq))
    return b"".join(parts)


def decode_commands(data: bytes) -> tuple[Command, ...]:
    """Return what the payload of a command writes; fields that are not known here are passed over.

    Raises `SparkplugPayloadError` when ``data`` is no payload.
    """
    return tuple(_command(content) for number, content in _fields(data) if number == 2 and isinstance(content, bytes))


def _encode_metric(metric: Metric) -> bytes:
    parts = []
    if metric.name is not None:
        parts.append(_text_field(1, metric.name))
    if metric.alias is not None:
        parts.append(_varint_field(2, metric.alias))
    parts.append(_varint_field(3, metric.time_ms))
    if metric.name is not None:
        parts.append(_varint_field(4, metric.datatype))
    if metric.value is None:
        parts.append(_varint_field(7, 1))
    if metric.properties:
        parts.append(_counted_field(9, _encode_properties(metric.properties)))
    if metric.value is not None:
        parts.append(_value_field(_METRIC_VALUES, metric.datatype, metric.value))
    return b"".join(parts)


def _encode_properties(properties: tuple[Property, ...]) -> bytes:
    keys = [_text_field(1, one.key) for one in properties]
    values = [
        _counted_field(2, _varint_field(1, one.datatype) + _value_field(_PROPERTY_VALUES, one.datatype, one.value))
        for one in properties
    ]
    return b"".join(keys + values)


def _value_field(first: int, datatype: DataType, value: SparkplugValue) -> bytes:
    """Return ``value`` in the field of its type, ``first`` being the number of ``int_value``."""
    if datatype in _BITS:
        bits = _BITS[datatype]
        return _varint_field(first + (bits == 64), _unsigned(datatype, bits, value))
    try:
        if datatype is DataType.FLOAT:
            return _key(first + 2, _FOUR_BYTES) + struct.pack("<f", value)
        if datatype is DataType.DOUBLE:
            return _key(first + 3, _EIGHT_BYTES) + struct.pack("<d", value)
    except (struct.error, OverflowError) as error:
        raise SparkplugPayloadError(f"{value!r} is no {datatype.name}") from error
    if datatype is DataType.BOOLEAN:
        return _varint_field(first + 4, bool(value))
    if not isinstance(value, str):
        raise SparkplugPayloadError(f"{value!r} is no {datatype.name}")
    return _text_field(first + 5, value)


def _unsigned(datatype: DataType, bits: int, value: SparkplugValue) -> int:
    """Return an integer as it travels: a negative one as the two's complement in the width of its type."""
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if datatype in _SIGNED else (0, (1 << bits) - 1)
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise SparkplugPayloadError(f"{value!r} is no {datatype.name}")
    return value & (1 << bits) - 1


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint_field(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _counted_field(number: int, content: bytes) -> bytes:
    return _key(number, _COUNTED) + _varint(len(content)) + content


def _text_field(number: int, text: str) -> bytes:
    return _counted_field(number, text.encode())


def _varint(value: int) -> bytes:
    """Return ``value`` in groups of 7 bits, the lowest first; all but the last have the highest bit of their byte."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _command(data: bytes) -> Command:
    name: str | None = None
    alias: int | None = None
    value: SparkplugValue | bytes | None = None
    for number, content in _fields(data):
        if number == 1 and isinstance(content, bytes):
            name = _text(content)
        elif number == 2 and isinstance(content, int):
            alias = content
        elif (read := _COMMAND_VALUES.get(number)) is not None:
            value = read(content)
    return Command(name, alias, value)


def _text(content: int | bytes) -> str:
    if isinstance(content, int):
        raise SparkplugPayloadError("a number stands where a text belongs")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SparkplugPayloadError("a text is not UTF-8") from error


def _number(content: int | bytes) -> int:
    if isinstance(content, bytes):
        raise SparkplugPayloadError("bytes stand where a number belongs")
    return content


def _floating(format_: str) -> Callable[[int | bytes], float]:
    def read(content: int | bytes) -> float:
        if isinstance(content, int) or len(content) != struct.calcsize(format_):
            raise SparkplugPayloadError("a floating-point number is not as long as its type")
        number: float = struct.unpack(format_, content)[0]
        return number

    return read


_COMMAND_VALUES: dict[int, Callable[[int | bytes], SparkplugValue]] = {
    _METRIC_VALUES: _number,
    _METRIC_VALUES + 1: _number,
    _METRIC_VALUES + 2: _floating("<f"),
    _METRIC_VALUES + 3: _floating("<d"),
    _METRIC_VALUES + 4: lambda content: bool(_number(content)),
    _METRIC_VALUES + 5: _text,
}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and content of every field: an integer, or the bytes of whatever else it is."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise SparkplugPayloadError("a field has the number 0")
        if wire_type == _VARINT:
            content, position = _read_varint(data, position)
            yield number, content
            continue
        if wire_type == _COUNTED:
            length, position = _read_varint(data, position)
        elif wire_type in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if wire_type == _EIGHT_BYTES else 4
        else:
            raise SparkplugPayloadError(f"field {number} is of the unknown wire type {wire_type}")
        if position + length > len(data):
            raise SparkplugPayloadError(f"field {number} is longer than the message")
        yield number, data[position : position + length]
        position += length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _MAXIMUM_VARINT_BYTES, 7):
        if position >= len(data):
            raise SparkplugPayloadError("the message ends within a number")
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise SparkplugPayloadError("a number has more than 64 bits")
