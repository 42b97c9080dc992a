"""The account of the fault campaign finds what is lost and what is double, and believes only what is signed."""

from __future__ import annotations

import struct

import pytest

from bench.faults.account import IN_FLIGHT, LATE_READS, account
from bench.faults.plan import LONGEST_S, SHORTEST_S, faults
from wire.event import Event, Gap
from wire.frame import STATUS_OK, STATUS_TIMEOUT, Frame, FrameBuilder
from wire.record import Body, ClockState, Payload

INTERVAL_MS = 200


def frame(device: int, *numbers: int | None) -> tuple[Frame, ...]:
    """Reads of a device: the number of the answer, or None for a read that failed."""
    builder = FrameBuilder(device, 1, 3, 0, 4)
    for index, number in enumerate(numbers):
        time_ms = 1_000 + index * INTERVAL_MS
        if number is None:
            builder.add(time_ms, STATUS_TIMEOUT, None, INTERVAL_MS)
        else:
            builder.add(time_ms, STATUS_OK, struct.unpack(">4H", number.to_bytes(8, "big")), 1)
    return (builder.build(),)


def chain(*bodies: Body, first: int = 1) -> list[Payload]:
    return [
        Payload("gw-01", bytes(16), seq, bytes(32), bytes(32), ClockState(None, None, None), 1_000 * seq, body)
        for seq, body in enumerate(bodies, first)
    ]


def loss(milliseconds: int) -> Event:
    return Event("loss", {"first_ms": 5_000, "last_ms": 5_000 + milliseconds, "reason": "killed"})


def test_everything_on_record_once_is_nothing_lost() -> None:
    result = account("gw-01", chain(frame(0, 1, 2, 3), frame(0, 4, 5)), [5], INTERVAL_MS)
    assert (result.stored, result.declared, result.lost, result.duplicated) == (5, 0, 0, 0)


def test_an_answer_that_is_nowhere_is_lost() -> None:
    result = account("gw-01", chain(frame(0, 1, 2), frame(0, 4)), [4], INTERVAL_MS)
    assert result.lost == 1
    assert result.findings == [
        "gw-01/0: of the answers 3 to 3 1 are missing and not declared (0 failed reads and room for 0 in signed losses)"
    ]


def test_answers_behind_the_last_record_are_lost() -> None:
    assert account("gw-01", chain(frame(0, 1, 2)), [7], INTERVAL_MS).lost == 5


def test_an_answer_on_record_twice_is_double() -> None:
    result = account("gw-01", chain(frame(0, 1, 2), frame(0, 2, 3)), [3], INTERVAL_MS)
    assert (result.stored, result.duplicated, result.lost) == (3, 1, 0)


def test_a_failed_read_covers_one_answer_that_did_not_arrive() -> None:
    assert account("gw-01", chain(frame(0, 1, None, 3)), [3], INTERVAL_MS).declared == 1
    assert account("gw-01", chain(frame(0, 1, None, 4)), [4], INTERVAL_MS).lost == 1


def test_a_request_held_up_by_a_dead_line_may_be_answered_a_few_reads_later() -> None:
    assert account("gw-01", chain(frame(0, 1, None, 2, 4)), [4], INTERVAL_MS).lost == 0
    assert account("gw-01", chain(frame(0, 1, None, 2, 5)), [5], INTERVAL_MS).lost == 1
    later = [*range(2, 3 + LATE_READS), 4 + LATE_READS]
    assert account("gw-01", chain(frame(0, 1, None, *later)), [later[-1]], INTERVAL_MS).lost == 1


def test_a_failed_read_of_another_device_or_elsewhere_covers_nothing() -> None:
    bodies = (frame(0, 1), frame(1, 1, None, 2), frame(0, 3, None, 4))
    result = account("gw-01", chain(*bodies), [4, 2], INTERVAL_MS)
    assert (result.lost, result.duplicated) == (1, 0)


@pytest.mark.parametrize(("beyond", "lost"), [(0, 0), (1, 1)])
def test_a_signed_loss_covers_what_its_time_has_room_for(beyond: int, lost: int) -> None:
    missing = 10 + IN_FLIGHT + beyond
    bodies = (frame(0, 1), loss(10 * INTERVAL_MS), frame(0, missing + 2))
    assert account("gw-01", chain(*bodies), [missing + 2], INTERVAL_MS).lost == lost


def test_records_that_are_missing_must_be_declared_in_a_gap() -> None:
    kept, later = chain(frame(0, 1, 2)), frame(0, 6)
    undeclared = [*kept, *chain(later, first=4)]
    result = account("gw-01", undeclared, [6], INTERVAL_MS)
    assert result.lost == 3
    assert result.findings[0] == "gw-01: record 2 is neither stored nor declared a gap"
    gap = Gap(2, 3, bytes(32), bytes(32), 3, "damaged").to_event()
    result = account("gw-01", [*kept, *chain(later, gap, first=4)], [6], INTERVAL_MS)
    assert (result.lost, result.declared, result.findings) == (0, 3, [])


def test_a_seed_gives_the_same_faults_and_every_kind_in_each_round() -> None:
    possible = [("kill", "broker"), ("pause", "gw-01"), ("cut", "gw-01 to broker")]
    one, other, changed = (faults(possible, seed) for seed in (7, 7, 8))  # type: ignore[arg-type]
    first = [next(one) for _ in range(30)]
    assert first == [next(other) for _ in range(30)]
    assert first != [next(changed) for _ in range(30)]
    for at in range(0, 30, 3):
        assert {(fault.kind, fault.target) for fault in first[at : at + 3]} == set(possible)
    assert all(SHORTEST_S <= fault.seconds <= LONGEST_S for fault in first)
