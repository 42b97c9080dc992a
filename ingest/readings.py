"""What frames hold, by their descriptor: how many samples, and the newest value of each series.

Counting is arithmetic on addresses and reads, so that a record costs the same however many samples it has. The decoding
of all samples is the business of ``evidence``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from wire.descriptor import Descriptor, Series
from wire.frame import STATUS_OK, Frame
from wire.words import decode_words


@dataclass(frozen=True, slots=True)
class Reading:
    """Newest reading of a series: ``value`` in ``unit``, None when nothing was read or the device says it is invalid.

    ``time_ms`` is the time of that reading; ``status`` is the outcome of the newest attempt (0 = read).
    """

    series: str
    time_ms: int
    value: float | int | None
    unit: str
    status: int


class Interpreter:
    """Applies one descriptor to frames; remembers which series lie in which block."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._series_in = lru_cache(maxsize=4096)(self._find_series)

    def samples(self, frames: Sequence[Frame]) -> int:
        """Return the number of series values that ``frames`` read successfully."""
        return sum(
            frame.n_ok * len(self._series_in(frame.device, frame.unit, frame.function, frame.address, frame.count))
            for frame in frames
            if frame.n_ok
        )

    def latest(self, frames: Sequence[Frame]) -> list[Reading]:
        """Return the newest reading of every series in ``frames``."""
        newest: dict[str, Reading] = {}
        for frame in frames:
            series_in_frame = self._series_in(frame.device, frame.unit, frame.function, frame.address, frame.count)
            if not series_in_frame:
                continue
            time_ms, words = _last_read(frame)
            status = frame.status[-1]
            prefix = f"{self.descriptor.gateway}/{self.descriptor.devices[frame.device].id}/"
            for series in series_in_frame:
                name = prefix + series.name
                if name in newest and newest[name].time_ms > time_ms:
                    continue
                value = None if words is None else _decode(series, words, frame.address)
                newest[name] = Reading(name, time_ms, value, series.unit, status)
        return list(newest.values())

    def _find_series(self, device: int, unit: int, function: int, address: int, count: int) -> tuple[Series, ...]:
        if device >= len(self.descriptor.devices) or self.descriptor.devices[device].unit != unit:
            return ()
        return tuple(
            series
            for series in self.descriptor.devices[device].series
            if series.function == function
            and address <= series.address
            and series.address + series.type.words <= address + count
        )


def _last_read(frame: Frame) -> tuple[int, Sequence[int] | None]:
    """Return time and words of the last successful read, or the time of the last attempt and None."""
    good = frame.n_ok
    if not good:
        return frame.times_ms[-1], None
    # The columns of a frame: the last good read stands at the end of each plane of bytes.
    words = struct.unpack(f">{frame.count}H", frame.words[good - 1 :: good])
    return frame.times_ms[frame.status.rfind(STATUS_OK)], words


def _decode(series: Series, words: Sequence[int], address: int) -> float | int | None:
    offset = series.address - address
    return decode_words(
        words[offset : offset + series.type.words],
        series.type,
        series.order,
        scale=series.scale,
        offset=series.offset,
        invalid=series.invalid,
    )
