"""Samples of single series out of records: every read, good or not, each with the number of the record it stands in.

This is the plain reading of what was signed. Nothing is left out, merged or corrected; what may be computed with is the
business of ``evidence.readings``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from evidence.columns import FloatArray, IntArray, Request, StatusArray, decode_reads, request_of, stack
from evidence.readings import SkippedRecord
from wire.descriptor import Descriptor, Series
from wire.record import AnyFrame, Payload

_Place = tuple[bytes, int, Request]
"""What frames have in common that are decoded together: descriptor, device, request."""


@dataclass(frozen=True)
class Samples:
    """Reads of one series under one descriptor; arrays of one entry a read, in the order of the records.

    ``series``: the full id. ``time_ms`` (int64): ms since the epoch. ``values`` (float64, in ``unit``): NaN for a read
    that failed and for what the device says is not available. ``status`` (uint32): 0 good, see
    `evidence.columns.decode_reads`. ``seq`` (int64): the number of the record.
    """

    series: str
    unit: str
    time_ms: IntArray
    values: FloatArray
    status: StatusArray
    seq: IntArray


def collect_samples(
    payloads: Iterable[Payload],
    descriptor_of: Callable[[bytes], Descriptor | None],
    wanted: Collection[str],
    skipped: list[SkippedRecord],
) -> list[Samples]:
    """Decode the frames of ``payloads`` (of one gateway) that hold a series of ``wanted`` (full ids).

    ``descriptor_of`` finds a descriptor by its hash. Records for which it finds none are added to ``skipped``.
    """
    asked = frozenset(wanted)
    held: dict[_Place, list[tuple[str, Series]]] = {}
    reads: dict[_Place, list[tuple[int, AnyFrame]]] = defaultdict(list)
    for payload in payloads:
        descriptor = descriptor_of(payload.descriptor)
        if descriptor is None:
            if payload.frames:
                reason = f"its descriptor {payload.descriptor.hex()[:16]} is not known"
                skipped.append(SkippedRecord(payload.seq, reason))
            continue
        for frame in payload.frames:
            key = (payload.descriptor, frame.device, request_of(frame))
            if key not in held:
                held[key] = _series_in(frame, descriptor, asked)
            if held[key]:
                reads[key].append((payload.seq, frame))
    found = []
    for key, frames in reads.items():
        seq = np.repeat([seq for seq, _ in frames], [frame.n for _, frame in frames]).astype(np.int64)
        for name, series in held[key]:
            times, values, status = decode_reads([frame for _, frame in frames], series)
            found.append(Samples(name, series.unit, times, values, status, seq))
    return found


def _series_in(frame: AnyFrame, descriptor: Descriptor, asked: frozenset[str]) -> list[tuple[str, Series]]:
    """The full ids and descriptions of the series asked for that stand in frames like this one."""
    if frame.device >= len(descriptor.devices):
        return []
    device = descriptor.devices[frame.device]
    named = [(f"{descriptor.gateway}/{device.id}/{series.name}", series) for series in device.series]
    block = stack([frame])
    return [(name, series) for name, series in named if name in asked and block.holds(series)]
