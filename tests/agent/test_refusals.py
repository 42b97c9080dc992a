"""What becomes of values when a device refuses blocks, by properties: against a device with rules of its own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.models import Limits
from agent.planner import Block, Value, plan
from agent.refusals import (
    EXTRA_REQUESTS,
    FIRST_RETRY_MS,
    LAST_RETRY_MS,
    REFUSALS_BELIEVED,
    Requests,
)

POLL_MS = 10_000
MINUTE_MS = 60_000
NONE = 0
long = settings(max_examples=30, deadline=None)


class Refusing:
    """A device with some registers only, that takes a number of them in one request; an illegal address is code 2."""

    def __init__(self, registers: set[int], longest: int = 125) -> None:
        self.registers = registers
        self.longest = longest
        self.disturbed = False

    def answer(self, block: Block) -> int:
        if self.disturbed:
            self.disturbed = False
            return 3
        if block.count > self.longest or not self.registers.issuperset(range(block.address, block.end)):
            return 2
        return NONE


def poll(requests: Requests, device: Refusing, now_ms: int) -> tuple[set[Value], list[Block]]:
    """Poll once; return the values that were read and the blocks that were refused."""
    read: set[Value] = set()
    refused: list[Block] = []
    waiting = list(requests.due(now_ms))
    asked = len(waiting)
    while waiting:
        block = waiting.pop(0)
        code = device.answer(block)
        if code == NONE:
            read.update(block.values)
            requests.answered(block, now_ms)
            continue
        refused.append(block)
        parts = requests.refused(block, code, now_ms)
        asked += len(parts)
        waiting[:0] = parts
    assert asked <= len(requests.standing) + 2 * EXTRA_REQUESTS
    return read, refused


def registers_of(values: list[Value]) -> set[int]:
    return {register for value in values for register in range(value.address, value.end)}


def apart(values: list[Value]) -> list[Value]:
    """Leave out values that share registers with others."""
    kept: list[Value] = []
    for value in sorted(values):
        if not kept or value.address >= kept[-1].end:
            kept.append(value)
    return kept


values_apart = st.lists(
    st.builds(Value, function=st.just(3), address=st.integers(0, 200), words=st.sampled_from([1, 2, 4])),
    min_size=1,
    max_size=14,
).map(apart)
gaps = st.integers(0, 60).map(lambda gap: Limits(maximum_gap=gap))


@long
@given(values_apart, gaps, st.data())
def test_everything_around_an_illegal_address_is_read_at_every_poll(
    values: list[Value], limits: Limits, data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.sampled_from(values), max_size=3))
    there = [value for value in values if value not in missing]
    device = Refusing(registers_of(there))
    requests = Requests(values, limits)
    for number in range(60):
        read, _ = poll(requests, device, number * POLL_MS)
        assert read == set(there)
    assert {one.value for one in requests.unsupported(60 * POLL_MS)} == missing


@long
@given(values_apart, gaps, st.integers(4, 30))
def test_a_device_that_takes_less_than_its_model_says_is_read_in_full(
    values: list[Value], limits: Limits, longest: int
) -> None:
    device = Refusing(set(range(300)), longest)
    requests = Requests(values, limits)
    for number in range(20):
        read, _ = poll(requests, device, number * POLL_MS)
        assert read == set(values)
    assert requests.unsupported(0) == ()


@long
@given(values_apart, gaps, st.data())
def test_refusals_become_rare_and_never_cease(values: list[Value], limits: Limits, data: st.DataObject) -> None:
    missing = data.draw(st.sets(st.sampled_from(values), min_size=1, max_size=3))
    device = Refusing(registers_of([value for value in values if value not in missing]))
    requests = Requests(values, limits)
    by_hour: Counter[int] = Counter()
    for minute in range(12 * 60):
        _, refused = poll(requests, device, minute * MINUTE_MS)
        by_hour[minute // 60] += len(refused)
    assert all(1 <= by_hour[hour] <= len(values) + len(missing) for hour in range(8, 12)), by_hour


@long
@given(values_apart, gaps, st.data())
def test_what_a_device_has_later_is_read_again_within_an_hour_and_the_plan_is_whole_again(
    values: list[Value], limits: Limits, data: st.DataObject
) -> None:
    missing = data.draw(st.sets(st.sampled_from(values), min_size=1))
    device = Refusing(registers_of([value for value in values if value not in missing]))
    requests = Requests(values, limits)
    for minute in range(200):
        poll(requests, device, minute * MINUTE_MS)
    device.registers = set(range(300))
    for minute in range(200, 200 + LAST_RETRY_MS // MINUTE_MS + 1):
        read, _ = poll(requests, device, minute * MINUTE_MS)
    assert read == set(values)
    assert requests.unsupported(0) == ()
    for minute in range(261, 261 + LAST_RETRY_MS // MINUTE_MS + len(values)):
        poll(requests, device, minute * MINUTE_MS)
    assert requests.standing == plan(values, limits)


@long
@given(values_apart, gaps, st.integers(0, 5))
def test_one_disturbance_costs_nothing_but_the_disturbed_read(values: list[Value], limits: Limits, moment: int) -> None:
    """wb-mqtt-serial#806: an exception that a motor start made up dropped the register for ever."""
    device = Refusing(set(range(300)))
    requests = Requests(values, limits)
    for number in range(6 + len(values) + 2 * FIRST_RETRY_MS // POLL_MS):
        device.disturbed = number == moment
        read, refused = poll(requests, device, number * POLL_MS)
        assert len(refused) == (number == moment)
        lost = set(values) - read
        assert len(lost) <= (number == moment)
    assert requests.standing == plan(values, limits)


any_values = st.lists(
    st.builds(Value, function=st.just(3), address=st.integers(0, 60), words=st.sampled_from([1, 2, 4])),
    min_size=1,
    max_size=14,
)
any_limits = st.builds(
    Limits, maximum_registers=st.integers(6, 125), maximum_gap=st.integers(0, 30), even_addresses=st.booleans()
)


@long
@given(any_values, any_limits, st.sets(st.integers(0, 63), max_size=8))
def test_values_that_overlap_or_share_a_pair_of_registers_are_read_when_they_can_be_read_alone(
    values: list[Value], limits: Limits, missing: set[int]
) -> None:
    device = Refusing(set(range(70)) - missing)
    alone = {value for value in values if device.answer(plan((value,), limits)[0]) == NONE}
    requests = Requests(values, limits)
    for number in range(40):
        read, _ = poll(requests, device, number * POLL_MS)
        assert read <= alone
    assert read == alone
    assert {one.value for one in requests.unsupported(40 * POLL_MS)} == set(values) - alone


def test_a_value_is_believed_to_be_unsupported_only_after_several_refusals_alone() -> None:
    value = Value(4, 7, 2)
    requests = Requests([value], Limits())
    device = Refusing(set())
    for number in range(REFUSALS_BELIEVED):
        assert requests.unsupported(number) == ()
        assert poll(requests, device, number * POLL_MS)[1]
    (found,) = requests.unsupported(2 * POLL_MS)
    assert (found.value, found.exception, found.refusals, found.retry_in_ms) == (value, 2, 3, FIRST_RETRY_MS)
    assert requests.standing == ()
    assert requests.due(3 * POLL_MS) == ()
    assert [block.values for block in requests.due(2 * POLL_MS + FIRST_RETRY_MS)] == [(value,)]


def test_one_missing_register_among_many_is_found_within_one_poll() -> None:
    values = [Value(3, 2 * number, 2) for number in range(60)]
    device = Refusing(set(range(120)) - {70})
    requests = Requests(values, Limits())
    read, refused = poll(requests, device, 0)
    assert set(values) - read == {Value(3, 70, 2)}
    assert len(refused) <= 7
    for number in range(1, REFUSALS_BELIEVED):
        poll(requests, device, number * POLL_MS)
    assert [(block.address, block.count) for block in requests.standing] == [(0, 70), (72, 48)]


def test_of_two_values_at_one_address_only_the_one_that_is_refused_is_left_out() -> None:
    """A device that has a 16-bit value but not the second half of the 32-bit value at the same address."""
    narrow, wide = Value(3, 10, 1), Value(3, 10, 2)
    requests = Requests([narrow, wide], Limits())
    device = Refusing({10})
    for number in range(5):
        assert poll(requests, device, number * POLL_MS)[0] == {narrow}
    assert [one.value for one in requests.unsupported(0)] == [wide]


def test_holding_registers_do_not_suffer_from_input_registers() -> None:
    holding, inputs = Value(3, 0, 2), Value(4, 0, 2)
    requests = Requests([holding, inputs], Limits())
    for number in range(REFUSALS_BELIEVED):
        for block in requests.due(number):
            if block.function == 4:
                requests.refused(block, 1, number)
            else:
                requests.answered(block, number)
    assert [one.value for one in requests.unsupported(0)] == [inputs]
    assert [block.values for block in requests.standing] == [(holding,)]
