"""Records of samples read as tables of bytes: the vectorised twin of `wire.record.open_record`.

A gateway makes thousands of records that differ in nothing but their numbers: the same requests, the same lengths, the
same clock state. Of such records one is opened and tells where everything stands; in all others the bytes that say what
stands where must be the very same, and only then are numbers taken from them, as columns. A record that is not like one
opened before is left to `open_record`. So nothing is accepted here that `open_record` refuses, and nothing is read
differently: property tests hold the two against each other.

Nothing is verified here: see `evidence.record_block`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evidence.columns import Block, ByteArray, IntArray, RegisterBlock, stack
from evidence.errors import ColumnsError
from wire import cose
from wire.errors import RecordError
from wire.frame import AnyFrame, Frame
from wire.limits import MAXIMUM_RECORD_BYTES, MAXIMUM_TIME_MS
from wire.record import HASH_LENGTH, Kind, Payload, inflate, open_record

FORMS_OF_A_LENGTH = 32
"""So many forms of payloads of one length are remembered; a gateway has some dozens in all, most of them by how many
bytes the numbers take that say how long answers took."""

KEPT_LENGTHS = 256
KEPT_PREFIXES = 64

LEAST_ROWS = 8
"""Fewer records of one form are opened one by one: finding out where everything stands costs as much."""

_SIGNATURE_HEAD = b"\x58\x40"
_SIGNATURE_BYTES = 66
_EMPTY_MAP = b"\xa0"
_LENGTH_BYTES = {b"\x58": 1, b"\x59": 2, b"\x5a": 4}
_CLOCK_LIMIT = 2**62 - 1
_SMALLEST = {0: 0, 1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}
_UNSIGNED = {1: ">u1", 2: ">u2", 4: ">u4", 8: ">u8"}
_BODY = 8

_Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class FrameTable:
    """The frame that records of one form have at one place: reads of one block of registers, all of them good.

    ``frame`` is that of one of the records: it has the request in common with all; ``place`` is its number among the
    frames of its record. Of R records, in order, with n reads each: ``seq`` (int64, R), ``times_ms`` (int64, R x n),
    ``words`` (uint8, R x bytes of a read x n).
    """

    descriptor: bytes
    frame: Frame
    place: int
    seq: IntArray
    times_ms: IntArray
    words: ByteArray

    @property
    def span_ms(self) -> tuple[int, int]:
        """The first and the last time of a read."""
        return int(self.times_ms[:, 0].min()), int(self.times_ms[:, -1].max())

    def within(self, from_ms: int, to_ms: int) -> FrameTable:
        """The records with reads at or after ``from_ms`` and before ``to_ms``."""
        inside = (self.times_ms[:, 0] < to_ms) & (self.times_ms[:, -1] >= from_ms)
        if inside.all():
            return self
        return replace(self, seq=self.seq[inside], times_ms=self.times_ms[inside], words=self.words[inside])


@dataclass(frozen=True)
class RecordTable:
    """Records of one form. ``rows``: their places among those given; ``seq`` (int64) and ``prev`` (bytes, 32 each) tell
    how they are chained, ``time_ms`` (int64) when they were closed; ``payload`` is what one of them says."""

    rows: _Rows
    seq: IntArray
    time_ms: IntArray
    prev: list[bytes]
    payload: Payload
    frames: tuple[FrameTable, ...]


def stack_tables(frames: Sequence[tuple[int, AnyFrame]], tables: Sequence[FrameTable]) -> Block:
    """Put the good reads of ``frames`` (seq, frame) and ``tables`` of one request side by side, in the order in which
    they were recorded; the twin of `evidence.columns.stack`."""
    if not tables:
        return stack([frame for _, frame in frames])
    ordered = sorted(tables, key=lambda table: table.place)
    seq = [np.repeat(table.seq, table.frame.n) for table in ordered]
    times = [table.times_ms.reshape(-1) for table in ordered]
    planes = [table.words.transpose(1, 0, 2).reshape(table.words.shape[1], -1) for table in ordered]
    first = ordered[0].frame
    if frames:
        block = stack([frame for _, frame in frames])
        if not isinstance(block, RegisterBlock):
            raise ColumnsError(f"{block} is not of the request of a table of registers")
        seq.append(
            np.repeat([seq for seq, _ in frames], [frame.n_ok for _, frame in frames if isinstance(frame, Frame)])
        )
        times.append(block.time_ms)
        planes.append(block.planes)
    if len(seq) == 1:
        return RegisterBlock(first.function, first.address, first.count, times[0], planes[0])
    order = np.argsort(np.concatenate(seq), kind="stable")
    return RegisterBlock(
        first.function,
        first.address,
        first.count,
        np.concatenate(times)[order],
        np.concatenate(planes, axis=1)[:, order],
    )


class RecordTables:
    """Reads records by their form; remembers the forms from one call to the next."""

    def __init__(self) -> None:
        self._prefixes: dict[bytes, bool] = {}
        self._forms: dict[tuple[bytes, int], list[_Form]] = {}

    def read(self, datas: Sequence[bytes]) -> tuple[list[RecordTable], list[int]]:
        """Return the tables of those records that are of a form, and the places of those that are not."""
        alike: dict[tuple[bytes, int], list[tuple[int, bytes]]] = defaultdict(list)
        others: list[int] = []
        for place, data in enumerate(datas):
            found = self._inflated(data)
            if found is None:
                others.append(place)
            else:
                prefix, octets = found
                alike[prefix, len(octets)].append((place, octets))
        tables: list[RecordTable] = []
        for key, payloads in alike.items():
            rows = np.array([place for place, _ in payloads], dtype=np.intp)
            octets_of_all = np.frombuffer(b"".join([octets for _, octets in payloads]), dtype=np.uint8)
            found_tables, left = self._read_alike(key, rows, octets_of_all.reshape(rows.size, -1), datas)
            tables += found_tables
            others += left
        return tables, sorted(others)

    def _read_alike(
        self, key: tuple[bytes, int], rows: _Rows, octets: ByteArray, datas: Sequence[bytes]
    ) -> tuple[list[RecordTable], list[int]]:
        """Read payloads (rows) of one length under one header."""
        tables: list[RecordTable] = []
        others: list[int] = []
        forms = self._forms.pop(key, [])
        used: list[_Form] = []
        unused = list(forms)
        while rows.size:
            if unused:
                form: _Form | None = unused.pop(0)
            elif rows.size < LEAST_ROWS or len(used) >= FORMS_OF_A_LENGTH:
                others += rows.tolist()
                break
            else:
                form = _new_form(datas[int(rows[0])], octets[0].tobytes())
            same = np.zeros(rows.size, dtype=np.bool_) if form is None else form.fits(octets)
            if form is not None and same.any():
                tables.append(form.table(rows[same], octets[same]))
                used.append(form)
                rows, octets = rows[~same], octets[~same]
            elif form is None or not any(form is one for one in forms):
                others.append(int(rows[0]))
                rows, octets = rows[1:], octets[1:]
        # Those that were used last are tried first, and those that were not for long are forgotten.
        rest = [form for form in forms if not any(form is one for one in used)]
        self._forms[key] = [*used, *rest][:FORMS_OF_A_LENGTH]
        while len(self._forms) > KEPT_LENGTHS:
            del self._forms[next(iter(self._forms))]
        return tables, others

    def _inflated(self, data: bytes) -> tuple[bytes, bytes] | None:
        """What stands before the payload of a record with samples, and the payload; None for any other, and for one
        with which something is wrong: `open_record` says what."""
        if len(data) > MAXIMUM_RECORD_BYTES:
            return None
        prefix = next((one for one in self._prefixes if data.startswith(one)), None) or self._prefix(data)
        compressed = _enclosed(data, len(prefix)) if prefix is not None and self._prefixes[prefix] else None
        if prefix is None or compressed is None:
            return None
        try:
            return prefix, inflate(compressed)
        except RecordError:
            return None

    def _prefix(self, data: bytes) -> bytes | None:
        """What stands before the payload of this record: the signed header, and an empty unsigned one."""
        try:
            message = cose.parse(data)
        except RecordError:
            return None
        prefix = data[: data.index(message.protected) + len(message.protected)] + _EMPTY_MAP
        if len(self._prefixes) >= KEPT_PREFIXES:
            self._prefixes.clear()
        self._prefixes[prefix] = message.subject == Kind.FRAMES.subject
        return prefix


def _enclosed(data: bytes, start: int) -> bytes | None:
    """The byte string from ``start`` to the signature that ends the record; None when it is not in its only form."""
    end = len(data) - _SIGNATURE_BYTES
    width = _LENGTH_BYTES.get(data[start : start + 1])
    if width is None or data[end : end + 2] != _SIGNATURE_HEAD:
        return None
    begin = start + 1 + width
    if int.from_bytes(data[start + 1 : begin], "big") != end - begin or end - begin < _SMALLEST[width]:
        return None
    return data[begin:end]


def _new_form(data: bytes, octets: bytes) -> _Form | None:
    """The form of a record; None when it is not accepted, or no table is made of what it holds."""
    try:
        return _Form.of(open_record(data, None).payload, octets)
    except RecordError:
        return None


@dataclass(frozen=True)
class _Number:
    """An integer whose argument stands in ``width`` bytes from ``start`` on; 0: in the head itself."""

    start: int
    width: int
    limit: int

    def read(self, octets: ByteArray) -> npt.NDArray[np.uint64]:
        if self.width == 0:
            return octets[:, self.start].astype(np.uint64)
        field = np.ascontiguousarray(octets[:, self.start : self.start + self.width])
        return field.view(_UNSIGNED[self.width])[:, 0].astype(np.uint64)

    def allowed(self, octets: ByteArray) -> npt.NDArray[np.bool_]:
        """Whether the number is in its shortest form and within its limit."""
        values = self.read(octets)
        if self.width == 0:
            return np.asarray(values < _SMALLEST[1])
        return np.asarray((values >= _SMALLEST[self.width]) & (values <= self.limit))


@dataclass(frozen=True)
class _FramePlace:
    """Where the numbers of one frame stand."""

    frame: Frame
    begin: _Number
    deltas: slice
    words: slice

    def times_ms(self, octets: ByteArray) -> IntArray:
        count = self.frame.n - 1
        planes = octets[:, self.deltas].reshape(octets.shape[0], 4, count).astype(np.int64)
        steps = ((planes[:, 0] << 8 | planes[:, 1]) << 8 | planes[:, 2]) << 8 | planes[:, 3]
        times = np.empty((octets.shape[0], count + 1), dtype=np.int64)
        times[:, 0] = self.begin.read(octets)
        np.cumsum(steps, axis=1, out=times[:, 1:])
        times[:, 1:] += times[:, :1]
        return times


@dataclass(frozen=True)
class _Form:
    """Where everything stands in the payloads of one form, and the bytes that all of them have in common."""

    payload: Payload
    example: ByteArray
    fixed: npt.NDArray[np.intp]
    numbers: tuple[_Number, ...]
    seq: _Number
    prev: slice
    frames: tuple[_FramePlace, ...]

    @classmethod
    def of(cls, payload: Payload, octets: bytes) -> _Form | None:
        """The form of a payload that `open_record` has accepted; None when it holds what no table is made of."""
        if not all(isinstance(f, Frame) and f.n_ok == f.n for f in payload.frames) or not payload.frames:
            return None
        root = _Places(octets).item()
        fields = dict(zip((key.value for key in root.parts[::2]), root.parts[1::2], strict=True))
        seq, prev, clock, time_ms = (fields[key] for key in (3, 4, 6, 7))
        numbers = [
            _number(seq, 2**63 - 1),
            _number(time_ms, MAXIMUM_TIME_MS),
            *(_number(part, _CLOCK_LIMIT) for part in clock.parts if part.is_free),
        ]
        places = []
        for frame, item in zip(payload.register_frames, fields[_BODY].parts, strict=True):
            _, _, start, steps, _, words, round_trip = item.parts
            begin = _number(start, MAXIMUM_TIME_MS)
            numbers += [begin, _number(round_trip, 2**32 - 1)]
            places.append(_FramePlace(frame, begin, steps.content, words.content))
        free = np.zeros(len(octets), dtype=np.bool_)
        for number in numbers:
            free[number.start : number.start + max(number.width, 1)] = True
        for content in (prev.content, *(part for place in places for part in (place.deltas, place.words))):
            free[content] = True
        example = np.frombuffer(octets, dtype=np.uint8)
        return cls(payload, example, np.flatnonzero(~free), tuple(numbers), numbers[0], prev.content, tuple(places))

    def fits(self, octets: ByteArray) -> npt.NDArray[np.bool_]:
        """Which payloads (rows) are of this form, and hold nothing that `open_record` would refuse."""
        same = np.asarray((octets.take(self.fixed, axis=1) == self.example[self.fixed]).all(axis=1))
        rows = octets[same]
        good = np.ones(rows.shape[0], dtype=np.bool_)
        for number in self.numbers:
            good &= number.allowed(rows)
        good &= (self.seq.read(rows) > 1) & rows[:, self.prev].any(axis=1)
        for place in self.frames:
            good &= place.times_ms(rows)[:, -1] <= MAXIMUM_TIME_MS
        same[same] = good
        return same

    def table(self, rows: _Rows, octets: ByteArray) -> RecordTable:
        """Read payloads that fit."""
        seq = self.seq.read(octets).astype(np.int64)
        joined = octets[:, self.prev].tobytes()
        frames = tuple(
            FrameTable(
                descriptor=self.payload.descriptor,
                frame=place.frame,
                place=number,
                seq=seq,
                times_ms=place.times_ms(octets),
                words=octets[:, place.words].reshape(len(rows), 2 * place.frame.count, place.frame.n),
            )
            for number, place in enumerate(self.frames)
        )
        prev = [joined[start : start + HASH_LENGTH] for start in range(0, len(joined), HASH_LENGTH)]
        closed = self.numbers[1].read(octets).astype(np.int64)
        return RecordTable(rows, seq, closed, prev, self.payload, frames)


@dataclass(frozen=True)
class _Item:
    """A data item and where it stands: its head from ``head`` on, its content (argument bytes of a number)."""

    major: int
    head: int
    content: slice
    value: Any
    parts: tuple[_Item, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether it is a number that may be another one; the head of a small negative number is the number."""
        return self.major == 0 or (self.major == 1 and self.content.stop > self.content.start)


def _number(item: _Item, limit: int) -> _Number:
    width = item.content.stop - item.content.start
    return _Number(item.content.start if width else item.head, width, limit)


class _Places:
    """Walks over deterministic CBOR that has been accepted before."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    def item(self) -> _Item:
        head = self._position
        major, additional = self._octets[head] >> 5, self._octets[head] & 0x1F
        width = 0 if additional < 24 else 1 << (additional - 24)
        begin = head + 1
        self._position = begin + width
        if major == 7:
            return _Item(major, head, slice(begin, begin + width), None)
        argument = int.from_bytes(self._octets[begin : begin + width], "big") if width else additional
        if major in {0, 1}:
            return _Item(major, head, slice(begin, begin + width), argument)
        if major in {2, 3}:
            begin, self._position = self._position, self._position + argument
            return _Item(major, head, slice(begin, self._position), None)
        parts = tuple(self.item() for _ in range(argument * (2 if major == 5 else 1)))
        return _Item(major, head, slice(begin, begin), None, parts)
