"""What is decided about authentic records, against a history in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import Decision, IncidentKind, Link, decide
from ingest.authentication import Arrival, Message
from ingest.clock_window import DAY_MS, utc_days
from ingest.readings import Interpreter
from store.clocks import GatewayClock
from store.records import ChainHead
from wire.chain import ChainWriter
from wire.event import Event, Gap
from wire.frame import FrameBuilder
from wire.record import ZERO_HASH, ClockState, Record
from wire.topics import record_topic


@dataclass
class Memory:
    """A history that keeps what is decided, as the database does."""

    head: ChainHead = field(default_factory=lambda: ChainHead(0, ZERO_HASH))
    records: dict[int, Record] = field(default_factory=dict)
    spans: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    declared: list[Gap] = field(default_factory=list)
    incidents: list[tuple[IncidentKind, int]] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)
    forks: set[bytes] = field(default_factory=set)
    samples: int = 0
    descriptors: dict[bytes, Interpreter] = field(default_factory=dict)

    def hashes(self, first: int, last: int) -> Mapping[int, bytes]:
        return {seq: record.hash for seq, record in self.records.items() if first <= seq <= last}

    def links(self, first: int, last: int) -> Sequence[Link]:
        return [
            Link(seq, record.hash, record.payload.prev, *self.spans[seq], record.payload.descriptor)
            for seq, record in sorted(self.records.items())
            if first <= seq <= last
        ]

    def gaps(self) -> Iterable[Gap]:
        return self.declared

    def interpreter(self, descriptor_hash: bytes) -> Interpreter | None:
        return self.descriptors.get(descriptor_hash)

    def fork_known(self, record_hash: bytes) -> bool:
        return record_hash in self.forks

    def receive(self, *records: Record) -> Decision:
        """Decide on a batch and keep the outcome."""
        topic = record_topic("gw-01")
        decision = decide(
            "gw-01", [Arrival(record, Message(topic, record.data, record.payload.time_ms)) for record in records], self
        )
        for admitted in decision.records:
            record = admitted.arrival.record
            assert record.seq not in self.records, "stored twice"
            self.records[record.seq] = record
            self.spans[record.seq] = admitted.first_sample_ms, admitted.last_sample_ms
            self.samples += admitted.samples
            if isinstance(record.payload.body, Event) and record.payload.body.name == "gap":
                gap = Gap.from_event(record.payload.body)
                if gap.last < record.seq:
                    self.declared.append(gap)
        self.descriptors.update(decision.interpreters)
        self.incidents.extend((incident.kind, incident.seq) for incident in decision.incidents)
        self.holes.extend(decision.holes)
        self.head = decision.head
        return decision

    def kinds(self) -> list[str]:
        return [kind.value for kind, _ in self.incidents]


def test_records_in_order_move_the_head_without_incident(gateway: Any) -> None:
    memory = Memory()
    decision = memory.receive(*gateway.make(12))
    last = gateway.records[-1]
    assert decision.head == ChainHead(12, last.hash)
    assert memory.incidents == []
    assert memory.samples == 10 * 10 * 2


def test_the_same_records_again_are_duplicates_and_lead_to_the_same_head(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(5))
    decision = memory.receive(*gateway.records, gateway.records[2])
    assert (decision.records, decision.duplicates, decision.head.seq) == ([], 6, 5)
    assert memory.incidents == []


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_order_with_loss_and_duplication_converges_when_sent_again(
    made_once: list[Record], data: st.DataObject
) -> None:
    """Batches of any content, then the agent's rule: send again everything after the acknowledged seq."""
    made = made_once
    memory = Memory()
    indices = st.lists(st.integers(0, len(made) - 1), max_size=12)
    for batch in data.draw(st.lists(indices, max_size=8)):
        memory.receive(*(made[index] for index in batch))
    assert memory.head == ChainHead(_contiguous(memory.records), _hash_at(made, _contiguous(memory.records)))
    memory.receive(*made[memory.head.seq :])
    assert memory.head == ChainHead(len(made), made[-1].hash)
    assert {seq: record.hash for seq, record in memory.records.items()} == {r.seq: r.hash for r in made}
    assert memory.incidents == [], "what is only late is no incident"


