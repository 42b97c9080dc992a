"""Frames decoded by column: the vectorised twin of ``wire.words``, proven equal to it by property tests.

A frame stores its registers, or the bytes of its answers, as planes of bytes over time, so that a series is decoded for
all reads of a frame, or of thousands of frames of the same request, in a handful of array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evidence.errors import ColumnsError
from wire.descriptor import AnswerPlace, Series
from wire.node import OPC_BAD, OPC_UNCERTAIN, Variant
from wire.record import STATUS_OK, AnswerFrame, AnyFrame, Frame, NodeFrame
from wire.words import WordType

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]
StatusArray = npt.NDArray[np.uint32]

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


class Block(Protocol):
    """The good reads of one or more frames of the same request.

    ``time_ms``: int64, one entry a good read, milliseconds since the epoch, in the order of the frames.
    """

    @property
    def time_ms(self) -> IntArray: ...

    def holds(self, series: Series) -> bool:
        """Whether the reads hold all of ``series``."""
        ...

    def raw(self, series: Series) -> FloatArray:
        """Unscaled values of a series that `holds` is true for, one a read; NaN where there is none."""
        ...


@dataclass(frozen=True)
class RegisterBlock:
    """Reads of registers.

    ``planes``: uint8, ``2 * count`` rows (high and low byte of each register) of one column a good read.
    """

    function: int
    address: int
    count: int
    time_ms: IntArray
    planes: ByteArray

    def __str__(self) -> str:
        return f"a read of function {self.function}, registers {self.address} to {self.address + self.count - 1}"

    def holds(self, series: Series) -> bool:
        """Whether the request covers all registers of ``series``."""
        return series.in_registers(self.function, self.address, self.count)

    def raw(self, series: Series) -> FloatArray:
        """Unscaled values of ``series``."""
        words, first = series.words, 2 * (series.address - self.address)
        registers = self.planes[first : first + 2 * words].reshape(words, 2, -1)
        if series.order.low_word_first:
            registers = registers[::-1]
        if series.order.bytes_swapped:
            registers = registers[:, ::-1]
        return _numbers(registers.reshape(2 * words, -1), series)


@dataclass(frozen=True)
class AnswerBlock:
    """Answers of ``length`` bytes. ``planes``: uint8, ``length`` rows of one column a good answer."""

    request: bytes
    length: int
    time_ms: IntArray
    planes: ByteArray

    def __str__(self) -> str:
        return f"an answer of {self.length} bytes to {self.request.hex()}"

    def holds(self, series: Series) -> bool:
        """Whether the answer is to the request of ``series`` and long enough for it."""
        return series.in_answer(self.request, self.length)

    def raw(self, series: Series) -> FloatArray:
        """Unscaled values of ``series``."""
        if not isinstance(series.place, AnswerPlace):
            raise ColumnsError(f"series {series.name} does not stand in an answer")
        if self.length == 0:
            return np.zeros(0)
        field = self.planes[series.place.start : series.place.start + series.place.length]
        return _numbers(field[::-1] if series.order.bytes_swapped else field, series)


@dataclass(frozen=True)
class NodeBlock:
    """Values of one OPC UA node that its server calls good: float64, NaN for texts and what is not finite."""

    node: str
    time_ms: IntArray
    values: FloatArray

    def __str__(self) -> str:
        return f"a frame of node {self.node}"

    def holds(self, series: Series) -> bool:
        """Whether the node is that of ``series``."""
        return series.in_node(self.node)

    def raw(self, series: Series) -> FloatArray:  # noqa: ARG002 - a node holds one series
        """Unscaled values of ``series``."""
        return self.values


Request = tuple[str | int | bytes, ...]


def request_of(frame: AnyFrame) -> Request:
    """What makes frames of one device belong together: `stack` takes those of one request."""
    if isinstance(frame, AnswerFrame):
        return ("answer", frame.request, frame.length)
    if isinstance(frame, NodeFrame):
        return ("node", frame.node)
    return (frame.function, frame.address, frame.count)


def stack(frames: Sequence[AnyFrame]) -> Block:
    """Put the good reads of frames of one request (see `request_of`) side by side."""
    first = frames[0]
    if isinstance(first, NodeFrame):
        return _stack_nodes(first.node, [frame for frame in frames if isinstance(frame, NodeFrame)])
    if isinstance(first, AnswerFrame):
        answers = [frame for frame in frames if isinstance(frame, AnswerFrame)]
        data = [frame.data for frame in answers]
        return AnswerBlock(first.request, first.length, _good_times(answers), _planes(data, first.length))
    reads = [frame for frame in frames if isinstance(frame, Frame)]
    planes = _planes([frame.words for frame in reads], 2 * first.count)
    return RegisterBlock(first.function, first.address, first.count, _good_times(reads), planes)


def decode_raw(block: Block, series: Series) -> FloatArray:
    """Unscaled values of ``series``, one a good read; NaN for an invalid pattern, a float that is not finite, digits
    above 9 and texts.

    Integers up to 2**53 are exact. Raises `ColumnsError` when the block does not hold the series.
    """
    if not block.holds(series):
        where = f"{series.place}" if series.place else _registers(series)
        raise ColumnsError(f"series {series.name} ({where}) is not in {block}; choose the frame that covers it")
    return block.raw(series)


def scale_values(raw: FloatArray, series: Series) -> FloatArray:
    """``raw * scale + offset`` in the unit of ``series``; NaN where that is not finite."""
    if series.scale == 1.0 and series.offset == 0.0:
        return raw
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw * series.scale + series.offset
    values[~np.isfinite(values)] = np.nan
    return values


def decode_frame(frame: AnyFrame, series: Series) -> tuple[IntArray, FloatArray]:
    """Times (int64, ms since the epoch) and values (float64, unit of the series) of all reads of one frame.

    A failed read and an invalid value are NaN. Raises `ColumnsError` when the frame does not hold the series.
    """
    times, values, _ = decode_reads([frame], series)
    return times, values


def decode_reads(frames: Sequence[AnyFrame], series: Series) -> tuple[IntArray, FloatArray, StatusArray]:
    """As `decode_frame`, of all reads of frames of one request (see `request_of`), and the status of each read.

    Statuses (uint32) are as the frames hold them: status bytes, or the status codes of an OPC UA node; 0 is good.
    """
    status = np.concatenate([_statuses(frame) for frame in frames])
    good = np.concatenate([_are_good(frame, _statuses(frame)) for frame in frames])
    times: IntArray = np.fromiter(chain.from_iterable(frame.times_ms for frame in frames), dtype=np.int64)
    values = np.full(status.size, np.nan)
    values[good] = scale_values(decode_raw(stack(frames), series), series)
    return times, values, status


def _statuses(frame: AnyFrame) -> StatusArray:
    if isinstance(frame, NodeFrame):
        return np.array(frame.status, dtype=np.uint32)
    return np.frombuffer(frame.status, dtype=np.uint8).astype(np.uint32)


def _are_good(frame: AnyFrame, status: StatusArray) -> npt.NDArray[np.bool_]:
    if isinstance(frame, NodeFrame):
        good: npt.NDArray[np.bool_] = (status < OPC_UNCERTAIN) & (frame.variant is not Variant.NULL)
        return good
    return np.equal(status, STATUS_OK)


def _registers(series: Series) -> str:
    return f"function {series.function}, registers {series.address} to {series.address + series.words - 1}"


def _good_times(frames: Sequence[Frame] | Sequence[AnswerFrame]) -> IntArray:
    times: IntArray = np.fromiter(chain.from_iterable(frame.times_ms for frame in frames), dtype=np.int64)
    status = np.frombuffer(b"".join(frame.status for frame in frames), dtype=np.uint8)
    good: IntArray = times[status == STATUS_OK]
    return good


def _planes(data: Sequence[bytes], rows: int) -> ByteArray:
    planes = [np.frombuffer(octets, dtype=np.uint8).reshape(rows, -1) for octets in data if octets]
    return np.concatenate(planes, axis=1) if planes else np.zeros((rows, 0), dtype=np.uint8)


def _stack_nodes(node: str, frames: Sequence[NodeFrame]) -> NodeBlock:
    times, values = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for frame in frames:
        status = np.array(frame.status, dtype=np.uint32)
        if frame.variant is Variant.NULL:
            continue
        good = status < OPC_UNCERTAIN
        times.append(np.array(frame.times_ms, dtype=np.int64)[good])
        if not isinstance(frame.values, bytes):
            values.append(np.full(int(good.sum()), np.nan))
            continue
        octets = np.frombuffer(frame.values, dtype=np.uint8).reshape(frame.variant.width, -1)
        raw_type = np.dtype(frame.variant.format).newbyteorder(">")
        with np.errstate(invalid="ignore"):
            numbers = np.ascontiguousarray(octets.T).view(raw_type).reshape(-1).astype(np.float64)
        numbers[~np.isfinite(numbers)] = np.nan
        values.append(numbers[good[status < OPC_BAD]])
    return NodeBlock(node, np.concatenate(times), np.concatenate(values))


def _numbers(octets: ByteArray, series: Series) -> FloatArray:
    """The numbers in rows of bytes, the most significant first, of one column a read."""
    type_ = series.type
    raw: FloatArray
    if type_ is WordType.STRING:
        return np.full(octets.shape[1], np.nan)
    if type_ is WordType.BIT:
        row = octets[octets.shape[0] - 1 - series.bit // 8]
        raw = (row >> np.uint8(series.bit % 8) & 1).astype(np.float64)
    elif type_.is_decimal:
        raw = _decimals(octets, signed=type_ is WordType.SIGNED_BCD)
    else:
        raw_type = np.dtype(_BIG_ENDIAN[type_])
        # a signalling NaN is allowed to stand in a register; converting it must not warn
        with np.errstate(invalid="ignore"):
            raw = np.ascontiguousarray(octets.T).view(raw_type).reshape(-1).astype(np.float64)
        if type_.is_float:
            raw[~np.isfinite(raw)] = np.nan
    patterns = [pattern for pattern in series.invalid if pattern < 1 << 8 * octets.shape[0]]
    if patterns:
        raw[np.isin(_unsigned(octets), np.array(patterns, dtype=np.uint64))] = np.nan
    return raw


def _unsigned(octets: ByteArray) -> npt.NDArray[np.uint64]:
    """Up to eight rows of bytes joined to one unsigned number a column."""
    total = np.zeros(octets.shape[1], dtype=np.uint64)
    for row in octets:
        total = total << np.uint64(8) | row
    return total


def _decimals(octets: ByteArray, *, signed: bool) -> FloatArray:
    """Packed decimal digits as numbers; NaN where a digit is above 9."""
    digits = np.empty((2 * octets.shape[0], octets.shape[1]), dtype=np.uint8)
    digits[0::2], digits[1::2] = octets >> 4, octets & 0x0F
    negative = digits[0] >= 8 if signed else np.zeros(octets.shape[1], dtype=bool)
    if signed:
        digits[0] &= 7
    total = np.zeros(octets.shape[1], dtype=np.uint64)
    for row in digits:
        total = total * np.uint64(10) + row
    numbers = total.astype(np.float64)
    numbers[negative] *= -1.0
    numbers[(digits > 9).any(axis=0)] = np.nan
    return numbers
