"""Frames: the reads of one poll unit over time, as they came. Nothing is scaled, rounded or left out.

There are three kinds: reads of registers here, answers of bytes in `wire.answer`, values of OPC UA nodes in
`wire.node`. The words of all good reads are stored register by register, and for each register first the high bytes
over time, then the low bytes (see `wire.sampling`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wire import schema
from wire.answer import ANSWER, AnswerFrame, AnswerFrameBuilder, answer_frame_from_cbor, answer_frame_to_cbor
from wire.limits import MAXIMUM_DEVICES, MAXIMUM_REGISTERS, MAXIMUM_SAMPLES_A_FRAME
from wire.node import NODE, NodeFrame, NodeFrameBuilder, NodeSample, Variant, node_frame_from_cbor, node_frame_to_cbor
from wire.sampling import (
    MAXIMUM_DELTA_MS,
    STATUS_CONNECTION,
    STATUS_MALFORMED,
    STATUS_OK,
    STATUS_TIMEOUT,
    columns,
    deltas,
    outcomes,
    refuse_steps,
    times,
)

__all__ = [
    "STATUS_CONNECTION",
    "STATUS_MALFORMED",
    "STATUS_OK",
    "STATUS_TIMEOUT",
    "AnswerFrame",
    "AnswerFrameBuilder",
    "AnyFrame",
    "Frame",
    "FrameBuilder",
    "NodeFrame",
    "NodeFrameBuilder",
    "NodeSample",
    "Variant",
    "frame_from_cbor",
    "frame_to_cbor",
]


@dataclass(frozen=True, slots=True)
class Frame:
    """Reads of one block of registers.

    ``device`` is an index into the descriptor's devices; ``unit``, ``function``, ``address`` and ``count`` are the
    request as it was sent; a coil or discrete input (functions 1 and 2) is a word of 0 or 1. ``times_ms`` holds one
    time a read: the middle between request and response, milliseconds since the Unix epoch, UTC, never falling.
    ``status`` holds one byte a read: 0 good, 1..127 the exception code the device answered, 0xF0 time-out, 0xF1 no
    connection, 0xF2 malformed answer. ``words`` holds the registers of the good reads (see the module's text).
    ``round_trip_ms`` is the longest time a read took: half of it bounds the error of the sample times.
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

    @property
    def size(self) -> int:
        """Bytes that the words take before compression."""
        return len(self.words)

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


AnyFrame = Frame | AnswerFrame | NodeFrame


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
        """Add one read. ``words`` are needed exactly when ``status`` is 0; times may not fall, nor jump by
        more than 2^32 ms (a clock step starts a new frame: build this one first)."""
        refuse_steps(self._times, time_ms)
        if (status == STATUS_OK) != (words is not None):
            raise ValueError("a good read has words, a failed one has none")
        if words is not None:
            self._rows += self._row.pack(*words)
        self._times.append(time_ms)
        self._status.append(status)
        self._round_trip_ms = max(self._round_trip_ms, round_trip_ms)

    def build(self) -> Frame:
        """Return the frame of the reads so far, and begin anew."""
        frame = Frame(
            device=self.device,
            unit=self.unit,
            function=self.function,
            address=self.address,
            count=self.count,
            times_ms=tuple(self._times),
            status=bytes(self._status),
            words=columns(bytes(self._rows), 2 * self.count),
            round_trip_ms=self._round_trip_ms,
        )
        self._clear()
        return frame


def frame_to_cbor(frame: AnyFrame) -> list[Any]:
    """Return the frame as the CDDL's ``frame`` array, in the form of its kind."""
    if isinstance(frame, AnswerFrame):
        return answer_frame_to_cbor(frame)
    if isinstance(frame, NodeFrame):
        return node_frame_to_cbor(frame)
    return [
        frame.device,
        [frame.unit, frame.function, frame.address, frame.count],
        frame.times_ms[0],
        deltas(frame.times_ms),
        None if frame.n_ok == frame.n else frame.status,
        frame.words,
        frame.round_trip_ms,
    ]


def frame_from_cbor(value: Any, where: str) -> AnyFrame:
    """Read the CDDL's ``frame`` array; raise `RecordError` (``bad-payload`` or ``bad-time``) naming what is off."""
    kind = schema.array(value, where)[:1]
    if kind == [ANSWER]:
        return answer_frame_from_cbor(value, where)
    if kind == [NODE]:
        return node_frame_from_cbor(value, where)
    return _register_frame_from_cbor(value, where)


def _register_frame_from_cbor(value: Any, where: str) -> Frame:
    device, request, start, steps, status, words, round_trip = schema.array(value, where, length=7)
    unit, function, address, count = schema.array(request, f"{where}.request", length=4)
    schema.integer(address, f"{where}.address", 0, 65_535)
    schema.integer(count, f"{where}.count", 1, min(MAXIMUM_REGISTERS, 65_536 - address))
    sample_times = times(start, steps, where)
    states = outcomes(status, len(sample_times), where)
    return Frame(
        device=schema.integer(device, f"{where}.device", 0, MAXIMUM_DEVICES - 1),
        unit=schema.integer(unit, f"{where}.unit", 0, 255),
        function=schema.integer(function, f"{where}.function", 1, 4),
        address=address,
        count=count,
        times_ms=sample_times,
        status=states,
        words=schema.octets(words, f"{where}.words", 2 * count * states.count(STATUS_OK)),
        round_trip_ms=schema.integer(round_trip, f"{where}.round_trip_ms", 0, MAXIMUM_DELTA_MS),
    )
