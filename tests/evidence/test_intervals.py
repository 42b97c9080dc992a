from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.errors import IntervalError
from evidence.intervals import (
    MARGIN_MS,
    QUARTER_HOUR_MS,
    IntervalSet,
    SeriesIntervals,
    build_intervals,
    complete_values,
)
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.record import STATUS_OK, STATUS_TIMEOUT, ZERO_HASH, Body, ClockState, FrameBuilder, Payload
from wire.words import WordOrder, WordType

START_MS = 1_751_299_200_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
ENERGY, POWER, STATE = "gw-01/meter-1/energy", "gw-01/meter-1/power", "gw-01/meter-1/state"
Reading = tuple[int, int, int, int]
"""Time, count of the energy register, power in W, state."""


def series(name: str, kind: Any, address: int, type_: WordType, **fields: Any) -> Series:
    return Series(name, name, "unit", kind, 3, address, type_, WordOrder.ABCD, **fields)


def meter(interval_ms: int = MINUTE_MS, serial_number: str = "A1", **energy: Any) -> Descriptor:
    energy = {"scale": 0.036, **energy}
    device = Device(
        id="meter-1",
        model="model",
        template_hash=bytes(32),
        serial_number=serial_number,
        protocol="modbus-tcp",
        unit=1,
        ct_ratio=1.0,
        pt_ratio=1.0,
        primary=True,
        interval_ms=interval_ms,
        series=(
            series("energy", "counter", 0, WordType.UINT32, **energy),
            series("power", "gauge", 2, WordType.UINT16, scale=0.001, invalid=(0xFFFF,)),
            series("state", "state", 3, WordType.UINT16),
        ),
    )
    return Descriptor("gw-01", "test", "Asia/Shanghai", (device,))


@dataclass
class Chain:
    """Payloads of one gateway as they would come out of its records."""

    payloads: list[Payload]
    descriptors: dict[bytes, Descriptor]

    @classmethod
    def begin(cls) -> Chain:
        return cls([], {})

    def descriptor(self, descriptor: Descriptor) -> Chain:
        self.descriptors[bytes([len(self.descriptors) + 1]) * 32] = descriptor
        return self._append(descriptor, START_MS)

    def event(self, event: Event, time_ms: int) -> Chain:
        return self._append(event, time_ms)

    def readings(self, readings: list[Reading], per_record: int = 10) -> Chain:
        for first in range(0, len(readings), per_record):
            builder = FrameBuilder(0, 1, 3, 0, 4)
            for time_ms, count, power, state in readings[first : first + per_record]:
                builder.add(time_ms, STATUS_OK, (count >> 16, count & 0xFFFF, power, state), 5)
            self._append((builder.build(),), readings[min(first + per_record, len(readings)) - 1][0])
        return self

    def _append(self, body: Body, time_ms: int) -> Chain:
        descriptor = list(self.descriptors)[-1] if self.descriptors else ZERO_HASH
        seq = len(self.payloads) + 1
        self.payloads.append(Payload("gw-01", bytes(16), seq, bytes(32), descriptor, ClockState(), time_ms, body))
        return self

    def build(self, from_ms: int = START_MS, hours: float = 1, step_ms: int = QUARTER_HOUR_MS) -> IntervalSet:
        return build_intervals(self.payloads, self.descriptors, from_ms, from_ms + int(hours * HOUR_MS), step_ms)


