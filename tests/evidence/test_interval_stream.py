"""Intervals made while records go by are those of the whole run, bit for bit, in whatever order the times stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import interval_stream
from evidence.interval_stream import IntervalStream
from evidence.intervals import SeriesIntervals, build_intervals
from evidence.record_table import FrameTable, RecordTables
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series, SeriesKind
from wire.event import Event
from wire.frame import STATUS_OK, FrameBuilder
from wire.keys import SigningKey
from wire.record import Payload, Record
from wire.words import WordOrder, WordType

HOUR_MS = 3_600_000
STEP_MS = 900_000
START_MS = 1_751_299_200_000
HOURS = 60
END_MS = START_MS + HOURS * HOUR_MS
KEY = SigningKey.from_bytes(b"\x07" * 32)
BLOCK = 16


def series(name: str, kind: SeriesKind, address: int, type_: WordType, scale: float) -> Series:
    return Series(name, name, "unit", kind, 3, address, type_, WordOrder.ABCD, scale)


METER = Device(
    "m", "model", bytes(32), "A1", "modbus-tcp", 1, 1.0, 1.0, True, 300_000,
    (
        series("energy", "counter", 0, WordType.UINT32, 0.036),
        series("power", "gauge", 2, WordType.UINT16, 0.1),
        series("state", "state", 3, WordType.UINT16, 1.0),
    ),
)  # fmt: skip
WANTED = ("gw/m/energy", "gw/m/power", "gw/m/state", "gw/m/none")


@pytest.fixture(autouse=True, scope="module")
def _short_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interval_stream, "CHUNK_MS", 10 * HOUR_MS)
        yield


def chain(jumps: dict[int, int], described_at: int, lost: set[int], replaced_at: int | None) -> list[Record]:
    """Records of three reads a quarter of an hour; from record number n on the clock is ``jumps[n]`` ms ahead."""
    writer = ChainWriter("gw", KEY, boot_id=bytes(16))
    generator = np.random.default_rng(3)
    first = writer.append(Descriptor("gw", "test", "UTC", (METER,)), time_ms=START_MS - 9 * HOUR_MS)
    made = [first] if described_at == 0 else []
    count, ahead = 1000, 0
    for number in range((HOURS + 16) * 4):
        ahead = jumps.get(number, ahead)
        if number == described_at and number:
            made.append(first)
        frame = FrameBuilder(0, 1, 3, 0, 4)
        for poll in range(3):
            time_ms = START_MS - 8 * HOUR_MS + ahead + number * STEP_MS + poll * 300_000
            good = (number, poll) not in {(77, 1), (78, 0)}
            words = (count >> 16, count & 0xFFFF, int(generator.integers(50)), number % 3)
            frame.add(time_ms, STATUS_OK if good else 0xF0, words if good else None, 5 + number % 30)
            count += int(generator.integers(20))
        if number == replaced_at:
            detail = {"device": "m", "series": "energy", "final_reading": count * 0.036, "first_reading": 0.0}
            made.append(writer.append(Event("meter_replaced", detail), time_ms=time_ms))
            count = 0
        if number not in lost:
            made.append(writer.append((frame.build(),), time_ms=time_ms))
    return made


def same(one: SeriesIntervals, other: SeriesIntervals) -> bool:
    columns = [column.name for column in fields(SeriesIntervals) if column.name != "states"]
    equal = all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in columns)
    if one.states is None or other.states is None:
        return equal and one.states is other.states
    return equal and all(
        np.array_equal(getattr(one.states, name), getattr(other.states, name))
        for name in ("interval", "value", "duration_ms")
    )


def parts(made: list[Record], *, tabled: bool) -> Iterator[tuple[list[Payload], list[FrameTable]]]:
    reader = RecordTables()
    for start in range(0, len(made), BLOCK):
        block = made[start : start + BLOCK]
        tables, others = reader.read([one.data for one in block]) if tabled else ([], range(len(block)))
        yield [block[place].payload for place in others], [frame for table in tables for frame in table.frames]


def compare(made: list[Record], *, tabled: bool) -> None:
    descriptors = {one.hash: one.payload.body for one in made if isinstance(one.payload.body, Descriptor)}
    whole = build_intervals([one.payload for one in made], descriptors, START_MS, END_MS)
    known: dict[bytes, Descriptor] = {}
    stream = IntervalStream(START_MS, END_MS, STEP_MS, WANTED, known)
    for payloads, tables in parts(made, tabled=tabled):
        for payload in payloads:
            if isinstance(payload.body, Descriptor):
                known |= descriptors
        stream.add(payloads, tables)
    found = stream.finish(lambda: parts(made, tabled=tabled))
    assert found.keys() == whole.columns.keys()
    for name, columns in found.items():
        assert same(columns, whole.columns[name]), name
    assert stream.skipped == sorted(whole.skipped, key=lambda one: (one.seq, one.reason))


@pytest.mark.parametrize("tabled", [False, True])
def test_a_run_in_order(tabled: bool) -> None:
    compare(chain({}, 0, set(range(100, 140)), 120), tabled=tabled)


@settings(max_examples=25, deadline=None)
@given(
    jumps=st.dictionaries(
        st.integers(0, 300), st.integers(-40 * HOUR_MS, 40 * HOUR_MS).map(lambda ms: ms // 1000 * 1000), max_size=4
    ),
    described_at=st.sampled_from([0, 0, 40, 200]),
    lost=st.sets(st.integers(0, 303), max_size=40),
    replaced_at=st.sampled_from([None, 60, 151]),
    tabled=st.booleans(),
)
def test_clock_steps_and_late_descriptors(
    jumps: dict[int, int], described_at: int, lost: set[int], replaced_at: int | None, tabled: bool
) -> None:
    compare(chain(jumps, described_at, lost, replaced_at), tabled=tabled)


def test_times_that_jump_back_are_read_again_and_only_then() -> None:
    def readings(made: list[Record]) -> int:
        read = 0
        stream = IntervalStream(START_MS, END_MS, STEP_MS, WANTED, {made[0].hash: made[0].payload.body})  # type: ignore[dict-item]

        def again() -> Iterator[tuple[list[Payload], list[FrameTable]]]:
            nonlocal read
            read += 1
            yield from parts(made, tabled=True)

        for payloads, tables in parts(made, tabled=True):
            stream.add(payloads, tables)
        stream.finish(again)
        return read

    assert readings(chain({}, 0, set(), None)) == 0
    assert readings(chain({200: -30 * HOUR_MS}, 0, set(), None)) == 1
