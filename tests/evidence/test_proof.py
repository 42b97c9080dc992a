from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from evidence.finding import Check
from evidence.intervals import QUARTER_HOUR_MS, SeriesIntervals, StateDurations, build_intervals
from evidence.proof import GatewayRecords, Proof, prove
from evidence.record_block import BLOCK_RECORDS
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.event import Gap
from wire.keys import SigningKey
from wire.record import STATUS_OK, FrameBuilder, Record
from wire.words import WordOrder, WordType

START_MS = 1_751_299_200_000
HOUR_MS = 3_600_000
RECORDS = 2100
END_MS = START_MS + RECORDS * QUARTER_HOUR_MS
ENERGY, POWER, STATE = "gw-01/meter-1/energy", "gw-01/meter-1/power", "gw-01/meter-1/state"


def series(name: str, kind: Any, address: int, type_: WordType) -> Series:
    return Series(name, name, "unit", kind, 3, address, type_, WordOrder.ABCD, 0.036 if kind == "counter" else 1.0)


METER = Device(
    id="meter-1",
    model="model",
    template_hash=bytes(32),
    serial_number="A1",
    protocol="modbus-tcp",
    unit=1,
    ct_ratio=1.0,
    pt_ratio=1.0,
    primary=True,
    interval_ms=300_000,
    series=(
        series("energy", "counter", 0, WordType.UINT32),
        series("power", "gauge", 2, WordType.UINT16),
        series("state", "state", 3, WordType.UINT16),
    ),
)


@dataclass(frozen=True)
class Plant:
    """The chain of a gateway with one record a quarter of an hour, and the intervals made of it."""

    key: SigningKey
    records: list[Record]
    intervals: dict[str, SeriesIntervals]

    def kept(self, *, without: tuple[int, ...] = ()) -> list[tuple[int, bytes]]:
        return [(record.seq, record.data) for record in self.records if record.seq not in without]

    def prove(self, kept: list[tuple[int, bytes]] | None = None, **changes: Any) -> Proof:
        run = GatewayRecords("gw-01", self.key.public, 1, None, self.kept() if kept is None else kept)
        stored = changes.pop("stored", self.intervals)
        return prove([replace(run, **changes)], stored, START_MS, END_MS)


def make_plant(gateway: str = "gw-01", lost: range | None = None) -> Plant:
    key = SigningKey.from_bytes(gateway.encode().ljust(32, b"\x00"))
    writer = ChainWriter(gateway, key, boot_id=bytes(16))
    records = [writer.append(Descriptor(gateway, "test", "Asia/Shanghai", (METER,)), time_ms=START_MS)]
    descriptors = {records[0].hash: Descriptor(gateway, "test", "Asia/Shanghai", (METER,))}
    generator = np.random.default_rng(7)
    count = 1000
    for number in range(RECORDS):
        frame = FrameBuilder(0, 1, 3, 0, 4)
        time_ms = START_MS
        for poll in range(3):
            time_ms = START_MS + number * QUARTER_HOUR_MS + poll * 300_000
            frame.add(time_ms, STATUS_OK, (count >> 16, count & 0xFFFF, int(generator.integers(50)), number % 3), 5)
            count += int(generator.integers(20))
        records.append(writer.append((frame.build(),), time_ms=time_ms))
    if lost is not None:
        by_seq = {record.seq: record for record in records}
        before, last = by_seq[lost.start - 1], by_seq[lost.stop - 1]
        gap = Gap(lost.start, last.seq, before.hash, last.hash, 3 * len(lost), "the spool was full")
        records.append(writer.append(gap.to_event(), time_ms=END_MS))
        records = [record for record in records if record.seq not in lost]
    built = build_intervals([record.payload for record in records], descriptors, START_MS, END_MS)
    return Plant(key, records, built.columns)


@pytest.fixture(scope="module")
def plant() -> Plant:
    return make_plant()


def flip(record: Record, at: int = -100) -> tuple[int, bytes]:
    data = bytearray(record.data)
    data[at] ^= 1
    return record.seq, bytes(data)