def every_minute(minutes: int, first: int = 0, base: int = 1000, rise: int = 7) -> list[Reading]:
    return [(START_MS + i * MINUTE_MS, base + rise * i, 5000, i // 10 % 3) for i in range(first, minutes)]


def assert_equal(ours: IntervalSet, theirs: IntervalSet) -> None:
    assert ours.columns.keys() == theirs.columns.keys()
    for name, intervals in ours.columns.items():
        assert_same(intervals, theirs.columns[name])
    assert ours.anomalies == theirs.anomalies


def assert_same(ours: SeriesIntervals, theirs: SeriesIntervals) -> None:
    for field in ("time_ms", "first", "last", "minimum", "maximum", "sum", "count", "mean", "increase", "coverage"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)
    assert (ours.states is None) == (theirs.states is None)
    if ours.states is not None and theirs.states is not None:
        np.testing.assert_array_equal(ours.states.interval, theirs.states.interval)
        np.testing.assert_array_equal(ours.states.value, theirs.states.value)
        np.testing.assert_array_equal(ours.states.duration_ms, theirs.states.duration_ms)


def test_an_hour_of_readings_every_minute() -> None:
    built = Chain.begin().descriptor(meter()).readings(every_minute(61)).build()
    energy, power, state = (built.columns[name] for name in (ENERGY, POWER, STATE))
    assert built.gateway == "gw-01"
    assert energy.time_ms.tolist() == [START_MS + i * QUARTER_HOUR_MS for i in range(4)]
    assert energy.increase.tolist() == [105 * 0.036] * 4
    assert energy.coverage.tolist() == [1.0] * 4
    assert energy.count.tolist() == [15] * 4
    assert energy.first.tolist() == [(1000 + 105 * i) * 0.036 for i in range(4)]
    assert energy.last.tolist() == [(1000 + 105 * i + 98) * 0.036 for i in range(4)]
    assert np.isnan(energy.mean).all()
    assert power.mean.tolist() == [5.0] * 4
    assert np.isnan(power.increase).all()
    assert state.states is not None
    assert state.states.of(0) == {0: 10 * MINUTE_MS, 1: 5 * MINUTE_MS}
    assert state.states.of(3) == {1: 5 * MINUTE_MS, 2: 10 * MINUTE_MS}
    assert state.states.duration_of(1, 4).tolist() == [5 * MINUTE_MS] * 4
    assert not built.anomalies
    assert not built.skipped


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.integers(0, 2**31))
def test_aligned_pulses_of_0_036_kwh_are_exact(pulses: list[int], base: int) -> None:
    counts = base + np.cumsum([0, *pulses])
    readings = [(START_MS + i * QUARTER_HOUR_MS, int(count), 0, 0) for i, count in enumerate(counts)]
    built = Chain.begin().descriptor(meter(QUARTER_HOUR_MS)).readings(readings).build(hours=1.25)
    assert built.columns[ENERGY].increase.tolist() == [pulse * 0.036 for pulse in pulses]


steps = st.lists(st.tuples(st.integers(1, 170), st.integers(0, 40), st.integers(0, 60_000)), min_size=1, max_size=120)


def jittered(taken: list[tuple[int, int, int]], offset_s: int = -300) -> list[Reading]:
    time_ms, count, readings = START_MS + offset_s * 1000, 1000, []
    for wait_s, pulses, power in taken:
        readings.append((time_ms, count, power, power % 4))
        time_ms, count = time_ms + wait_s * 1000, count + pulses
    return readings


@given(steps)
def test_increase_mean_and_coverage_equal_an_independent_computation(taken: list[tuple[int, int, int]]) -> None:
    """The oracle interpolates the readings at every second instead of cutting segments."""
    readings = jittered(taken)
    built = Chain.begin().descriptor(meter()).readings(readings).build()
    times = (np.array([r[0] for r in readings]) - START_MS) // 1000
    known = (times[0], times[-1])
    edges = [np.clip([900 * i, 900 * i + 900], *known) for i in range(4)]
    counts, powers = (np.array([r[k] for r in readings], dtype=np.float64) for k in (1, 2))
    for i, (first, last) in enumerate(edges):
        energy, power = built.columns[ENERGY], built.columns[POWER]
        assert energy.coverage[i] == power.coverage[i] == (last - first) / 900
        if last == first:
            assert np.isnan(energy.increase[i])
            assert np.isnan(power.mean[i])
            continue
        rise = np.interp(last, times, counts) - np.interp(first, times, counts)
        assert energy.increase[i] == pytest.approx(rise * 0.036, rel=1e-9, abs=1e-9)
        seconds = np.interp(np.arange(first, last + 1), times, powers)
        mean = np.trapezoid(seconds) / (last - first) * 0.001
        assert power.mean[i] == pytest.approx(mean, rel=1e-9, abs=1e-9)


@given(steps, st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS]))
def test_increases_of_any_partition_add_up_to_the_same_total(taken: list[tuple[int, int, int]], step_ms: int) -> None:
    chain = Chain.begin().descriptor(meter()).readings(jittered(taken, offset_s=0))
    total = np.nansum(chain.build(hours=6).columns[ENERGY].increase)
    parts = chain.build(hours=6, step_ms=step_ms).columns[ENERGY].increase
    counted = sum(pulses for _, pulses, _ in taken[:-1]) * 0.036
    assert np.nansum(parts) == pytest.approx(total, rel=1e-12, abs=1e-12)
    assert total == pytest.approx(counted, rel=1e-12, abs=1e-12)


