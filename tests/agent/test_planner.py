"""The block planner, by properties."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import PlanError
from agent.models import Limits
from agent.planner import Value, plan, split_at_gaps

values = st.lists(
    st.builds(
        Value,
        function=st.sampled_from([1, 2, 3, 4]),
        address=st.one_of(st.integers(0, 300), st.integers(65_000, 65_532)),
        words=st.sampled_from([1, 2, 4]),
    ),
    min_size=1,
    max_size=60,
)
limits = st.builds(
    Limits, maximum_registers=st.integers(6, 125), maximum_gap=st.integers(0, 125), even_addresses=st.booleans()
)


@given(values, limits)
def test_every_value_is_read_whole_in_exactly_one_block(wanted: list[Value], bounds: Limits) -> None:
    blocks = plan(wanted, bounds)
    served = [value for block in blocks for value in block.values]
    assert sorted(served) == sorted(set(wanted))
    for block in blocks:
        for value in block.values:
            assert value.function == block.function
            assert block.address <= value.address
            assert value.end <= block.end


@given(values, limits)
def test_every_block_keeps_to_the_limits(wanted: list[Value], bounds: Limits) -> None:
    for block in plan(wanted, bounds):
        assert 1 <= block.count <= bounds.maximum_registers
        assert block.end <= 65_536
        if bounds.even_addresses and block.function in (3, 4):
            assert block.address % 2 == 0
            assert block.count % 2 == 0
        read = set()
        for value in block.values:
            read.update(range(value.address, value.end))
        used = sorted(read)
        assert all(later - earlier - 1 <= bounds.maximum_gap for earlier, later in pairwise(used))


@given(values, limits)
def test_no_two_neighbouring_blocks_could_have_been_one(wanted: list[Value], bounds: Limits) -> None:
    for first, second in pairwise(plan(wanted, bounds)):
        if first.function != second.function:
            continue
        last = max(value.end for value in first.values)
        following = second.values[0]
        end = max(last, following.end)
        end += end % 2 if bounds.even_addresses and first.function in (3, 4) else 0
        too_far = following.address - last > bounds.maximum_gap
        assert too_far or end - first.address > bounds.maximum_registers


@given(values, limits)
def test_the_plan_does_not_depend_on_the_order_of_the_values(wanted: list[Value], bounds: Limits) -> None:
    assert plan(wanted, bounds) == plan(wanted[::-1], bounds)


@given(values, limits)
def test_a_split_block_reads_the_same_values_without_gaps(wanted: list[Value], bounds: Limits) -> None:
    for block in plan(wanted, bounds):
        parts = split_at_gaps(block, bounds)
        assert sorted(v for part in parts for v in part.values) == sorted(block.values)
        for part in parts:
            covered = {register for value in part.values for register in range(value.address, value.end)}
            assert part.count - len(covered) <= (2 if bounds.even_addresses else 0)


@given(values, limits, st.lists(st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(0, 300)), max_size=8))
def test_no_block_has_values_on_both_sides_of_a_seam(
    wanted: list[Value], bounds: Limits, seams: list[tuple[int, int]]
) -> None:
    blocks = plan(wanted, bounds, seams)
    assert sorted(value for block in blocks for value in block.values) == sorted(set(wanted))
    for block in blocks:
        addresses = [value.address for value in block.values]
        for function, seam in seams:
            assert function != block.function or not min(addresses) < seam <= max(addresses)


def test_a_value_that_cannot_be_read_within_the_limits_is_an_error() -> None:
    with pytest.raises(PlanError, match=r"raise limits\.maximum_registers"):
        plan([Value(3, 1, 2)], Limits(maximum_registers=3, even_addresses=True))


def test_contiguous_registers_are_combined_to_one_request() -> None:
    """thingsboard-gateway#406, device-modbus-go#629: one request a value instead of one a block."""
    (block,) = plan([Value(3, address, 2) for address in range(0, 100, 2)], Limits())
    assert (block.address, block.count) == (0, 100)
