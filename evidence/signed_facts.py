"""What signed records say beside measured values: when they were closed and received, how the meters were set, and what
the meters had stored by themselves. The screens that need a gateway look at this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evidence.record_table import RecordTables
from evidence.stored import ROUND_MS, StoredReading, stored_readings
from evidence.table import FloatArray, IntArray
from wire.descriptor import Descriptor, Device, Series
from wire.errors import RecordError
from wire.event import Event
from wire.record import Kind, Record, open_record

TOLD_EVENTS = ("meter_replaced", "ratio_changed", "ratio_mismatch", "setting_changed")
"""Events by which a gateway says that a device is no longer set as it was."""
_SAID = frozenset({"device", "time_ms"})
_FRAMES = Kind.FRAMES.subject.encode()
HOUR_MS = 3_600_000
_HEADER_BYTES = 160
"""The signed header with the subject stands within these first bytes of a record."""


@dataclass(frozen=True)
class Arrivals:
    """When records of a gateway were closed by the gateway and received by the server, in order of seq; ms UTC."""

    gateway: str
    closed_ms: IntArray
    received_ms: IntArray


@dataclass(frozen=True)
class Change:
    """A setting of a device that is no longer what it was: at ``time_ms``, in the words of the descriptor."""

    device: str
    time_ms: int
    setting: str
    before: str
    after: str


@dataclass(frozen=True)
class RegisterReadings:
    """First and last reading of a counter in each interval that has any, in its unit: ``first`` was read at or after
    ``start_ms``, ``last`` before ``end_ms`` (both increase)."""

    start_ms: IntArray
    end_ms: IntArray
    first: FloatArray
    last: FloatArray


@dataclass(frozen=True)
class SignedFacts:
    """Facts of all gateways of a plan. ``series`` are those of the plan's devices as last described, ``stored`` the
    meters' own readings, ``registers`` the gateway's readings of the same counters; by full series id."""

    arrivals: tuple[Arrivals, ...] = ()
    changes: tuple[Change, ...] = ()
    stored: tuple[StoredReading, ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)
    registers: Mapping[str, RegisterReadings] = field(default_factory=dict)


@dataclass(frozen=True)
class ReceivedRecord:
    """A kept record: bytes as sent, and when the server received it (UTC ms)."""

    data: bytes
    received_ms: int


class TellingRecords:
    """Keeps, of a run of records that goes by, those that `gateway_facts` looks at: few of a year of samples."""

    def __init__(self) -> None:
        self.records: list[ReceivedRecord] = []
        self._hours: set[int] = set()

    def see(self, data: bytes, received_ms: int) -> None:
        """Take the next record of the run."""
        hour = received_ms // HOUR_MS
        if hour not in self._hours or _tells(data):
            self._hours.add(hour)
            self.records.append(ReceivedRecord(data, received_ms))


def gateway_facts(
    gateway: str,
    records: Sequence[ReceivedRecord],
    earlier: Iterable[bytes],
    devices: Iterable[str],
    before: Callable[[int], Iterable[bytes]],
    *,
    arrivals: Arrivals | None = None,
) -> SignedFacts:
    """The facts of one gateway: of ``records`` in order of seq, after the ``earlier`` records with descriptors that are
    still in force. ``devices`` are those whose settings matter (``gateway/device``). Of records with samples one for
    each hour of receipt is enough (`TellingRecords`); ``before`` reads all records of the run that stand before a seq,
    the newest first. With ``arrivals`` known, no record with samples is needed. Records that cannot be read are passed
    over: the proof names them."""
    told = [*_opened(earlier), *_opened(_without_frames(records))]
    return SignedFacts(
        arrivals=(_arrivals(gateway, records) if arrivals is None else arrivals,),
        changes=tuple(_changes(gateway, told, frozenset(devices))),
        stored=tuple(_stored(told, before)),
        series=_series(gateway, told, frozenset(devices)),
    )


def together(facts: Iterable[SignedFacts]) -> SignedFacts:
    """The facts of several gateways."""
    known = list(facts)
    return SignedFacts(
        arrivals=tuple(one for each in known for one in each.arrivals),
        changes=tuple(one for each in known for one in each.changes),
        stored=tuple(one for each in known for one in each.stored),
        series={name: one for each in known for name, one in each.series.items()},
    )


def _without_frames(records: Iterable[ReceivedRecord]) -> Iterator[bytes]:
    # Opening a year of samples takes minutes; the subject stands in the signed header of each record.
    return (one.data for one in records if _tells(one.data))


def _tells(data: bytes) -> bool:
    return _FRAMES not in data[:_HEADER_BYTES]


def _opened(records: Iterable[bytes]) -> list[Record]:
    opened = []
    for data in records:
        try:
            opened.append(open_record(data, None))
        except RecordError:
            continue
    return opened


def _series(gateway: str, records: Sequence[Record], devices: frozenset[str]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for record in records:
        body = record.payload.body
        if isinstance(body, Descriptor):
            for device in body.devices:
                name = f"{gateway}/{device.id}"
                if name in devices:
                    found |= {f"{name}/{series.name}": series for series in device.series}
    return found


def _changes(gateway: str, records: Sequence[Record], devices: frozenset[str]) -> Iterator[Change]:
    known: dict[str, dict[str, str]] = {}
    for record in records:
        body = record.payload.body
        if isinstance(body, Descriptor):
            for device in body.devices:
                name = f"{gateway}/{device.id}"
                if name not in devices:
                    continue
                settings = _settings(device)
                old = known.get(name, settings)
                # A series that is read in addition, or no more, changes the meaning of none.
                for key in sorted(set(settings) & set(old)):
                    if old[key] != settings[key]:
                        yield Change(name, record.payload.time_ms, key, old[key], settings[key])
                known[name] = settings
        elif isinstance(body, Event) and body.name in TOLD_EVENTS:
            name = f"{gateway}/{_text(body.detail.get('device', ''))}"
            if name in devices:
                time_ms = body.detail.get("time_ms")
                when = time_ms if isinstance(time_ms, int) else record.payload.time_ms
                detail = (f"{key} {_text(value)}" for key, value in body.detail.items() if key not in _SAID)
                yield Change(name, when, body.name, "", ", ".join(detail))


def _text(value: float | str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _settings(device: Device) -> dict[str, str]:
    """What decides the meaning of a device's values, in words that can be compared. Poll intervals do not."""
    settings = {
        "model": device.model,
        "serial number": device.serial_number,
        "CT ratio": f"{device.ct_ratio:g}",
        "PT ratio": f"{device.pt_ratio:g}",
        "primary": str(device.primary),
    }
    for series in device.series:
        settings[f"series {series.name}"] = _meaning(series)
    return settings