@given(steps, st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(taken: list[tuple[int, int, int]], shuffler: random.Random) -> None:
    chain = Chain.begin().descriptor(meter()).readings(jittered(taken), per_record=3)
    shuffled = list(chain.payloads)
    shuffler.shuffle(shuffled)
    assert_equal(Chain(shuffled, chain.descriptors).build(), chain.build())


@given(steps, st.integers(1, 50))
def test_how_readings_are_divided_among_records_does_not_matter(
    taken: list[tuple[int, int, int]], per_record: int
) -> None:
    together = Chain.begin().descriptor(meter()).readings(jittered(taken), per_record=1000)
    apart = Chain.begin().descriptor(meter()).readings(jittered(taken), per_record=per_record)
    assert_equal(apart.build(), together.build())


@given(steps)
def test_records_received_twice_do_not_matter(taken: list[tuple[int, int, int]]) -> None:
    chain = Chain.begin().descriptor(meter()).readings(jittered(taken), per_record=4)
    assert_equal(Chain(chain.payloads * 2, chain.descriptors).build(), chain.build())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_part_of_the_range_comes_out_bit_for_bit_the_same(seed: int) -> None:
    """With anomalies, failed reads and two poll intervals; records reach the margin beyond the part and no further."""
    generator = np.random.default_rng(seed)
    chain = Chain.begin().descriptor(meter(maximum_rate=None))
    time_ms, count, readings = START_MS, 10_000, []
    for i in range(1200):
        time_ms += int(generator.integers(50_000, 70_000))
        count += int(generator.integers(0, 30))
        if generator.random() < 0.005:
            time_ms += 20 * MINUTE_MS
        if generator.random() < 0.002:
            count = 0
        shown = int(generator.choice([0, 2**31])) if generator.random() < 0.01 else count
        readings.append((time_ms, shown, int(generator.integers(0, 60_000)), int(generator.integers(0, 4))))
        if i == 600:
            chain.readings(readings).descriptor(meter(30_000))
            readings = []
    chain.readings(readings)
    whole = chain.build(hours=16)
    for quarter in (16, 30, 44):
        from_ms, to_ms = START_MS + quarter * QUARTER_HOUR_MS, START_MS + (quarter + 12) * QUARTER_HOUR_MS
        near = [
            payload
            for payload in chain.payloads
            if any(
                from_ms - MARGIN_MS <= time_ms <= to_ms + MARGIN_MS
                for frame in payload.frames
                for time_ms in frame.times_ms
            )
        ]
        part = Chain(near, chain.descriptors).build(from_ms, hours=3)
        for name, intervals in part.columns.items():
            rows = slice(quarter, quarter + 12)
            for field in ("first", "last", "minimum", "maximum", "sum", "count", "mean", "increase", "coverage"):
                expected = getattr(whole.columns[name], field)[rows]
                np.testing.assert_array_equal(getattr(intervals, field), expected, err_msg=f"{name} {field}")


def test_a_gap_is_neither_energy_nor_zero() -> None:
    readings = [r for r in every_minute(61) if not START_MS + 10 * MINUTE_MS < r[0] < START_MS + 50 * MINUTE_MS]
    built = Chain.begin().descriptor(meter()).readings(readings).build()
    for name in (ENERGY, POWER, STATE):
        assert built.columns[name].coverage.tolist() == pytest.approx([10 / 15, 0, 0, 10 / 15])
    energy = built.columns[ENERGY]
    assert energy.increase.tolist() == pytest.approx([70 * 0.036, np.nan, np.nan, 70 * 0.036], nan_ok=True)
    assert np.isnan(complete_values(energy, "increase")).all()
    assert built.columns[POWER].mean.tolist() == pytest.approx([5, np.nan, np.nan, 5], nan_ok=True)
    state = built.columns[STATE].states
    assert state is not None
    assert [sum(state.of(i).values()) for i in range(4)] == [10 * MINUTE_MS, 0, 0, 10 * MINUTE_MS]


def test_complete_values_are_those_known_to_99_percent() -> None:
    built = Chain.begin().descriptor(meter()).readings(every_minute(61)).build()
    energy = replace(built.columns[ENERGY], coverage=np.array([1.0, 0.99, 0.989, 0.0]))
    expected = [105 * 0.036, 105 * 0.036, np.nan, np.nan]
    assert complete_values(energy, "increase").tolist() == pytest.approx(expected, nan_ok=True)
    power = replace(built.columns[POWER], coverage=np.array([0.5, 1.0, 1.0, 1.0]))
    assert complete_values(power, "mean").tolist() == pytest.approx([np.nan, 5, 5, 5], nan_ok=True)


def test_failed_reads_and_invalid_values_are_no_readings() -> None:
    chain = Chain.begin().descriptor(meter())
    builder = FrameBuilder(0, 1, 3, 0, 4)
    for i in range(16):
        words = None if i == 3 else (0, 100 + i, 0xFFFF if i in (5, 6) else 2000, 1)
        builder.add(START_MS + i * MINUTE_MS, STATUS_TIMEOUT if i == 3 else STATUS_OK, words, 5)
    chain.payloads.append(replace(chain.payloads[0], seq=2, descriptor=b"\x01" * 32, body=(builder.build(),)))
    built = chain.build(hours=0.25)
    assert built.columns[ENERGY].count.tolist() == [14]
    assert built.columns[ENERGY].increase.tolist() == [15 * 0.036]
    assert built.columns[POWER].count.tolist() == [12]
    assert built.columns[POWER].maximum.tolist() == [2.0]
    assert built.columns[POWER].coverage.tolist() == [1.0]


def test_a_glitch_is_reported_and_is_no_extreme() -> None:
    readings = every_minute(61)
    time_ms, count, power, state = readings[20]
    readings[20] = (time_ms, 1_491_666, power, state)
    built = Chain.begin().descriptor(meter()).readings(readings).build()
    energy = built.columns[ENERGY]
    assert energy.increase.tolist() == pytest.approx([105 * 0.036] * 4)
    assert energy.maximum[1] == (1000 + 7 * 29) * 0.036
    assert energy.count.tolist() == [15, 14, 15, 15]
    [anomaly] = built.anomalies
    assert (anomaly.series, anomaly.kind, anomaly.time_ms) == (ENERGY, "glitch", time_ms)
    assert (anomaly.before, anomaly.after) == pytest.approx(((count - 7) * 0.036, 53_699.976))


def test_a_new_poll_interval_does_not_interrupt_a_series() -> None:
    slow = [reading for reading in every_minute(61, first=30) if reading[0] % (5 * MINUTE_MS) == 0]
    chain = Chain.begin().descriptor(meter()).readings(every_minute(30))
    built = chain.descriptor(meter(5 * MINUTE_MS)).readings(slow).build()
    assert built.columns[ENERGY].increase.tolist() == pytest.approx([105 * 0.036] * 4)
    assert built.columns[ENERGY].coverage.tolist() == [1.0] * 4
    assert not built.anomalies


@pytest.mark.parametrize("at", [29, 30], ids=["last reading before", "first reading after"])
def test_a_glitch_beside_a_new_poll_interval_is_never_energy(at: int) -> None:
    readings = every_minute(61)
    readings[at] = (readings[at][0], 1_491_666, 5000, 0)
    chain = Chain.begin().descriptor(meter()).readings(readings[:30])
    built = chain.descriptor(meter(30_000)).readings(readings[30:]).build()
    assert built.columns[ENERGY].increase.tolist() == pytest.approx([105 * 0.036] * 4)
    assert [anomaly.kind for anomaly in built.anomalies] == ["glitch"]


def test_a_new_scale_is_not_energy() -> None:
    """A transformer ratio that was wrong is corrected: every count means twice as much from then on."""
    chain = Chain.begin().descriptor(meter(scale=0.01)).readings(every_minute(30))
    built = chain.descriptor(meter(scale=0.02)).readings(every_minute(61, first=30)).build()
    energy = built.columns[ENERGY]
    assert energy.increase.tolist() == pytest.approx([1.05, 0.98, 2.1, 2.1])
    assert energy.coverage.tolist() == pytest.approx([1, 14 / 15, 1, 1])
    [anomaly] = built.anomalies
    assert (anomaly.kind, anomaly.before, anomaly.after) == ("meter_changed", pytest.approx(12.03), pytest.approx(24.2))


@pytest.mark.parametrize("declared", [True, False], ids=["signed event", "no event"])
def test_another_meter_is_bridged_only_by_a_signed_event(declared: bool) -> None:
    chain = Chain.begin().descriptor(meter(scale=0.01)).readings(every_minute(30))
    if declared:
        detail: dict[str, int | float | str | bytes] = {
            "device": "meter-1",
            "series": "energy",
            "final_reading": 12.06,
            "first_reading": 0.0,
        }
        chain.event(Event("meter_replaced", detail), START_MS + 29 * MINUTE_MS + 30_000)
    chain.descriptor(meter(scale=0.1, serial_number="B2"))
    built = chain.readings([(START_MS + (30 + i) * MINUTE_MS, i, 5000, 0) for i in range(31)]).build()
    energy = built.columns[ENERGY]
    assert energy.increase.tolist() == pytest.approx([1.05, 1.01 if declared else 0.98, 1.5, 1.5])
    assert energy.coverage.tolist() == pytest.approx([1, 1 if declared else 14 / 15, 1, 1])
    assert [anomaly.kind for anomaly in built.anomalies] == ["replacement" if declared else "meter_changed"]
    assert not built.skipped


def test_a_meter_change_that_is_stated_days_later_bridges_nothing() -> None:
    """A day computed alone would not see the statement, the same day within a year would: it must not matter."""
    chain = Chain.begin().descriptor(meter(scale=0.01)).readings(every_minute(30))
    chain.descriptor(meter(scale=0.1, serial_number="B2"))
    chain.readings([(START_MS + (30 + i) * MINUTE_MS, i, 5000, 0) for i in range(31)])
    detail: dict[str, int | float | str | bytes] = {
        "device": "meter-1",
        "series": "energy",
        "final_reading": 12.06,
        "first_reading": 0.0,
        "time_ms": START_MS + 29 * MINUTE_MS + 30_000,
    }
    built = chain.event(Event("meter_replaced", detail), START_MS + 3 * 86_400_000).build()
    assert built.columns[ENERGY].increase.tolist() == pytest.approx([1.05, 0.98, 1.5, 1.5])
    assert [one.reason for one in built.skipped] == ["a meter change has to be stated within an hour of it"]


def test_records_that_cannot_be_read_are_reported_and_not_guessed() -> None:
    chain = Chain.begin().descriptor(meter()).readings(every_minute(61), per_record=20)
    chain.payloads[2] = replace(chain.payloads[2], descriptor=b"\xee" * 32)
    frame = chain.payloads[3].frames[0]
    chain.payloads[3] = replace(chain.payloads[3], body=(replace(frame, device=7),))
    chain.event(Event("meter_replaced", {"device": "meter-1", "serial_before": "A1", "serial_after": "B2"}), START_MS)
    chain.event(Event("meter_replaced", {"device": "meter-1", "final_reading": 1.0}), START_MS)
    built = chain.build()
    assert built.columns[ENERGY].count.tolist() == [15, 5, 0, 0]
    assert [(one.seq, one.reason) for one in built.skipped] == [
        (3, "its descriptor eeeeeeeeeeeeeeee is not known"),
        (4, "it names device 7, its descriptor has 1"),
        (7, "a meter change with a reading needs device, series, final_reading and first_reading"),
    ]


def test_a_range_of_broken_steps_is_refused() -> None:
    with pytest.raises(IntervalError, match="choose whole intervals"):
        build_intervals([], {}, START_MS, START_MS + QUARTER_HOUR_MS + 1)


def test_records_of_two_gateways_are_refused() -> None:
    chain = Chain.begin().descriptor(meter())
    other = replace(chain.payloads[0], gateway="gw-02")
    with pytest.raises(IntervalError, match="gw-01, gw-02"):
        build_intervals([*chain.payloads, other], chain.descriptors, START_MS, START_MS + HOUR_MS)


def test_no_records_give_no_series() -> None:
    assert not build_intervals([], {}, START_MS, START_MS + HOUR_MS).columns


def test_lists_of_a_database_give_the_intervals_back() -> None:
    built = Chain.begin().descriptor(meter()).readings(every_minute(40)).build()

    @dataclass
    class Lists:
        time_ms: list[int]
        first: list[float | None]
        last: list[float | None]
        minimum: list[float | None]
        maximum: list[float | None]
        sum: list[float | None]
        count: list[int]
        mean: list[float | None]
        increase: list[float | None]
        coverage: list[float]
        states: list[dict[str, int] | None]

    for intervals in built.columns.values():
        columns: dict[str, Any] = {
            name: [None if value != value else value for value in getattr(intervals, name).tolist()]  # noqa: PLR0124
            for name in Lists.__dataclass_fields__
            if name != "states"
        }
        states = intervals.states
        columns["states"] = [
            None if states is None else {str(state): ms for state, ms in states.of(i).items()} for i in range(4)
        ]
        assert_same(SeriesIntervals.from_lists(Lists(**columns)), intervals)
