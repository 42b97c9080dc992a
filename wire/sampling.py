"""What all frames have in common: sample times as deltas, outcomes of reads, columns of bytes over time.

Rows are stored column by column, each column one byte wide: neighbouring bytes then belong to the same digit of the
same quantity, which is what makes an unchanged value almost free after compression.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from wire import schema
from wire.limits import MAXIMUM_SAMPLES_A_FRAME, MAXIMUM_TIME_MS

STATUS_OK = 0
STATUS_TIMEOUT = 0xF0
STATUS_CONNECTION = 0xF1
STATUS_MALFORMED = 0xF2
LOCAL_STATUSES = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, STATUS_MALFORMED})
MAXIMUM_DELTA_MS = 2**32 - 1


def columns(rows: bytes, width: int) -> bytes:
    """Return rows of ``width`` bytes column by column."""
    return b"".join(rows[column::width] for column in range(width))


def rows(columns: bytes, count: int) -> bytes:
    """Return the ``count`` rows that `columns` took apart, one behind the other."""
    width = len(columns) // count if count else 0
    result = bytearray(width * count)
    for column in range(width):
        result[column::width] = columns[column * count : (column + 1) * count]
    return bytes(result)


def deltas(times_ms: Sequence[int]) -> bytes:
    """Return what stands between ``times_ms`` as the CDDL's ``deltas``."""
    steps = [later - earlier for earlier, later in pairwise(times_ms)]
    return columns(struct.pack(f">{len(steps)}I", *steps), 4)


def times(start: Any, packed: Any, where: str) -> tuple[int, ...]:
    """Read ``start`` and ``deltas`` of the CDDL; raise `RecordError` naming what is off."""
    first, steps = schema.time_ms(start, f"{where}.start"), schema.octets(packed, f"{where}.deltas")
    count, rest = divmod(len(steps), 4)
    if rest or count >= MAXIMUM_SAMPLES_A_FRAME:
        raise schema.fault(f"{where}.deltas", f"has {len(steps)} bytes: not whole 32-bit numbers, or too many")
    result = tuple(accumulate(struct.unpack(f">{count}I", rows(steps, count)), initial=first))
    if result[-1] > MAXIMUM_TIME_MS:
        raise schema.fault(f"{where}.deltas", "lead beyond the year 9999")
    return result


def outcomes(status: Any, count: int, where: str) -> bytes:
    """Read the ``status`` of ``count`` reads, one byte each, all good where it is null; raise `RecordError`."""
    if status is None:
        return bytes(count)
    entries = schema.octets(status, f"{where}.status")
    if len(entries) != count:
        raise schema.fault(f"{where}.status", f"has {len(entries)} entries for {count} reads")
    for entry in set(entries):
        if entry > 127 and entry not in LOCAL_STATUSES:
            raise schema.fault(f"{where}.status", f"has the unknown code 0x{entry:02X}")
    if not any(entries):
        raise schema.fault(f"{where}.status", "must be null when every read is good")
    return entries


def refuse_steps(times_ms: Sequence[int], time_ms: int) -> None:
    """Raise `ValueError` when ``time_ms`` cannot follow the last of ``times_ms``: a clock step starts a new frame."""
    if times_ms and time_ms < times_ms[-1]:
        raise ValueError("the times of a frame may not fall; build the frame before the clock is set back")
    if times_ms and time_ms - times_ms[-1] > MAXIMUM_DELTA_MS:
        raise ValueError("two reads of a frame are at most 2^32 ms apart; build the frame when the clock is set")