def _meaning(series: Series) -> str:
    where = f"{series.function}/{series.address}" if series.place is None else str(series.place)
    return f"{where} {series.type.name} {series.order.name} x {series.scale:g} + {series.offset:g} {series.unit}"


def _arrivals(gateway: str, records: Sequence[ReceivedRecord]) -> Arrivals:
    """Of the records that were received in one hour the first: enough for a clock, and a year of them is read in a
    second. When a record was closed is read from its signed bytes."""
    received = np.array([one.received_ms for one in records], dtype=np.int64)
    _, first = np.unique(received // HOUR_MS, return_index=True)
    chosen = np.sort(first)
    datas = [records[row].data for row in chosen.tolist()]
    closed, known = np.zeros(len(datas), dtype=np.int64), np.zeros(len(datas), dtype=np.bool_)
    tables, others = RecordTables().read(datas)
    for table in tables:
        closed[table.rows], known[table.rows] = table.time_ms, True
    for place in others:
        for record in _opened([datas[place]]):
            closed[place], known[place] = record.payload.time_ms, True
    return Arrivals(gateway, closed[known], received[chosen][known])


def _stored(told: Sequence[Record], before: Callable[[int], Iterable[bytes]]) -> Iterator[StoredReading]:
    """The entries of the newest round of each history: they reach back as far as the meter remembers."""
    rounds: dict[tuple[object, object], Record] = {}
    for record in told:
        body = record.payload.body
        if isinstance(body, Event) and body.name == "history":
            rounds[body.detail.get("device"), body.detail.get("name")] = record
    if not rounds:
        return
    for record in sorted(rounds.values(), key=lambda one: one.seq):
        descriptors = [one for one in told if isinstance(one.payload.body, Descriptor) and one.seq < record.seq]
        reads = _reads(before(record.seq), record.payload.time_ms - ROUND_MS)
        chain = sorted({one.seq: one for one in [*descriptors, *reads, record]}.values(), key=lambda one: one.seq)
        try:
            yield from stored_readings(chain)
        except RecordError:
            # An event that lacks a field tells nothing; the proof does not rest on it.
            continue


def _reads(backwards: Iterable[bytes], from_ms: int) -> Iterator[Record]:
    for data in backwards:
        for record in _opened([data]):
            if record.payload.time_ms < from_ms:
                return
            # The event of an earlier round would tell its entries once more.
            if record.payload.frames:
                yield record
