"""Making and checking chains: whatever is done to a run between gateway and reader is seen."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.chain import ChainWriter, verify_run
from wire.errors import RecordError
from wire.event import Event, Gap
from wire.frame import STATUS_OK, STATUS_TIMEOUT, FrameBuilder, frame_from_cbor, frame_to_cbor
from wire.keys import SigningKey
from wire.record import open_record, peek_key_id

KEY = SigningKey(bytes(range(32)))
RUN = [
    record.data
    for writer in [ChainWriter("gw-01", KEY, boot_id=bytes(16))]
    for record in [writer.append(Event("start", {"n": n}), time_ms=n) for n in range(12)]
]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(RUN) - 1), st.data())
def test_any_flipped_bit_is_found_and_named(index: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(RUN[index]) - 1))
    spoilt = bytearray(RUN[index])
    spoilt[position] ^= 1 << data.draw(st.integers(0, 7))
    received = [*RUN[:index], bytes(spoilt), *RUN[index + 1 :]]
    result = verify_run(received, KEY.public, gateway="gw-01")
    assert [fault.seq for fault in result.faults] == [index + 1]
    assert len(result.records) == len(RUN) - 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(RUN) - 1), min_size=1, max_size=16))
def test_only_a_run_in_order_without_holes_is_intact(picked: list[int]) -> None:
    result = verify_run([RUN[index] for index in picked], KEY.public, gateway="gw-01")
    assert result.intact == (picked == list(range(len(picked))))


def test_a_run_continues_where_the_last_one_ended() -> None:
    first = verify_run(RUN[:5], KEY.public, gateway="gw-01")
    second = verify_run(RUN[5:], KEY.public, gateway="gw-01", prev_seq=first.seq, prev_hash=first.hash)
    assert second.intact
    assert second.seq == len(RUN)


def test_a_run_behind_an_unknown_hash_vouches_for_itself() -> None:
    assert verify_run(RUN[5:], KEY.public, gateway="gw-01", prev_seq=5, prev_hash=None).intact


def test_a_record_kept_under_another_number_is_named() -> None:
    result = verify_run(RUN[:3], KEY.public, gateway="gw-01", seqs=[1, 2, 4])
    assert [(fault.seq, fault.fault) for fault in result.faults] == [(4, "seq-mismatch")]


def test_a_signed_gap_explains_exactly_the_records_it_names() -> None:
    writer = ChainWriter("gw-01", KEY, boot_id=bytes(16))
    records = [writer.append(Event("start"), time_ms=n) for n in range(6)]
    gap = Gap(3, 4, records[1].hash, records[3].hash, 0, "spool full")
    records.append(writer.append(gap.to_event(), time_ms=7))
    kept = [r.data for r in records if r.seq not in (3, 4)]
    result = verify_run(kept, KEY.public, gateway="gw-01")
    assert result.intact
    assert result.gaps == [gap]
    without_five = [r.data for r in records if r.seq not in (3, 4, 5)]
    assert [f.fault for f in verify_run(without_five, KEY.public, gateway="gw-01").faults] == ["seq-gap"]


def test_a_gap_declared_elsewhere_counts_too() -> None:
    writer = ChainWriter("gw-01", KEY, boot_id=bytes(16))
    records = [writer.append(Event("start"), time_ms=n) for n in range(4)]
    gap = Gap(2, 2, records[0].hash, records[1].hash, 0, "damaged page")
    kept = [records[0].data, records[2].data, records[3].data]
    assert verify_run(kept, KEY.public, gateway="gw-01", gaps=[gap]).intact


@pytest.mark.parametrize(
    ("kept", "gaps", "intact"),
    [
        pytest.param([1, 2, 9, 10], [(3, 5), (6, 8)], True, id="two gaps, one behind the other"),
        pytest.param([1, 2, 3, 4, 9, 10], [(3, 8)], True, id="the first of the lost records had been sent"),
        pytest.param([1, 2, 7, 8, 9, 10], [(3, 8)], True, id="the last of the lost records had been sent"),
        pytest.param([1, 2, 5, 9, 10], [(3, 8)], True, id="one in the middle had been sent"),
        pytest.param([1, 2, 9, 10], [(3, 5), (7, 8)], False, id="a record between two gaps is missing"),
        pytest.param([1, 2, 10], [(3, 8)], False, id="one more is missing than the gap says"),
        pytest.param([1, 9, 10], [(3, 8)], False, id="the record before the gap is missing"),
    ],
)
def test_gaps_explain_what_is_missing_however_they_lie(
    kept: list[int], gaps: list[tuple[int, int]], intact: bool
) -> None:
    writer = ChainWriter("gw-01", KEY)
    records = [writer.append(Event("start"), time_ms=n) for n in range(10)]
    declared = [Gap(first, last, records[first - 2].hash, records[last - 1].hash, 0, "x") for first, last in gaps]
    datas = [records[seq - 1].data for seq in kept]
    result = verify_run(datas, KEY.public, gateway="gw-01", seqs=kept, gaps=declared)
    assert result.intact == intact
    assert {fault.fault for fault in result.faults} <= {"seq-gap"}


@pytest.mark.parametrize("wrong", ["before", "hash"])
def test_a_gap_that_does_not_fit_the_chain_explains_nothing(wrong: str) -> None:
    writer = ChainWriter("gw-01", KEY)
    records = [writer.append(Event("start"), time_ms=n) for n in range(6)]
    hashes = {"before": records[1].hash, "hash": records[3].hash} | {wrong: bytes(32)}
    gap = Gap(3, 4, hashes["before"], hashes["hash"], 0, "x")
    kept = [record.data for record in records if record.seq not in (3, 4)]
    assert [one.fault for one in verify_run(kept, KEY.public, gateway="gw-01", gaps=[gap]).faults] == ["seq-gap"]


def test_sealing_does_not_move_the_chain_until_it_is_advanced() -> None:
    writer = ChainWriter("gw-01", KEY)
    first = writer.seal(Event("start"), time_ms=1)
    again = writer.seal(Event("start"), time_ms=2)
    assert first.seq == again.seq == 1
    writer.advance(again)
    with pytest.raises(ValueError, match="only the record that seal returned last"):
        writer.advance(first)


def test_a_record_too_large_for_any_reader_is_not_made() -> None:
    builder = FrameBuilder(0, 1, 3, 0, 125)
    noise = iter(SigningKey(bytes(32)).sign(n.to_bytes(4, "big")) for n in range(100_000))
    for time_ms in range(2000):
        block = b"".join(next(noise) for _ in range(4))[:250]
        builder.add(time_ms, STATUS_OK, [int.from_bytes(block[i : i + 2], "big") for i in range(0, 250, 2)], 1)
    with pytest.raises(RecordError, match="oversized"):
        ChainWriter("gw-01", KEY).append((builder.build(),), time_ms=1)


def test_key_id_and_gateway_can_be_read_without_the_key() -> None:
    assert peek_key_id(RUN[0]) == ("gw-01", KEY.public.key_id)
    with pytest.raises(RecordError, match="wrong-key"):
        open_record(RUN[0], SigningKey(bytes(32)).public)


READS = st.lists(
    st.tuples(st.integers(0, 100_000), st.sampled_from([STATUS_OK, 2, 6, STATUS_TIMEOUT]), st.integers(0, 2**32 - 1)),
    min_size=1,
    max_size=40,
)


@given(READS)
def test_a_frame_gives_back_the_reads_it_was_made_of(reads: list[tuple[int, int, int]]) -> None:
    builder = FrameBuilder(0, 1, 4, 0x34, 2)
    expected = []
    now = 1_700_000_000_000
    for delta, status, value in reads:
        now += delta
        words = (value >> 16, value & 0xFFFF) if status == STATUS_OK else None
        builder.add(now, status, words, 5)
        expected.append((now, status, words))
    frame = builder.build()
    assert list(frame.samples()) == expected
    assert frame_from_cbor(frame_to_cbor(frame), "frame") == frame
    assert len(builder) == 0


def test_a_clock_set_back_needs_a_new_frame() -> None:
    builder = FrameBuilder(0, 1, 3, 0, 1)
    builder.add(1000, STATUS_OK, [1], 1)
    with pytest.raises(ValueError, match="clock is set back"):
        builder.add(999, STATUS_OK, [1], 1)