def test_untouched_records_and_intervals_are_proven(plant: Plant) -> None:
    proof = plant.prove()
    assert proof.proven
    assert (proof.signature, proof.chain, proof.recomputation) == (Check.PASS,) * 3
    assert (proof.log, proof.timestamp) == (Check.NOT_CHECKED,) * 2
    assert not proof.faults
    assert not proof.notices
    assert proof.records == RECORDS + 1 > 2 * BLOCK_RECORDS
    assert (proof.gateways[0].first_seq, proof.gateways[0].last_seq) == (1, RECORDS + 1)
    assert proof.reasons.keys() == {"log", "timestamp"}


def test_the_json_form_says_it_all(plant: Plant) -> None:
    document = json.loads(json.dumps(plant.prove().to_json(), allow_nan=False))
    assert document["proven"] is True
    assert document["signature"] == document["chain"] == document["recomputation"] == "pass"
    assert document["log"] == document["timestamp"] == "not_checked"
    assert document["reasons"]["log"] == {"en": "no transparency log is configured", "zh": "未配置透明日志"}
    assert document["records"] == RECORDS + 1
    assert document["gateways"] == [
        {"gateway": "gw-01", "records": RECORDS + 1, "first_seq": 1, "last_seq": RECORDS + 1}
    ]


@pytest.mark.parametrize("seq", [1, 2, BLOCK_RECORDS, BLOCK_RECORDS + 1, 777, RECORDS + 1])
def test_a_flipped_byte_is_named_by_its_record(plant: Plant, seq: int) -> None:
    kept = plant.kept()
    kept[seq - 1] = flip(plant.records[seq - 1])
    proof = plant.prove(kept)
    assert not proof.proven
    assert (proof.signature, proof.chain) == (Check.FAIL, Check.FAIL)
    authenticity = [fault for fault in proof.faults if fault.fault != "recomputation-differs"]
    assert [(fault.gateway, fault.seq) for fault in authenticity] == [("gw-01", seq)]
    assert f"record {seq}" in authenticity[0].en
    assert f"第 {seq} 号记录" in authenticity[0].zh


def test_a_record_taken_out_breaks_the_chain_but_no_signature(plant: Plant) -> None:
    proof = plant.prove(plant.kept(without=(700,)))
    assert (proof.signature, proof.chain, proof.recomputation) == (Check.PASS, Check.FAIL, Check.FAIL)
    assert [(fault.seq, fault.fault) for fault in proof.faults[:1]] == [(700, "seq-gap")]
    assert not proof.proven


def test_two_records_that_change_places_break_the_chain(plant: Plant) -> None:
    kept = plant.kept()
    kept[99], kept[100] = (100, kept[100][1]), (101, kept[99][1])
    proof = plant.prove(kept)
    assert (proof.signature, proof.chain) == (Check.PASS, Check.FAIL)
    assert {fault.seq for fault in proof.faults} >= {100}
    assert not proof.proven


def test_another_key_is_not_the_gateway_s(plant: Plant) -> None:
    proof = plant.prove(key=SigningKey.generate().public)
    assert proof.signature == Check.FAIL
    assert {fault.fault for fault in proof.faults} == {"wrong-key", "recomputation-differs"}
    assert not proof.proven


def test_a_signed_gap_is_a_notice_even_when_declared_much_later() -> None:
    lost = range(300, 310)
    plant = make_plant(lost=lost)
    proof = plant.prove()
    assert proof.proven
    assert not proof.faults
    [notice] = proof.notices
    assert (notice.fault, notice.seq) == ("signed-gap", 300)
    assert "300 to 309 (30 samples)" in notice.en
    assert not plant.prove(plant.kept(without=(310,))).proven


def test_a_gap_that_a_record_after_the_run_declares_is_signed_all_the_same() -> None:
    plant = make_plant(lost=range(300, 310))
    run, declaring = plant.kept()[:-1], plant.records[-1].data
    assert plant.prove(run).chain is Check.FAIL
    assert plant.prove(run, event_records=[declaring]).chain is Check.PASS
    assert plant.prove(run, event_records=[flip(plant.records[-1])[1]]).chain is Check.FAIL
    stranger = make_plant("gw-02", lost=range(300, 310)).records[-1].data
    assert plant.prove(run, event_records=[stranger]).chain is Check.FAIL


