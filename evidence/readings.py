"""Readings of a gateway's series out of its records: decoded, sorted by time, each with its setting.

A series goes on across records and descriptors. What a reading may be compared with is told by the `Setting` it was
taken under: a new poll interval changes how far apart readings may be, a new scale, register or meter what they mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evidence.columns import FloatArray, IntArray, Request, decode_raw, request_of, scale_values
from evidence.counters import HORIZON_MS, CounterRules, Replacement
from evidence.record_table import FrameTable, stack_tables
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.record import AnyFrame, Payload

SHORTEST_GAP_LIMIT_MS = 60_000
LONGEST_GAP_LIMIT_MS = 3_600_000
MISSED_POLLS = 3
"""Readings up to this many poll intervals apart are connected."""


@dataclass(frozen=True)
class SkippedRecord:
    """A record that could not be read with what is known; ``reason`` is a sentence."""

    seq: int
    reason: str


def gap_limit_ms(device: Device) -> int:
    """Readings of a device further apart than this are not connected: three polls, at least 1 min, at most 1 h."""
    return min(max(SHORTEST_GAP_LIMIT_MS, MISSED_POLLS * device.interval_ms), LONGEST_GAP_LIMIT_MS)


@dataclass(frozen=True)
class Setting:
    """Under what a reading was taken: the meter, its series' description, and how far apart readings may be."""

    serial_number: str
    series: Series
    gap_limit_ms: int

    def same_meaning(self, other: Setting) -> bool:
        """Whether a count under one setting can be compared with a count under the other."""
        return self._meaning() == other._meaning()

    def same_count(self, other: Setting) -> bool:
        """Whether a counter is one count under both settings: they differ in poll interval and wording at most."""
        mine, theirs = self.series, other.series
        limits = (mine.modulus, mine.maximum_rate) == (theirs.modulus, theirs.maximum_rate)
        return limits and self.same_meaning(other)

    def _meaning(self) -> tuple[object, ...]:
        series = self.series
        place = (series.place, series.function, series.address, series.type, series.order, series.bit, series.length)
        return (self.serial_number, *place, series.scale, series.offset)

    @property
    def quantum(self) -> float:
        """What one raw count is worth, where counting raw is possible; 1 where readings are counted in their unit."""
        return 1.0 if not self.series.type.counts or self.series.scale <= 0 else self.series.scale

    def rules(self, quantum: float) -> CounterRules:
        """The rules of the counter for readings in multiples of ``quantum``.

        Their gap limit is the longest there is: each segment has its own, which depends on both of its readings.
        """
        series = self.series
        modulus = None if series.modulus is None else series.modulus / quantum
        if modulus is not None and series.type.counts and quantum == series.scale:
            modulus = float(round(modulus))
        return CounterRules(
            gap_limit_ms=LONGEST_GAP_LIMIT_MS,
            modulus=modulus,
            maximum_rate=None if series.maximum_rate is None else series.maximum_rate / quantum,
            resolution=abs(series.scale) / quantum if series.type.counts else 0.0,
        )


@dataclass(frozen=True)
class Piece:
    """Good readings of one series under one setting: times, and values in raw counts and in the series' unit."""

    setting: Setting
    time_ms: IntArray
    raw: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Readings:
    """All good readings of one series, by time; ``setting`` is an index into ``settings``."""

    settings: list[Setting]
    time_ms: IntArray
    raw: FloatArray
    values: FloatArray
    setting: IntArray

    @property
    def only_gap_limit_ms(self) -> int | None:
        """The limit of all readings where they have one; None where it depends on the settings of both."""
        limits = {setting.gap_limit_ms for setting in self.settings}
        return limits.pop() if len(limits) == 1 else None

    def gap_limit_ms(self, one_ms: IntArray, other_ms: IntArray) -> IntArray:
        """How far the readings at these times may be apart (int64 ms): the longer limit of their two settings."""
        limit = self.only_gap_limit_ms
        if limit is not None:
            return np.full(one_ms.shape, limit, dtype=np.int64)
        limits = np.array([setting.gap_limit_ms for setting in self.settings], dtype=np.int64)[self.setting]
        one, other = np.searchsorted(self.time_ms, one_ms), np.searchsorted(self.time_ms, other_ms)
        return np.asarray(np.maximum(limits[one], limits[other]))


@dataclass
class _Reads:
    """Frames of one request to one device, and tables of such frames. ``first`` is where the first of them stands: seq
    and number in its record."""

    first: tuple[int, int]
    frames: list[tuple[int, AnyFrame]] = field(default_factory=list)
    tables: list[FrameTable] = field(default_factory=list)


