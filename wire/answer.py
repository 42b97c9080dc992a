"""Answer frames: what a device answered to one request over time, where answers are fields of bytes, not registers.

DL/T 645 and CJ/T 188 are of this kind: a request names a datum, the answer is its bytes. Nothing is taken apart here;
the descriptor's series say which bytes of which answer mean what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wire import schema
from wire.limits import MAXIMUM_ANSWER_BYTES, MAXIMUM_DEVICES, MAXIMUM_REQUEST_BYTES, MAXIMUM_SAMPLES_A_FRAME
from wire.sampling import MAXIMUM_DELTA_MS, STATUS_OK, columns, deltas, outcomes, refuse_steps, times

ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """Answers of one device to one request.

    ``device`` is an index into the descriptor's devices; ``request`` what was asked, without address and checksum (the
    control code and the data identifier as they travel, before anything is added to them on the wire). ``times_ms`` and
    ``status`` as in `wire.frame.Frame`; 1..127 is the error code that the device answered. ``length`` is that of one
    answer in bytes, 0 when every read failed; ``data`` holds the good answers byte by byte over time.
    ``round_trip_ms`` is the longest time a read took.
    """

    device: int
    request: bytes
    times_ms: tuple[int, ...]
    status: bytes
    length: int
    data: bytes
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
        """Bytes that the answers take before compression."""
        return len(self.data)

    def samples(self) -> Iterator[tuple[int, int, bytes | None]]:
        """Yield ``(time_ms, status, data)`` of each read; ``data`` is ``None`` when the read failed."""
        good, position = self.n_ok, 0
        for time_ms, status in zip(self.times_ms, self.status, strict=True):
            if status == STATUS_OK:
                yield time_ms, status, self.data[position::good]
                position += 1
            else:
                yield time_ms, status, None


def request_of_entry(request: bytes, entry_byte: int, entry: int) -> bytes:
    """Return what entry number ``entry`` of stored readings is asked for by, ``request`` being that of entry 1.

    The byte at ``entry_byte`` counts the entries; it may not come to more than 255.
    """
    return bytes([*request[:entry_byte], request[entry_byte] + entry - 1, *request[entry_byte + 1 :]])


class AnswerFrameBuilder:
    """Collects answers to one request until a record is closed."""

    def __init__(self, device: int, request: bytes) -> None:
        self.device = device
        self.request = request
        self._clear()

    def _clear(self) -> None:
        self._times: list[int] = []
        self._status = bytearray()
        self._length = 0
        self._rows = bytearray()
        self._round_trip_ms = 0

    def __len__(self) -> int:
        return len(self._times)

    @property
    def full(self) -> bool:
        """Whether the frame has as many reads as a record accepts."""
        return len(self._times) >= MAXIMUM_SAMPLES_A_FRAME

    def add(self, time_ms: int, status: int, data: bytes | None, round_trip_ms: int) -> None:
        """Add one read. ``data`` is needed exactly when ``status`` is 0.

        Raises `ValueError` when the time falls or an answer is of another length than those before: build this frame
        first and begin anew.
        """
        refuse_steps(self._times, time_ms)
        if (status == STATUS_OK) != (data is not None):
            raise ValueError("a good read has data, a failed one has none")
        if data is not None:
            if not 0 < len(data) <= MAXIMUM_ANSWER_BYTES:
                raise ValueError(f"an answer has 1 to {MAXIMUM_ANSWER_BYTES} bytes, this one {len(data)}")
            if self._length not in (0, len(data)):
                raise ValueError(f"the answers of a frame are of one length: {self._length}, this one {len(data)}")
            self._length = len(data)
            self._rows += data
        self._times.append(time_ms)
        self._status.append(status)
        self._round_trip_ms = max(self._round_trip_ms, round_trip_ms)

    def build(self) -> AnswerFrame:
        """Return the frame of the answers so far, and begin anew."""
        frame = AnswerFrame(
            device=self.device,
            request=self.request,
            times_ms=tuple(self._times),
            status=bytes(self._status),
            length=self._length,
            data=columns(bytes(self._rows), self._length),
            round_trip_ms=self._round_trip_ms,
        )
        self._clear()
        return frame


def answer_frame_to_cbor(frame: AnswerFrame) -> list[Any]:
    """Return the frame as the CDDL's ``answer-frame`` array."""
    return [
        ANSWER,
        frame.device,
        frame.request,
        frame.times_ms[0],
        deltas(frame.times_ms),
        None if frame.n_ok == frame.n else frame.status,
        frame.length,
        frame.data,
        frame.round_trip_ms,
    ]


def answer_frame_from_cbor(value: Any, where: str) -> AnswerFrame:
    """Read the CDDL's ``answer-frame`` array; raise `RecordError` naming what is off."""
    _, device, request, start, steps, status, length, data, round_trip = schema.array(value, where, length=9)
    sample_times = times(start, steps, where)
    states = outcomes(status, len(sample_times), where)
    good = states.count(STATUS_OK)
    schema.integer(length, f"{where}.length", 1 if good else 0, MAXIMUM_ANSWER_BYTES if good else 0)
    asked = schema.octets(request, f"{where}.request")
    if not 0 < len(asked) <= MAXIMUM_REQUEST_BYTES:
        raise schema.fault(f"{where}.request", f"has {len(asked)} bytes, 1 to {MAXIMUM_REQUEST_BYTES} are accepted")
    return AnswerFrame(
        device=schema.integer(device, f"{where}.device", 0, MAXIMUM_DEVICES - 1),
        request=asked,
        times_ms=sample_times,
        status=states,
        length=length,
        data=schema.octets(data, f"{where}.data", length * good),
        round_trip_ms=schema.integer(round_trip, f"{where}.round_trip_ms", 0, MAXIMUM_DELTA_MS),
    )
