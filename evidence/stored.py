"""Readings that meters stored by themselves, out of the records of a gateway: evidence of the time before it came.

The gateway records every stored entry whole, in a register frame of its own, and an event ``history`` behind them says
how the entries stand. The descriptor has the series of entry 1, the newest; the same offsets hold for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wire.descriptor import Descriptor, Series
from wire.errors import RecordError
from wire.event import Event
from wire.frame import STATUS_OK, Frame
from wire.record import Record
from wire.schema import identifier, integer
from wire.values import value_in_words

ROUND_MS = 26 * 3_600_000
"""An event speaks of reads that are not older than this: a round takes hours on a slow bus, and comes daily."""


@dataclass(frozen=True, slots=True)
class StoredReading:
    """One entry: ``entry`` 1 is the newest; ``read_ms`` is when the gateway read it, not when the meter froze it.

    ``values`` are in the units of their ``series`` and ``None`` where the meter says "nothing stored"; ``words`` are
    all registers of the entry, described or not.
    """

    gateway: str
    device: str
    history: str
    entry: int
    read_ms: int
    series: tuple[Series, ...]
    values: tuple[float | int | None, ...]
    words: tuple[int, ...]


def stored_readings(records: Iterable[Record]) -> Iterator[StoredReading]:
    """Yield the entries that ``records`` of one gateway, in the order of its chain, tell of; the newest first.

    The same entry comes again with every daily round. Raises `RecordError` (``bad-payload``) for an event that lacks a
    field; events whose descriptor is not among the records are passed over.
    """
    descriptors: dict[bytes, Descriptor] = {}
    reads: dict[tuple[int, int, int, int], tuple[int, tuple[int, ...]]] = {}
    for record in records:
        payload = record.payload
        if isinstance(payload.body, Descriptor):
            descriptors[record.hash] = payload.body
            reads.clear()
        for frame in payload.register_frames:
            if frame.n == 1:
                _take(frame, reads)
        descriptor = descriptors.get(payload.descriptor)
        if isinstance(payload.body, Event) and payload.body.name == "history" and descriptor is not None:
            yield from _entries(payload.body, descriptor, reads)


def _take(frame: Frame, reads: dict[tuple[int, int, int, int], tuple[int, tuple[int, ...]]]) -> None:
    for time_ms, status, words in frame.samples():
        if status == STATUS_OK and words is not None:
            reads[frame.device, frame.function, frame.address, frame.count] = (time_ms, words)


def _entries(
    event: Event, descriptor: Descriptor, reads: dict[tuple[int, int, int, int], tuple[int, tuple[int, ...]]]
) -> Iterator[StoredReading]:
    detail = event.detail
    if missing := {"device", "name", "function", "address", "stride", "registers", "entries", "time_ms"} - set(detail):
        raise RecordError("bad-payload", f"a history event lacks {sorted(missing)}")
    name, told = identifier(detail["name"], "history.name"), identifier(detail["device"], "history.device")
    function, address, stride, count = (
        integer(detail[key], f"history.{key}", 0, 65_535) for key in ("function", "address", "stride", "registers")
    )
    time_ms = integer(detail["time_ms"], "history.time_ms", 0, 2**63)
    place = next((index for index, device in enumerate(descriptor.devices) if device.id == told), None)
    if place is None:
        return
    known = tuple(
        series
        for series in descriptor.devices[place].series
        if series.name.startswith(f"{name}_") and series.in_registers(function, address, count)
    )
    for entry in range(1, integer(detail["entries"], "history.entries", 1, 1024) + 1):
        offset = (entry - 1) * stride
        found = reads.pop((place, function, address + offset, count), None)
        if found is None or time_ms - found[0] > ROUND_MS:
            continue
        values = tuple(value_in_words(series, found[1], address) for series in known)
        yield StoredReading(descriptor.gateway, told, name, entry, found[0], known, values, found[1])