def collect_readings(
    ordered: Sequence[Payload],
    descriptors: Mapping[bytes, Descriptor],
    skipped: list[SkippedRecord],
    tables: Sequence[FrameTable] = (),
) -> dict[str, list[Piece]]:
    """Decode all frames of ``ordered`` (by seq) and of ``tables``, those of one request together; the pieces by full
    series id.

    Records whose descriptor is not among ``descriptors`` are added to ``skipped``.
    """
    requests: dict[tuple[bytes, int, Request], _Reads] = {}
    told: set[tuple[int, str]] = set()

    def skip(seqs: Iterable[int], reason: str) -> None:
        for seq in seqs:
            if (seq, reason) not in told:
                told.add((seq, reason))
                skipped.append(SkippedRecord(seq, reason))

    def reads(descriptor_hash: bytes, frame: AnyFrame, place: int, seqs: Sequence[int]) -> _Reads | None:
        descriptor = descriptors.get(descriptor_hash)
        if descriptor is None:
            skip(seqs, f"its descriptor {descriptor_hash.hex()[:16]} is not known")
            return None
        if frame.device >= len(descriptor.devices):
            skip(seqs, f"it names device {frame.device}, its descriptor has {len(descriptor.devices)}")
            return None
        first = (seqs[0], place)
        found = requests.setdefault((descriptor_hash, frame.device, request_of(frame)), _Reads(first))
        found.first = min(found.first, first)
        return found

    for payload in ordered:
        for place, frame in enumerate(payload.frames):
            known = reads(payload.descriptor, frame, place, (payload.seq,))
            if known is not None:
                known.frames.append((payload.seq, frame))
    for table in tables:
        known = reads(table.descriptor, table.frame, table.place, table.seq.tolist())
        if known is not None:
            known.tables.append(table)
    pieces: dict[str, list[Piece]] = defaultdict(list)
    for (descriptor_hash, device_index, _), known in sorted(requests.items(), key=lambda item: item[1].first):
        descriptor = descriptors[descriptor_hash]
        device = descriptor.devices[device_index]
        block = stack_tables(known.frames, known.tables)
        for series in device.series:
            if block.holds(series):
                raw = decode_raw(block, series)
                values = scale_values(raw, series)
                good = ~np.isnan(values)
                setting = Setting(device.serial_number, series, gap_limit_ms(device))
                if good.all():
                    # All series of a block then share one array of times, and what is worked out from it.
                    piece = Piece(setting, block.time_ms, raw, values)
                else:
                    piece = Piece(setting, block.time_ms[good], raw[good], values[good])
                pieces[f"{descriptor.gateway}/{device.id}/{series.name}"].append(piece)
    return pieces


def collect_replacements(ordered: Sequence[Payload], skipped: list[SkippedRecord]) -> dict[str, list[Replacement]]:
    """Signed meter changes by full series id; events that lack a field, or come late, are added to ``skipped``."""
    replacements: dict[str, list[Replacement]] = defaultdict(list)
    for payload in ordered:
        if not isinstance(payload.body, Event) or payload.body.name != "meter_replaced":
            continue
        detail = payload.body.detail
        device, series = detail.get("device"), detail.get("series")
        final, first = detail.get("final_reading"), detail.get("first_reading")
        if final is None and first is None:
            # noticed by the gateway itself, which cannot know the readings: nothing to bridge with
            continue
        time_ms = detail.get("time_ms", payload.time_ms)
        if isinstance(time_ms, int) and abs(time_ms - payload.time_ms) > HORIZON_MS:
            # A day is computed from the records around it: what is stated later would not be among them.
            reason = "a meter change has to be stated within an hour of it"
            skipped.append(SkippedRecord(payload.seq, reason))
            continue
        if (
            isinstance(device, str)
            and isinstance(series, str)
            and isinstance(final, int | float)
            and isinstance(first, int | float)
            and isinstance(time_ms, int)
        ):
            replacement = Replacement(time_ms, float(final), float(first))
            replacements[f"{payload.gateway}/{device}/{series}"].append(replacement)
        else:
            reason = "a meter change with a reading needs device, series, final_reading and first_reading"
            skipped.append(SkippedRecord(payload.seq, reason))
    return replacements


def merge_readings(pieces: Sequence[Piece]) -> Readings:
    """Put pieces in order of time; of readings with the same time the first recorded stays."""
    settings = list(dict.fromkeys(piece.setting for piece in pieces))
    if len(pieces) == 1 and _rise(pieces[0].time_ms):
        only = pieces[0]
        return Readings(settings, only.time_ms, only.raw, only.values, np.zeros(only.time_ms.size, dtype=np.int64))
    time_ms = np.concatenate([piece.time_ms for piece in pieces])
    setting = np.concatenate([np.full(piece.time_ms.size, settings.index(piece.setting)) for piece in pieces])
    raw = np.concatenate([piece.raw for piece in pieces])
    values = np.concatenate([piece.values for piece in pieces])
    if not _rise(time_ms):
        order = np.argsort(time_ms, kind="stable")
        order = order[np.concatenate([[True], np.diff(time_ms[order]) > 0])]
        time_ms, raw, values, setting = time_ms[order], raw[order], values[order], setting[order]
    return Readings(settings, time_ms, raw, values, setting.astype(np.int64))


def _rise(time_ms: IntArray) -> bool:
    return bool(np.all(time_ms[1:] > time_ms[:-1]))