def test_a_clock_that_was_set_marks_the_days_of_samples_only(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(2))
    years = 5 * 365 * DAY_MS
    now_ms = gateway.time_ms + DAY_MS // 2 - gateway.time_ms % DAY_MS
    within, across = FrameBuilder(0, 1, 3, 0, 3), FrameBuilder(0, 1, 3, 0, 3)
    within.add(now_ms - years, 0, [0, 1, 2], 3)
    across.add(now_ms - 40 * DAY_MS, 0, [0, 1, 2], 3)
    across.add(now_ms, 0, [0, 2, 2], 3)
    decision = memory.receive(gateway.chain.append((within.build(), across.build()), time_ms=now_ms))
    sampled = (now_ms - years, now_ms - 40 * DAY_MS, now_ms)
    assert decision.dirty_days == {time_ms // DAY_MS * DAY_MS for time_ms in sampled}


def test_a_wild_clock_is_told_and_spoils_nothing_that_is_laid_out_by_time(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(2))
    received_ms = gateway.time_ms
    believed = gateway.frame()
    gateway.time_ms = 4_070_908_800_000  # 2099
    wild = [gateway.chain.append((believed, gateway.frame()), time_ms=gateway.time_ms), *gateway.make(2)]
    arrivals = [Arrival(record, Message(record_topic("gw-01"), record.data, received_ms)) for record in wild]
    decision = decide("gw-01", arrivals, memory)
    mixed, *others = decision.records
    assert (mixed.time_ms, mixed.first_sample_ms, mixed.last_sample_ms) == (
        received_ms,
        believed.times_ms[0],
        believed.times_ms[-1],
    )
    assert [(one.time_ms, one.first_sample_ms, one.samples) for one in others] == [(received_ms, None, 20)] * 2
    assert decision.dirty_days == {received_ms - received_ms % DAY_MS}
    assert {reading.time_ms for reading in decision.latest} == {believed.times_ms[-1]}
    assert decision.head.seq == 5, "in custody and acknowledged"
    (told,) = decision.incidents
    assert (told.kind, told.seq, told.detail["records"]) == (IncidentKind.OUT_OF_WINDOW, 3, 3)


def test_a_signed_meter_change_marks_its_day_without_samples(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(2))
    noon_ms = gateway.time_ms - gateway.time_ms % DAY_MS + DAY_MS // 2
    change = {"device": "meter-1", "series": "energy", "final_reading": 5.0, "first_reading": 0.0}
    decision = memory.receive(gateway.chain.append(Event("meter_replaced", change), time_ms=noon_ms))
    assert decision.dirty_days == {noon_ms - DAY_MS // 2}


def _contiguous(records: Mapping[int, Record]) -> int:
    seq = 0
    while seq + 1 in records:
        seq += 1
    return seq


def _hash_at(made: Sequence[Record], seq: int) -> bytes:
    return made[seq - 1].hash if seq else ZERO_HASH


def test_head_waits_at_a_hole_and_passes_over_what_was_stored_behind_it(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(9)
    memory.receive(*made[:3])
    assert memory.receive(*made[5:7]).head.seq == 3
    assert memory.receive(made[8]).head.seq == 3
    assert memory.holes == [6, 9]
    assert memory.incidents == []
    assert memory.receive(*made[3:5]).head.seq == 7
    assert memory.receive(made[7]).head.seq == 9


def test_a_new_gateway_that_begins_later_than_one_is_a_hole(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(4)
    assert memory.receive(made[3]).head.seq == 0
    assert (memory.holes, memory.incidents) == ([4], [])


def test_samples_are_counted_when_the_descriptor_comes_with_the_batch_in_any_order(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*reversed(gateway.make(4)))
    assert memory.samples == 2 * 10 * 2
    assert memory.incidents == []


def test_failed_reads_are_not_counted_as_samples(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(2))
    decision = memory.receive(gateway.chain.append((gateway.frame(failing=4),), time_ms=gateway.time_ms))
    assert decision.records[0].samples == 6 * 2
    assert [reading.status for reading in decision.latest] == [0xF0, 0xF0]


def test_latest_values_come_from_the_newest_record(gateway: Any) -> None:
    decision = Memory().receive(*gateway.make(5))
    newest = {reading.series: (reading.time_ms, reading.value, reading.unit) for reading in decision.latest}
    at = gateway.time_ms - 1000
    assert newest == {
        "gw-01/meter-1/energy": (at, pytest.approx(0.29), "kWh"),
        "gw-01/meter-1/power": (at, pytest.approx(5.009), "kW"),
    }


def test_second_record_with_one_seq_is_kept_as_a_fork_and_changes_nothing(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(6)
    memory.receive(*made)
    other = _fork(gateway, made[3], made[4].seq)
    decision = memory.receive(other)
    assert decision.head == ChainHead(6, made[-1].hash)
    assert [(i.kind, i.seq, i.data) for i in decision.incidents] == [(IncidentKind.FORK, 5, other.data)]
    memory.forks.add(other.hash)
    assert memory.receive(other).incidents == [], "the same fork sent again is on file already"


def test_of_two_records_with_one_seq_in_a_batch_the_one_that_continues_the_chain_is_stored(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(4)
    memory.receive(*made[:3])
    impostor = _fork(gateway, made[0], made[3].seq)
    decision = memory.receive(impostor, made[3])
    assert memory.records[4].hash == made[3].hash
    assert [(i.kind, i.data) for i in decision.incidents] == [(IncidentKind.FORK, impostor.data)]


def test_record_that_names_another_predecessor_is_stored_with_an_incident(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(3)
    memory.receive(*made)
    odd = _fork(gateway, made[0], 4)
    assert memory.receive(odd).head == ChainHead(4, odd.hash)
    assert memory.incidents == [(IncidentKind.PREVIOUS_MISMATCH, 4)]


def test_wrong_predecessor_behind_a_hole_is_found_when_the_hole_is_filled(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(4)
    odd = _fork(gateway, made[0], 4)
    memory.receive(*made[:2])
    memory.receive(odd)
    assert memory.receive(made[2]).head == ChainHead(4, odd.hash)
    assert memory.incidents == [(IncidentKind.PREVIOUS_MISMATCH, 4)]


def test_record_of_unknown_descriptor_is_stored_and_named(gateway: Any) -> None:
    memory = Memory()
    memory.receive(*gateway.make(2))
    gateway.chain.descriptor = b"\x07" * 32
    decision = memory.receive(*gateway.make(2))
    assert decision.head.seq == 4
    assert memory.samples == 0
    assert [(i.kind, dict(i.detail)) for i in decision.incidents] == [
        (IncidentKind.UNKNOWN_DESCRIPTOR, {"descriptor": "07" * 32, "first": 3, "last": 4})
    ]


def test_unknown_descriptor_behind_a_hole_is_told_when_the_hole_is_filled(gateway: Any) -> None:
    """It might have been in the hole."""
    memory = Memory()
    made = gateway.make(3)
    gateway.chain.descriptor = b"\x07" * 32
    odd = gateway.make(2)
    memory.receive(*made[:2])
    assert memory.receive(*odd).incidents == []
    decision = memory.receive(made[2])
    assert [(i.kind, dict(i.detail)) for i in decision.incidents] == [
        (IncidentKind.UNKNOWN_DESCRIPTOR, {"descriptor": "07" * 32, "first": 4, "last": 5})
    ]


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "one-by-one"])
def test_signed_gap_closes_the_hole_it_names(gateway: Any, together: bool) -> None:
    memory = Memory()
    made = gateway.make(8)
    declaration = _gap(gateway, made, 4, 6)
    arriving = [*made[:3], *made[6:], declaration]
    if together:
        memory.receive(*arriving)
    else:
        for record in arriving:
            memory.receive(record)
    assert memory.head == ChainHead(9, declaration.hash)
    assert memory.kinds() == ["gap-declared"]


def test_gap_declared_before_an_earlier_hole_is_filled_is_used_later(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(8)
    declaration = _gap(gateway, made, 5, 6)
    memory.receive(*made[:2])
    memory.receive(*made[6:], declaration)
    assert memory.head.seq == 2
    memory.receive(*made[2:4])
    assert memory.head == ChainHead(9, declaration.hash)


def test_gap_that_does_not_begin_at_the_stored_record_closes_nothing(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(8)
    wrong = Gap(4, 6, b"\x01" * 32, made[5].hash, 0, "spool full").to_event()
    declaration = gateway.chain.append(wrong, time_ms=gateway.time_ms)
    memory.receive(*made[:3], *made[6:], declaration)
    assert memory.head.seq == 3
    assert "gap-mismatch" in memory.kinds()


def test_gap_over_records_to_come_closes_nothing(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(3)
    memory.receive(*made)
    future = Gap(5, 2**40, made[-1].hash, b"\x01" * 32, 0, "nonsense").to_event()
    assert memory.receive(gateway.chain.append(future, time_ms=gateway.time_ms)).head.seq == 4
    assert memory.kinds() == ["gap-mismatch"]


def test_lost_record_that_turns_up_after_its_gap_is_stored(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(8)
    memory.receive(*made[:3], *made[6:], _gap(gateway, made, 4, 6))
    decision = memory.receive(*made[3:6])
    assert [admitted.arrival.record.seq for admitted in decision.records] == [4, 5, 6]
    assert decision.head.seq == 9


def test_gap_over_records_that_are_here_is_no_news(gateway: Any) -> None:
    """The gateway lost them for another server of its own, which did not take them in time."""
    memory = Memory()
    made = gateway.make(8)
    memory.receive(*made)
    declarations = [_gap(gateway, made, 4, 6), _gap(gateway, made, 4, 7)]
    memory.receive(declarations[0])
    memory.receive(declarations[1], *gateway.make(1))
    assert memory.incidents == []
    assert memory.head.seq == 11


def test_gap_that_ends_with_another_record_than_the_stored_one_is_told(gateway: Any) -> None:
    memory = Memory()
    made = gateway.make(8)
    memory.receive(*made)
    other = Gap(4, 6, made[2].hash, b"\x01" * 32, 0, "spool full").to_event()
    memory.receive(gateway.chain.append(other, time_ms=gateway.time_ms))
    assert memory.kinds() == ["gap-mismatch"]


def test_days_within_an_hour_of_the_samples_become_dirty(gateway: Any) -> None:
    midnight = gateway.time_ms // DAY_MS * DAY_MS + DAY_MS
    memory = Memory()
    memory.receive(*gateway.make(2))
    gateway.time_ms = midnight - 30 * 60_000
    assert memory.receive(*gateway.make(1)).dirty_days == {midnight - DAY_MS, midnight}
    gateway.time_ms = midnight + 12 * 3_600_000
    assert memory.receive(*gateway.make(1)).dirty_days == {midnight}


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [(0, DAY_MS - 1, [0]), (0, DAY_MS, [0, DAY_MS]), (-1, 0, [-DAY_MS, 0]), (5, 5, [0])],
)
def test_days_touched_by_a_span(first: int, last: int, days: list[int]) -> None:
    assert list(utc_days(first, last)) == days


def test_the_newest_new_record_tells_of_the_clock(gateway: Any) -> None:
    memory = Memory()
    chain = ChainWriter("gw-01", gateway.key)
    states = [ClockState(True, 100, 2_000), ClockState(True, -300, 4_000), ClockState(False)]
    made = [
        chain.append(Event("start"), time_ms=gateway.time_ms + 1_000 * n, clock=one) for n, one in enumerate(states)
    ]
    decision = memory.receive(made[1], made[0])
    assert decision.clock == GatewayClock("gw-01", 2, gateway.time_ms + 1_000, True, -300, 4_000)
    assert memory.receive(made[0]).clock is None, "what was here before says nothing new"
    assert memory.receive(made[2]).clock == GatewayClock("gw-01", 3, gateway.time_ms + 2_000, False, None, None)


def _fork(gateway: Any, before: Record, seq: int) -> Record:
    """A second record for place ``seq``, signed by the gateway itself, that names ``before`` as its predecessor."""
    writer = ChainWriter(gateway.id, gateway.key, seq=seq - 1, hash=before.hash, descriptor=gateway.chain.descriptor)
    return writer.append((gateway.frame(),), time_ms=gateway.time_ms + 1)


def _gap(gateway: Any, made: Sequence[Record], first: int, last: int) -> Record:
    """The gateway's declaration that it lost records ``first`` to ``last``, at the end of its chain."""
    gap = Gap(first, last, made[first - 2].hash, made[last - 1].hash, 60, "spool full")
    return gateway.chain.append(gap.to_event(), time_ms=gateway.time_ms)
