"""Records as a busy gateway makes them: 25 float series read once a second, one record a minute, 1,500 samples."""

from __future__ import annotations

import random
from collections.abc import Iterator

from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.frame import STATUS_OK, FrameBuilder
from wire.keys import SigningKey
from wire.record import Record
from wire.words import WordOrder, WordType, encode_words

SERIES = 25
READS = 60
SAMPLES = SERIES * READS
START_MS = 1_751_299_200_000
RECORD_MS = 60_000


def descriptor(gateway: str) -> Descriptor:
    """One meter whose 25 values stand in one block: 24 gauges and an energy counter."""
    gauges = [
        Series(f"gauge-{n}", "active_power", "kW", "gauge", 3, 2 * n, WordType.FLOAT32, WordOrder.ABCD)
        for n in range(SERIES - 1)
    ]
    energy = Series(
        "active_energy_import", "active_energy_import", "kWh", "counter", 3, 2 * (SERIES - 1), WordType.UINT32,
        WordOrder.ABCD, scale=0.01,
    )  # fmt: skip
    device = Device("meter-1", "bench", bytes(32), "1", "modbus-tcp", 1, 1.0, 1.0, True, 1_000, (*gauges, energy))
    return Descriptor(gateway, "bench", "UTC", (device,))


def chain(gateway: str, key: SigningKey, count: int, seed: int = 1) -> Iterator[Record]:
    """Yield descriptor, start and ``count`` frames records of values that wander in steps of a meter's resolution."""
    source = random.Random(seed)  # noqa: S311 - reproducible, not secret
    writer = ChainWriter(gateway, key, boot_id=bytes(16))
    yield writer.append(descriptor(gateway), time_ms=START_MS)
    yield writer.append(Event("start"), time_ms=START_MS)
    values = [source.randrange(500, 5_000) for _ in range(SERIES - 1)]
    energy, builder = 0, FrameBuilder(0, 1, 3, 0, 2 * SERIES)
    for number in range(count):
        for read in range(READS):
            words: list[int] = []
            for index, value in enumerate(values):
                values[index] = value + source.choice((-2, -1, 0, 0, 0, 1, 2))
                words += encode_words(values[index] / 10, WordType.FLOAT32, WordOrder.ABCD)
            energy += source.randrange(0, 4)
            words += encode_words(energy, WordType.UINT32, WordOrder.ABCD)
            builder.add(START_MS + number * RECORD_MS + read * 1_000, STATUS_OK, words, 4)
        yield writer.append((builder.build(),), time_ms=START_MS + (number + 1) * RECORD_MS)
