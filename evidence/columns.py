"""Frames decoded by column: the vectorised twin of ``wire.words``, proven equal to it by property tests.

A frame stores its registers as planes of high and low bytes over time, so that a series is decoded for all reads of a
frame, or of thousands of frames of the same request, in a handful of array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from evidence.errors import ColumnsError
from wire.descriptor import Series
from wire.record import STATUS_OK, Frame
from wire.words import WordType

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BIG_ENDIAN = {
    WordType.UINT16: ">u2",
    WordType.INT16: ">i2",
    WordType.UINT32: ">u4",
    WordType.INT32: ">i4",
    WordType.UINT64: ">u8",
    WordType.INT64: ">i8",
    WordType.FLOAT32: ">f4",
    WordType.FLOAT64: ">f8",
}


@dataclass(frozen=True)
class Block:
    """The good reads of one or more frames of the same request.

    ``time_ms``: int64, one entry a good read, milliseconds since the epoch, in the order of the frames. ``planes``:
    uint8, ``2 * count`` rows (high and low byte of each register) of one column a good read.
    """

    function: int
    address: int
    count: int
    time_ms: IntArray
    planes: npt.NDArray[np.uint8]

    def holds(self, series: Series) -> bool:
        """Whether the request covers all registers of ``series``."""
        last = series.address + series.type.words
        return self.function == series.function and self.address <= series.address and last <= self.address + self.count


def stack(frames: Sequence[Frame]) -> Block:
    """Put the good reads of frames of one request (same function, address and count) side by side."""
    request = frames[0]
    planes = [
        np.frombuffer(frame.words, dtype=np.uint8).reshape(2 * frame.count, -1) for frame in frames if frame.words
    ]
    times = np.fromiter(chain.from_iterable(frame.times_ms for frame in frames), dtype=np.int64)
    status = np.frombuffer(b"".join(frame.status for frame in frames), dtype=np.uint8)
    return Block(
        function=request.function,
        address=request.address,
        count=request.count,
        time_ms=times[status == STATUS_OK],
        planes=np.concatenate(planes, axis=1) if planes else np.zeros((2 * request.count, 0), dtype=np.uint8),
    )


def decode_raw(block: Block, series: Series) -> FloatArray:
    """Unscaled values of ``series``, one a good read; NaN for an invalid pattern or a float that is not finite.

    Integers up to 2**53 are exact. Raises `ColumnsError` when the block does not hold the registers of the series.
    """
    if not block.holds(series):
        raise ColumnsError(
            f"series {series.name} (function {series.function}, registers {series.address} to "
            f"{series.address + series.type.words - 1}) is not in a read of function {block.function}, registers "
            f"{block.address} to {block.address + block.count - 1}; choose the frame that covers it"
        )
    words = series.type.words
    first = 2 * (series.address - block.address)
    registers = block.planes[first : first + 2 * words].reshape(words, 2, -1)
    if series.order.low_word_first:
        registers = registers[::-1]
    if series.order.bytes_swapped:
        registers = registers[:, ::-1]
    octets = np.ascontiguousarray(registers.reshape(2 * words, -1).T)
    raw_type = np.dtype(_BIG_ENDIAN[series.type])
    # a signalling NaN is allowed to stand in a register; converting it must not warn
    with np.errstate(invalid="ignore"):
        raw = octets.view(raw_type).reshape(-1).astype(np.float64)
    patterns = [pattern for pattern in series.invalid if pattern < 1 << series.type.bits]
    if patterns:
        unsigned = octets.view(f">u{2 * words}").reshape(-1)
        raw[np.isin(unsigned, np.array(patterns, dtype=np.uint64))] = np.nan
    if series.type.is_float:
        raw[~np.isfinite(raw)] = np.nan
    return raw


def scale_values(raw: FloatArray, series: Series) -> FloatArray:
    """``raw * scale + offset`` in the unit of ``series``; NaN where that is not finite."""
    if series.scale == 1.0 and series.offset == 0.0:
        return raw
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw * series.scale + series.offset
    values[~np.isfinite(values)] = np.nan
    return values


def decode_frame(frame: Frame, series: Series) -> tuple[IntArray, FloatArray]:
    """Times (int64, ms since the epoch) and values (float64, unit of the series) of all reads of one frame.

    A failed read and an invalid value are NaN. Raises `ColumnsError` when the frame does not hold the series.
    """
    values = np.full(frame.n, np.nan)
    good = np.frombuffer(frame.status, dtype=np.uint8) == STATUS_OK
    values[good] = scale_values(decode_raw(stack([frame]), series), series)
    return np.array(frame.times_ms, dtype=np.int64), values
