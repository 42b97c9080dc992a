"""What frames hold, by their descriptor: how many samples, and the newest value of each series.

Counting is arithmetic on requests and reads, so that a record costs the same however many samples it has. The decoding
of all samples is the business of ``evidence``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from evidence.columns import Request, request_of
from wire.descriptor import Descriptor, Series
from wire.frame import STATUS_OK, AnswerFrame, AnyFrame, NodeFrame
from wire.node import OPC_UNCERTAIN, NodeValue
from wire.values import value_in_answer, value_in_words, value_of_node


@dataclass(frozen=True, slots=True)
class Reading:
    """Newest reading of a series: ``value`` in ``unit``, None when nothing was read or the device says it is invalid.

    ``time_ms`` is the time of that reading; ``status`` is the outcome of the newest attempt (0 = read): the status byte
    of the frame, of an OPC UA node the upper 16 bits of the status code.
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
        self._series_in_registers = lru_cache(maxsize=4096)(self._find_in_registers)
        self._series_in_answer = lru_cache(maxsize=4096)(self._find_in_answer)
        self._series_in_node = lru_cache(maxsize=4096)(self._find_in_node)

    def samples(self, frames: Sequence[AnyFrame]) -> int:
        """Return the number of series values that ``frames`` read successfully."""
        return sum(n_ok * len(self._series_in(frame)) for frame in frames if (n_ok := frame.n_ok))

    def latest(self, frames: Sequence[AnyFrame]) -> list[Reading]:
        """Return the newest reading of every series in ``frames``."""
        newest: dict[str, Reading] = {}
        for frame in frames:
            series_in_frame = self._series_in(frame)
            if not series_in_frame:
                continue
            time_ms, status, value_of = _last_read(frame)
            prefix = f"{self.descriptor.gateway}/{self.descriptor.devices[frame.device].id}/"
            for series in series_in_frame:
                name = prefix + series.name
                if name in newest and newest[name].time_ms > time_ms:
                    continue
                newest[name] = Reading(name, time_ms, value_of(series), series.unit, status)
        return list(newest.values())

    def _series_in(self, frame: AnyFrame) -> tuple[Series, ...]:
        if isinstance(frame, AnswerFrame):
            return self._series_in_answer(frame.device, frame.request, frame.length)
        if isinstance(frame, NodeFrame):
            return self._series_in_node(frame.device, frame.node)
        return self._series_in_registers(frame.device, frame.unit, frame.function, frame.address, frame.count)

    def _find_in_registers(self, device: int, unit: int, function: int, address: int, count: int) -> tuple[Series, ...]:
        if device >= len(self.descriptor.devices) or self.descriptor.devices[device].unit != unit:
            return ()
        return tuple(one for one in self._series_of(device) if one.in_registers(function, address, count))

    def _find_in_answer(self, device: int, request: bytes, length: int) -> tuple[Series, ...]:
        return tuple(one for one in self._series_of(device) if one.in_answer(request, length))

    def _find_in_node(self, device: int, node: str) -> tuple[Series, ...]:
        return tuple(one for one in self._series_of(device) if one.in_node(node))

    def _series_of(self, device: int) -> tuple[Series, ...]:
        return self.descriptor.devices[device].series if device < len(self.descriptor.devices) else ()


class NewestReadings:
    """Finds the newest reading of every series in any number of frames; keeps one frame a request, not a sample.

    Where two readings of a series have the same time, the frame that was added later counts.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, int, Request], tuple[int, list[tuple[Interpreter, AnyFrame]]]] = {}

    def add(self, descriptor_hash: bytes, interpreter: Interpreter, frames: Iterable[AnyFrame]) -> None:
        """Look at ``frames``, which are to be read with ``interpreter``, that of the descriptor with this hash."""
        for frame in frames:
            request = (descriptor_hash, frame.device, request_of(frame))
            time_ms = _last_read_ms(frame)
            known = self._kept.get(request)
            if known is None or time_ms > known[0]:
                self._kept[request] = time_ms, [(interpreter, frame)]
            elif time_ms == known[0]:
                known[1].append((interpreter, frame))

    def readings(self) -> list[Reading]:
        """Return the newest reading of each series."""
        return [candidates[-1] for candidates in self.candidates().values()]

    def candidates(self) -> dict[str, list[Reading]]:
        """Return, by series, all readings that have the newest time; more than one only where a clock went back."""
        found: dict[str, list[Reading]] = {}
        for _, frames in self._kept.values():
            for interpreter, frame in frames:
                for reading in interpreter.latest([frame]):
                    known = found.get(reading.series)
                    if known is None or reading.time_ms > known[0].time_ms:
                        found[reading.series] = [reading]
                    elif reading.time_ms == known[0].time_ms:
                        known.append(reading)
        return found


ValueOf = Callable[[Series], float | int | None]


def _last_read_ms(frame: AnyFrame) -> int:
    """Return the time of the last good read, or of the last attempt when there was none."""
    if isinstance(frame, NodeFrame):
        return _last_sample(frame)[0]
    return frame.times_ms[frame.status.rfind(STATUS_OK)]


def _last_read(frame: AnyFrame) -> tuple[int, int, ValueOf]:
    """Return the time of the last good read, or of the last attempt when there was none, the outcome of the last
    attempt, and what gives the value of a series in that read."""
    if isinstance(frame, NodeFrame):
        return _last_sample(frame)
    good, status = frame.n_ok, frame.status[-1]
    if not good:
        return frame.times_ms[-1], status, _no_value
    time_ms = frame.times_ms[frame.status.rfind(STATUS_OK)]
    # The columns of a frame: the last good read stands at the end of each plane of bytes.
    if isinstance(frame, AnswerFrame):
        return time_ms, status, partial(_of_answer, frame.data[good - 1 :: good])
    words = struct.unpack(f">{frame.count}H", frame.words[good - 1 :: good])
    return time_ms, status, partial(_of_words, words, frame.address)


def _last_sample(frame: NodeFrame) -> tuple[int, int, ValueOf]:
    status = frame.status[-1]
    outcome = status >> 16 if status >= OPC_UNCERTAIN else STATUS_OK
    good = [sample for sample in frame.samples() if sample.status < OPC_UNCERTAIN and sample.value is not None]
    if not good:
        return frame.times_ms[-1], outcome, _no_value
    return good[-1].time_ms, outcome, partial(_of_node, good[-1].value)


def _no_value(_series: Series) -> None:
    return None


def _of_words(words: Sequence[int], address: int, series: Series) -> float | int | None:
    return value_in_words(series, words, address)


def _of_answer(data: bytes, series: Series) -> float | int | None:
    return value_in_answer(series, data)


def _of_node(value: NodeValue | None, series: Series) -> float | int | None:
    return value_of_node(series, value)