def test_a_run_that_does_not_reach_the_head_lacks_its_end(plant: Plant) -> None:
    head = (plant.records[-1].seq, plant.records[-1].hash)
    assert plant.prove(head=head).proven
    proof = plant.prove(plant.kept()[:-3], head=head)
    assert (proof.signature, proof.chain) == (Check.PASS, Check.FAIL)
    assert [(fault.seq, fault.fault) for fault in proof.faults[:1]] == [(RECORDS - 1, "tail-missing")]
    assert [fault.fault for fault in plant.prove(head=(head[0], bytes(32))).faults] == ["head-mismatch"]


def test_an_infinite_stored_value_is_no_close_one(plant: Plant) -> None:
    increase = plant.intervals[ENERGY].increase.copy()
    increase[7] = np.inf
    assert not plant.prove(stored={ENERGY: replace(plant.intervals[ENERGY], increase=increase)}).proven


def test_a_series_that_is_read_otherwise_from_a_record_on_is_told() -> None:
    """A transformer ratio that is halved with the retrofit halves the energy: signed, proven, and not to be hidden."""
    key = SigningKey.generate()
    writer = ChainWriter("gw-01", key, boot_id=bytes(16))
    halved = replace(METER, series=(replace(METER.series[0], scale=0.018), *METER.series[1:]))
    records, descriptors = [], {}
    for part, meter in enumerate((METER, halved)):
        descriptor = Descriptor("gw-01", "test", "Asia/Shanghai", (meter,))
        records.append(writer.append(descriptor, time_ms=START_MS))
        descriptors[records[-1].hash] = descriptor
        frame = FrameBuilder(0, 1, 3, 0, 4)
        for poll in range(12):
            frame.add(START_MS + (12 * part + poll) * 300_000, STATUS_OK, (0, 12 * part + poll, 5, 1), 5)
        records.append(writer.append((frame.build(),), time_ms=START_MS))
    built = build_intervals([record.payload for record in records], descriptors, START_MS, START_MS + 2 * HOUR_MS)
    run = GatewayRecords("gw-01", key.public, 1, None, [(record.seq, record.data) for record in records])
    proof = prove([run], built.columns, START_MS, START_MS + 2 * HOUR_MS, units={ENERGY: "unit", POWER: "unit"})
    assert proof.proven
    [notice] = proof.notices
    assert (notice.seq, notice.fault) == (4, "meaning-changed")
    assert notice.en.startswith(ENERGY)
    assert "scale 0.036 → 0.018" in notice.en


def test_a_run_from_the_middle_of_a_chain_needs_its_descriptor(plant: Plant) -> None:
    kept = plant.kept()[400:]
    begin = START_MS + 410 * QUARTER_HOUR_MS
    later = {
        name: SeriesIntervals(
            **{
                field: getattr(intervals, field)[410:]
                for field in SeriesIntervals.__dataclass_fields__
                if field != "states"
            }
        )
        for name, intervals in plant.intervals.items()
        if intervals.states is None
    }
    run = GatewayRecords("gw-01", plant.key.public, 401, plant.records[399].hash, kept)
    descriptor = plant.records[0].data
    assert prove([replace(run, descriptor_records=[descriptor])], later, begin, END_MS).proven

    blind = prove([run], later, begin, END_MS)
    assert (blind.signature, blind.chain, blind.recomputation) == (Check.PASS, Check.PASS, Check.FAIL)
    assert {notice.fault for notice in blind.notices} == {"not-decoded"}

    forged = prove([replace(run, descriptor_records=[flip(plant.records[0])[1]])], later, begin, END_MS)
    assert forged.signature == Check.FAIL
    assert "描述记录" in forged.faults[0].zh

    foreign = prove([replace(run, prev_hash=bytes(32))], later, begin, END_MS)
    assert [(fault.seq, fault.fault) for fault in foreign.faults[:1]] == [(401, "prev-mismatch")]


