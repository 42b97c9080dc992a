"""Records as a busy gateway makes them: 25 float series read once a second, one record a minute, 1,500 samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.frame import Frame
from wire.keys import SigningKey
from wire.record import Record
from wire.words import WordOrder, WordType

SERIES = 25
READS = 60
SAMPLES = SERIES * READS
START_MS = 1_751_299_200_000
RECORD_MS = 60_000

_STEPS = (-2, -1, 0, 0, 0, 1, 2)


def descriptor(gateway: str, series: int = SERIES, interval_ms: int = 1_000) -> Descriptor:
    """One meter whose values stand in one block: gauges, and an energy counter as the last of ``series``."""
    gauges = [
        Series(f"gauge-{n}", "active_power", "kW", "gauge", 3, 2 * n, WordType.FLOAT32, WordOrder.ABCD)
        for n in range(series - 1)
    ]
    energy = Series(
        "active_energy_import", "active_energy_import", "kWh", "counter", 3, 2 * (series - 1), WordType.UINT32,
        WordOrder.ABCD, scale=0.01,
    )  # fmt: skip
    device = Device("meter-1", "bench", bytes(32), "1", "modbus-tcp", 1, 1.0, 1.0, True, interval_ms, (*gauges, energy))
    return Descriptor(gateway, "bench", "UTC", (device,))


def chain(
    gateway: str, key: SigningKey, count: int, seed: int = 1, *, series: int = SERIES, reads: int = READS
) -> Iterator[Record]:
    """Yield descriptor, start and ``count`` frames records of values that wander in steps of a meter's resolution.

    Each record holds ``reads`` reads of all ``series`` within a minute.
    """
    source = np.random.default_rng(seed)
    writer = ChainWriter(gateway, key, boot_id=bytes(16))
    yield writer.append(descriptor(gateway, series, RECORD_MS // reads), time_ms=START_MS)
    yield writer.append(Event("start"), time_ms=START_MS)
    values, energy = source.integers(500, 5_000, series - 1), 0
    for number in range(count):
        gauges = values + np.cumsum(source.choice(_STEPS, (reads, series - 1)), axis=0)
        counts = energy + np.cumsum(source.integers(0, 4, reads))
        values, energy = gauges[-1], int(counts[-1])
        words = np.concatenate([(gauges / 10).astype("f4").view("u4"), counts[:, None].astype("u4")], axis=1)
        first_ms = START_MS + number * RECORD_MS
        frame = Frame(
            device=0,
            unit=1,
            function=3,
            address=0,
            count=2 * series,
            times_ms=tuple(range(first_ms, first_ms + RECORD_MS, RECORD_MS // reads)),
            status=bytes(reads),
            words=words.astype(">u4").view(np.uint8).T.tobytes(),
            round_trip_ms=4,
        )
        yield writer.append((frame,), time_ms=first_ms + RECORD_MS)
