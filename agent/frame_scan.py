"""Finds frames in bytes that come in any portions, with noise before, between and inside them.

DL/T 645-2007 and CJ/T 188-2004 frames begin with 68H and say their length; nothing keeps 68H out of noise, of addresses
or of data. So every 68H is a candidate: what turns out not to be a frame costs that one byte, and the search goes on
right behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from agent.errors import FrameError

START = 0x68
"""The byte a frame begins with."""

END = 0x16
"""The byte a frame ends with."""

PREAMBLE = 0xFE
"""Bytes sent ahead of a frame to wake the receiver; none to four and more of them are seen."""

F = TypeVar("F")


class FrameScanner(Generic[F]):
    """Takes the bytes of one receiver and gives the frames in them.

    ``parse`` gets bytes that begin with 68H. It returns the frame and its length, ``None`` while more bytes are needed
    to tell, and raises `FrameError` for what cannot be a frame.
    """

    def __init__(self, parse: Callable[[bytes], tuple[F, int] | None]) -> None:
        self._parse = parse
        self._buffer = bytearray()
        self._noise = False

    @property
    def noisy(self) -> bool:
        """Whether bytes came since `clear` that belong to no frame, as far as is known."""
        return self._noise or bool(self._buffer)

    def clear(self) -> None:
        """Forget everything received so far."""
        self._buffer.clear()
        self._noise = False

    def feed(self, data: bytes) -> list[F]:
        """Take ``data`` and return the frames that are complete now."""
        self._buffer += data
        return self._scan()

    def pause(self) -> list[F]:
        """Note that the line has been silent for longer than a frame may pause: an unfinished frame will never end.

        Returns the frames that began inside of it.
        """
        frames: list[F] = []
        while self._buffer:
            self._drop(1)
            frames += self._scan()
        return frames

    def _scan(self) -> list[F]:
        frames: list[F] = []
        while (start := self._buffer.find(START)) >= 0:
            self._drop(start)
            try:
                parsed = self._parse(bytes(self._buffer))
            except FrameError:
                self._drop(1)
                continue
            if parsed is None:
                return frames
            frame, length = parsed
            frames.append(frame)
            del self._buffer[:length]
        self._drop(len(self._buffer))
        return frames

    def _drop(self, count: int) -> None:
        self._noise = self._noise or any(octet != PREAMBLE for octet in self._buffer[:count])
        del self._buffer[:count]


def checksum(data: bytes) -> int:
    """Return the sum of ``data`` modulo 256, as both standards want it from 68H to the end of the data field."""
    return sum(data) & 0xFF


def check_trailer(frame: bytes) -> None:
    """Raise `FrameError` unless ``frame`` ends with the sum of what stands before it, and 16H."""
    if frame[-1] != END:
        raise FrameError(f"the frame ends with {frame[-1]:02X}H, not with {END:02X}H")
    if frame[-2] != checksum(frame[:-2]):
        raise FrameError(f"the checksum is {frame[-2]:02X}H, the bytes before it sum up to {checksum(frame[:-2]):02X}H")
