"""Frames: the reads of one poll unit over time, as raw register words.

The words of all good reads are stored register by register, and for each register first the high bytes over time, then
the low bytes: neighbouring bytes then belong to the same digit of the same quantity, which is what makes an unchanged
value almost free after compression. Nothing is scaled, rounded or left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wire import schema
from wire.limits import MAXIMUM_DEVICES, MAXIMUM_REGISTERS, MAXIMUM_SAMPLES_A_FRAME, MAXIMUM_TIME_MS

STATUS_OK = 0
STATUS_TIMEOUT = 0xF0
STATUS_CONNECTION = 0xF1
STATUS_MALFORMED = 0xF2
_LOCAL_STATUSES = frozenset({STATUS_TIMEOUT, STATUS_CONNECTION, STATUS_MALFORMED})
_MAXIMUM_DELTA_MS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """Reads of one block of registers.

    ``device`` is an index into the descriptor's devices; ``unit``, ``function``, ``address`` and ``count`` are the
    request as it was sent. ``times_ms`` holds one time a read: the middle between request and response, milliseconds
    since the Unix epoch, UTC, never falling. ``status`` holds one byte a read: 0 good, 1..127 the exception code the
    device answered, 0xF0 time-out, 0xF1 no connection, 0xF2 malformed answer. ``words`` holds the registers of the
    good reads (see the module's text). ``round_trip_ms`` is the longest time a read took: half of it bounds the error
    of the sample times.
    """

    device: int
    unit: int
    function: int
    address: int
    count: int
    times_ms: tuple[int, ...]
    status: bytes
    words: bytes
    round_trip_ms: int

    @property
    def n(self) -> int:
        """Number of reads, good or not."""
        return len(self.times_ms)

    @property
    def n_ok(self) -> int:
        """Number of good reads."""
        return self.status.count(STATUS_OK)

    def samples(self) -> Iterator[tuple[int, int, tuple[int, ...] | None]]:
        """Yield ``(time_ms, status, words)`` of each read; ``words`` is ``None`` when the read failed."""
        good, row = self.n_ok, struct.Struct(f">{self.count}H")
        position = 0
        for time_ms, status in zip(self.times_ms, self.status, strict=True):
            if status == STATUS_OK:
                yield time_ms, status, row.unpack(self.words[position::good])
                position += 1
            else:
                yield time_ms, status, None


class FrameBuilder:
    """Collects reads of one block until a record is closed."""

    def __init__(self, device: int, unit: int, function: int, address: int, count: int) -> None:
        self.device = device
        self.unit = unit
        self.function = function
        self.address = address
        self.count = count
        self._row = struct.Struct(f">{count}H")
        self._clear()

    def _clear(self) -> None:
        self._times: list[int] = []
        self._status = bytearray()
        self._rows = bytearray()
        self._round_trip_ms = 0

    def __len__(self) -> int:
        return len(self._times)

    @property
    def full(self) -> bool:
        """Whether the frame has as many reads as a record accepts."""
        return len(self._times) >= MAXIMUM_SAMPLES_A_FRAME

    def add(self, time_ms: int, status: int, words: Sequence[int] | None, round_trip_ms: int) -> None:
        """Add one read. ``words`` are needed exactly when ``status`` is 0; times may not fall, nor jump by more than
        2^32 ms (a clock step starts a new frame: build this one first)."""
        if self._times and time_ms < self._times[-1]:
            raise ValueError("the times of a frame may not fall; build the frame before the clock is set back")
        if self._times and time_ms - self._times[-1] > _MAXIMUM_DELTA_MS:
            raise ValueError("two reads of a frame are at most 2^32 ms apart; build the frame when the clock is set")
        if (status == STATUS_OK) != (words is not None):
            raise ValueError("a good read has words, a failed one has none")
        if words is not None:
            self._rows += self._row.pack(*words)
        self._times.append(time_ms)
        self._status.append(status)
        self._round_trip_ms = max(self._round_trip_ms, round_trip_ms)

    def build(self) -> Frame:
        """Return the frame of the reads so far, and begin anew."""
        rows, width = bytes(self._rows), 2 * self.count
        frame = Frame(
            device=self.device,
            unit=self.unit,
            function=self.function,
            address=self.address,
            count=self.count,
            times_ms=tuple(self._times),
            status=bytes(self._status),
            words=b"".join(rows[column::width] for column in range(width)),
            round_trip_ms=self._round_trip_ms,
        )
        self._clear()
        return frame


def frame_to_cbor(frame: Frame) -> list[Any]:
    """Return the frame as the CDDL's ``frame`` array."""
    times = frame.times_ms
    deltas = [later - earlier for earlier, later in pairwise(times)]
    packed = struct.pack(f">{len(deltas)}I", *deltas)
    return [
        frame.device,
        [frame.unit, frame.function, frame.address, frame.count],
        times[0],
        b"".join(packed[plane::4] for plane in range(4)),
        None if frame.n_ok == frame.n else frame.status,
        frame.words,
        frame.round_trip_ms,
    ]


def frame_from_cbor(value: Any, where: str) -> Frame:
    """Read the CDDL's ``frame`` array; raise `RecordError` (``bad-payload`` or ``bad-time``) naming what is off."""
    device, request, start, deltas, status, words, round_trip = schema.array(value, where, length=7)
    unit, function, address, count = schema.array(request, f"{where}.request", length=4)
    schema.integer(address, f"{where}.address", 0, 65_535)
    schema.integer(count, f"{where}.count", 1, min(MAXIMUM_REGISTERS, 65_536 - address))
    times = _times(schema.time_ms(start, f"{where}.start"), schema.octets(deltas, f"{where}.deltas"), where)
    states = (
        bytes(len(times)) if status is None else _status(schema.octets(status, f"{where}.status"), len(times), where)
    )
    good = states.count(STATUS_OK)
    if status is not None and good == len(times):
        raise schema.fault(f"{where}.status", "must be null when every read is good")
    return Frame(
        device=schema.integer(device, f"{where}.device", 0, MAXIMUM_DEVICES - 1),
        unit=schema.integer(unit, f"{where}.unit", 0, 255),
        function=schema.integer(function, f"{where}.function", 1, 4),
        address=address,
        count=count,
        times_ms=times,
        status=states,
        words=schema.octets(words, f"{where}.words", 2 * count * good),
        round_trip_ms=schema.integer(round_trip, f"{where}.round_trip_ms", 0, _MAXIMUM_DELTA_MS),
    )


def _times(start: int, deltas: bytes, where: str) -> tuple[int, ...]:
    count, rest = divmod(len(deltas), 4)
    if rest or count >= MAXIMUM_SAMPLES_A_FRAME:
        raise schema.fault(f"{where}.deltas", f"has {len(deltas)} bytes: not whole 32-bit numbers, or too many")
    times = [start]
    rows = b"".join(deltas[position::count] for position in range(count))
    for delta in struct.unpack(f">{count}I", rows):
        times.append(times[-1] + delta)
    if times[-1] > MAXIMUM_TIME_MS:
        raise schema.fault(f"{where}.deltas", "lead beyond the year 9999")
    return tuple(times)


def _status(status: bytes, count: int, where: str) -> bytes:
    if len(status) != count:
        raise schema.fault(f"{where}.status", f"has {len(status)} entries for {count} reads")
    for entry in set(status):
        if entry > 127 and entry not in _LOCAL_STATUSES:
            raise schema.fault(f"{where}.status", f"has the unknown code 0x{entry:02X}")
    return status
