"""Putting Arrow IPC streams of one schema together, without the Arrow library.

A stream is a sequence of encapsulated messages, the schema first, and an end mark (Arrow Columnar Format 1.5,
"IPC Streaming Format"). Dictionaries may be replaced in the middle of a stream, so that the messages of a second stream
can follow those of the first.
"""

from __future__ import annotations

import struct

_END = struct.pack("<II", 0xFFFFFFFF, 0)
_HEAD = struct.Struct("<II")


def schema_message(stream: bytes) -> bytes:
    """The first message of a stream, its schema. Raises ValueError when the bytes are no such stream."""
    if len(stream) < _HEAD.size:
        raise ValueError("the bytes are no Arrow stream")
    mark, size = _HEAD.unpack_from(stream)
    if mark != 0xFFFFFFFF or not 0 < size <= len(stream) - _HEAD.size:
        raise ValueError("the bytes are no Arrow stream")
    return stream[: _HEAD.size + size]


def batches(stream: bytes) -> bytes:
    """What stands between schema and end mark. Raises ValueError when the bytes are no whole stream."""
    schema = schema_message(stream)
    if not stream.endswith(_END):
        raise ValueError("the Arrow stream has no end")
    return stream[len(schema) : -len(_END)]


def end_mark() -> bytes:
    """What ends a stream."""
    return _END