@pytest.mark.parametrize("column", ["first", "last", "minimum", "maximum", "count", "coverage", "sum", "increase"])
def test_a_changed_stored_value_names_series_and_interval(plant: Plant, column: str) -> None:
    values = getattr(plant.intervals[ENERGY], column).copy()
    values[5] = values[5] + 1 if column == "count" else values[5] * (1 + 1e-8)
    proof = plant.prove(stored=plant.intervals | {ENERGY: replace(plant.intervals[ENERGY], **{column: values})})
    assert (proof.signature, proof.chain, proof.recomputation) == (Check.PASS, Check.PASS, Check.FAIL)
    [fault] = proof.faults
    assert fault.fault == "recomputation-differs"
    assert fault.gateway == "gw-01"
    assert f"{ENERGY}, interval 2025-06-30T17:15:00Z: stored {column} is " in fault.en
    assert not proof.proven


def test_a_changed_state_is_found(plant: Plant) -> None:
    states = plant.intervals[STATE].states
    assert states is not None
    durations = states.duration_ms.copy()
    durations[3] -= 1000
    changed = replace(plant.intervals[STATE], states=StateDurations(states.interval, states.value, durations))
    proof = plant.prove(stored={STATE: changed})
    assert proof.recomputation == Check.FAIL
    assert "stored states is" in proof.faults[0].en


def test_rounding_of_sums_and_means_is_accepted(plant: Plant) -> None:
    power = plant.intervals[POWER]
    assert plant.prove(stored={POWER: replace(power, mean=power.mean * (1 + 1e-12))}).proven
    assert not plant.prove(stored={POWER: replace(power, mean=power.mean * (1 + 1e-6))}).proven


def test_stored_intervals_without_records_are_not_proven(plant: Plant) -> None:
    proof = plant.prove(stored=plant.intervals | {"gw-01/meter-9/energy": plant.intervals[ENERGY]})
    assert proof.recomputation == Check.FAIL
    assert "gw-01/meter-9/energy" in proof.faults[0].en


def test_stored_intervals_that_are_missing_or_misplaced_are_not_proven(plant: Plant) -> None:
    power = plant.intervals[POWER]
    fields = [field for field in SeriesIntervals.__dataclass_fields__ if field != "states"]
    missing = SeriesIntervals(**{field: np.delete(getattr(power, field), 8) for field in fields})
    proof = plant.prove(stored={POWER: missing})
    assert "2025-06-30T18:00:00Z" in proof.faults[0].en
    misplaced = replace(power, time_ms=power.time_ms + 1)
    assert plant.prove(stored={POWER: misplaced}).recomputation == Check.FAIL
    twice = SeriesIntervals(
        **{field: np.insert(getattr(power, field), 8, getattr(power, field)[8]) for field in fields}
    )
    assert plant.prove(stored={POWER: twice}).recomputation == Check.FAIL


@pytest.mark.parametrize("stored", [None, {}], ids=["none", "empty"])
def test_what_was_not_recomputed_is_not_proven(plant: Plant, stored: dict[str, SeriesIntervals] | None) -> None:
    proof = plant.prove(stored=stored)
    assert (proof.signature, proof.chain, proof.recomputation) == (Check.PASS, Check.PASS, Check.NOT_CHECKED)
    assert "recomputation" in proof.reasons
    assert not proof.proven


def test_no_records_prove_nothing(plant: Plant) -> None:
    proof = plant.prove([], stored=None)
    assert (proof.signature, proof.chain) == (Check.NOT_CHECKED, Check.NOT_CHECKED)
    assert not proof.proven


def test_several_gateways_are_proven_together(plant: Plant) -> None:
    other = make_plant("gw-02")
    runs = [
        GatewayRecords("gw-01", plant.key.public, 1, None, plant.kept()),
        GatewayRecords("gw-02", other.key.public, 1, None, other.kept()),
    ]
    assert prove(runs, plant.intervals | other.intervals, START_MS, END_MS).proven
    exchanged = prove([replace(runs[0], records=other.kept()), runs[1]], plant.intervals, START_MS, END_MS)
    assert exchanged.signature == Check.FAIL
    assert {fault.gateway for fault in exchanged.faults} == {"gw-01"}
