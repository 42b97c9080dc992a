"""Readings that meters stored by themselves, out of the records of a gateway: evidence of the time before it came.

The gateway records every stored entry whole, in frames of its own, and an event ``history`` behind them says how the
entries stand. The descriptor has the series of entry 1, the newest; of all others the same registers further on, or the
same answers to requests with a higher entry number, mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from wire.answer import request_of_entry
from wire.descriptor import AnswerPlace, Descriptor, Device, Series
from wire.errors import RecordError
from wire.event import Event
from wire.frame import STATUS_OK, AnswerFrame, AnyFrame, Frame
from wire.record import Record
from wire.schema import identifier, integer
from wire.values import value_in_answer, value_in_words

ROUND_MS = 26 * 3_600_000
"""An event speaks of reads that are not older than this: a round takes hours on a slow bus, and comes daily."""

_OF_ALL = {"device", "name", "entries", "time_ms"}
_OF_REGISTERS = {"function", "address", "stride", "registers"}


@dataclass(frozen=True, slots=True)
class StoredReading:
    """One entry: ``entry`` 1 is the newest; ``read_ms`` is when the gateway read it, not when the meter froze it.

    ``values`` are in the units of their ``series`` and ``None`` where the meter says "nothing stored" or does not have
    the value; ``raw`` is all that was read of the entry, described or not: registers, or where there are none the bytes
    of its answers, one behind the other.
    """

    gateway: str
    device: str
    history: str
    entry: int
    read_ms: int
    series: tuple[Series, ...]
    values: tuple[float | int | None, ...]
    raw: tuple[int, ...]


@dataclass
class _Reads:
    """What was read once, with its time: registers by device, function, address and count; answers by request."""

    registers: dict[tuple[int, int, int, int], tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    answers: dict[tuple[int, bytes], tuple[int, bytes]] = field(default_factory=dict)

    def take(self, frame: AnyFrame) -> None:
        """Keep the reading of ``frame`` when it is a good one and the only one."""
        if frame.n != 1 or frame.status[0] != STATUS_OK:
            return
        if isinstance(frame, Frame):
            ((time_ms, _, words),) = frame.samples()
            self.registers[frame.device, frame.function, frame.address, frame.count] = (time_ms, words or ())
        elif isinstance(frame, AnswerFrame):
            ((time_ms, _, data),) = frame.samples()
            self.answers[frame.device, frame.request] = (time_ms, data or b"")


@dataclass(frozen=True, slots=True)
class _Round:
    """The event of one round of one device, number ``place`` of its descriptor."""

    descriptor: Descriptor
    place: int
    name: str
    entries: int
    time_ms: int
    detail: Mapping[str, int | float | str | bytes]

    @property
    def device(self) -> Device:
        return self.descriptor.devices[self.place]

    def number(self, key: str, maximum: int = 65_535) -> int:
        """Return a number of the event."""
        return integer(self.detail[key], f"history.{key}", 0, maximum)

    def is_of_it(self, time_ms: int) -> bool:
        """Whether a reading of this time is one of this round."""
        return self.time_ms - time_ms <= ROUND_MS

    def reading(
        self,
        entry: int,
        time_ms: int,
        series: tuple[Series, ...],
        values: Sequence[float | int | None],
        raw: Iterable[int],
    ) -> StoredReading:
        """Return the reading of ``entry``."""
        gateway, device = self.descriptor.gateway, self.device.id
        return StoredReading(gateway, device, self.name, entry, time_ms, series, tuple(values), tuple(raw))


def stored_readings(records: Iterable[Record]) -> Iterator[StoredReading]:
    """Yield the entries that ``records`` of one gateway, in the order of its chain, tell of; the newest first.

    The same entry comes again with every daily round. Raises `RecordError` (``bad-payload``) for an event that lacks a
    field; events whose descriptor is not among the records are passed over.
    """
    descriptors: dict[bytes, Descriptor] = {}
    reads = _Reads()
    for record in records:
        payload = record.payload
        if isinstance(payload.body, Descriptor):
            descriptors[record.hash] = payload.body
            reads = _Reads()
        for frame in payload.frames:
            reads.take(frame)
        descriptor = descriptors.get(payload.descriptor)
        if isinstance(payload.body, Event) and payload.body.name == "history" and descriptor is not None:
            told = _round(payload.body, descriptor)
            if told is not None:
                yield from _in_answers(told, reads) if "entry_byte" in told.detail else _in_registers(told, reads)


def _round(event: Event, descriptor: Descriptor) -> _Round | None:
    detail = event.detail
    needed = _OF_ALL | (set() if "entry_byte" in detail else _OF_REGISTERS)
    if missing := needed - set(detail):
        raise RecordError("bad-payload", f"a history event lacks {sorted(missing)}")
    name, told = identifier(detail["name"], "history.name"), identifier(detail["device"], "history.device")
    entries = integer(detail["entries"], "history.entries", 1, 1024)
    time_ms = integer(detail["time_ms"], "history.time_ms", 0, 2**63)
    place = next((index for index, device in enumerate(descriptor.devices) if device.id == told), None)
    return None if place is None else _Round(descriptor, place, name, entries, time_ms, detail)


def _in_registers(told: _Round, reads: _Reads) -> Iterator[StoredReading]:
    function, address, stride, count = (told.number(key) for key in ("function", "address", "stride", "registers"))
    known = tuple(
        series
        for series in told.device.series
        if series.name.startswith(f"{told.name}_") and series.in_registers(function, address, count)
    )
    for entry in range(1, told.entries + 1):
        offset = (entry - 1) * stride
        found = reads.registers.pop((told.place, function, address + offset, count), None)
        if found is not None and told.is_of_it(found[0]):
            values = [value_in_words(series, found[1], address) for series in known]
            yield told.reading(entry, found[0], known, values, found[1])


def _in_answers(told: _Round, reads: _Reads) -> Iterator[StoredReading]:
    entry_byte = told.number("entry_byte", 255)
    known = tuple(
        series
        for series in told.device.series
        if series.name.startswith(f"{told.name}_") and _counts(series, entry_byte, told.entries)
    )
    requests = list(dict.fromkeys(series.place.request for series in known if isinstance(series.place, AnswerPlace)))
    for entry in range(1, told.entries + 1):
        answers: dict[bytes, bytes] = {}
        read_ms = 0
        for request in requests:
            found = reads.answers.pop((told.place, request_of_entry(request, entry_byte, entry)), None)
            if found is not None and told.is_of_it(found[0]):
                answers[request] = found[1]
                read_ms = max(read_ms, found[0])
        if answers:
            values = [_value(series, answers) for series in known]
            yield told.reading(entry, read_ms, known, values, b"".join(answers.values()))


def _counts(series: Series, entry_byte: int, entries: int) -> bool:
    place = series.place
    if not isinstance(place, AnswerPlace) or entry_byte >= len(place.request):
        return False
    return place.request[entry_byte] + entries <= 0x100


def _value(series: Series, answers: Mapping[bytes, bytes]) -> float | int | None:
    for request, data in answers.items():
        if series.in_answer(request, len(data)):
            return value_in_answer(series, data)
    return None
