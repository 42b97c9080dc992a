"""Which requests read a set of values: pure, no I/O.

Values are merged to blocks as long as a block keeps to the device's limits. The result is minimal in the sense of a
greedy left-to-right merge, which is optimal for intervals on a line when only the length of a block is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from agent.errors import PlanError
from agent.models import Limits

REGISTER_FUNCTIONS = frozenset({3, 4})


@dataclass(frozen=True, order=True, slots=True)
class Value:
    """Where one value stands: ``words`` registers (function 3, 4) or bits (1, 2) from ``address`` on."""

    function: int
    address: int
    words: int

    def __str__(self) -> str:
        what = "registers" if self.function in REGISTER_FUNCTIONS else "bits"
        return f"{what} {self.address} to {self.end - 1} (function {self.function})"

    @property
    def end(self) -> int:
        """The address after the last register."""
        return self.address + self.words


@dataclass(frozen=True, slots=True)
class Block:
    """One request: ``count`` registers or bits from ``address`` on, and the values it serves."""

    function: int
    address: int
    count: int
    values: tuple[Value, ...]

    @property
    def end(self) -> int:
        """The address after the last register."""
        return self.address + self.count

    def __str__(self) -> str:
        return f"{self.count} at {self.address} with function {self.function}"


Seam = tuple[int, int]
"""A function and an address: values from there on are not read together with values that begin before it."""


def plan(values: Iterable[Value], limits: Limits, seams: Collection[Seam] = ()) -> tuple[Block, ...]:
    """Return blocks that read every value whole, sorted by function and address.

    No block is longer than ``limits.maximum_registers``, none bridges more than ``limits.maximum_gap`` unused registers
    between two values or crosses one of ``seams``, and with ``limits.even_addresses`` every start and count of a block
    of registers is even. Raises `PlanError` for a value that cannot be read within the limits.
    """
    blocks: list[Block] = []
    for function, group in groupby(sorted(set(values)), key=lambda value: value.function):
        inside = sorted(address for seam_function, address in seams if seam_function == function)
        blocks.extend(_plan_one_function(list(group), limits, inside))
    return tuple(blocks)


def split_at_gaps(block: Block, limits: Limits) -> tuple[Block, ...]:
    """Return blocks that read the values of ``block`` without bridging any gap between them.

    For a device that answers a bridged block with an exception because it does not have the registers in the gap.
    """
    return plan(block.values, replace(limits, maximum_gap=0))


def _plan_one_function(values: list[Value], limits: Limits, seams: list[int]) -> list[Block]:
    blocks: list[Block] = []
    members: list[Value] = []
    end = 0
    for value in values:
        if members and value.address - end <= limits.maximum_gap and not _crosses(members[0], value, seams):
            merged = _block([*members, value], limits)
            if merged.count <= limits.maximum_registers:
                members.append(value)
                end = max(end, value.end)
                continue
        if members:
            blocks.append(_block(members, limits))
        members, end = [value], value.end
        if (alone := _block(members, limits)).count > limits.maximum_registers:
            raise PlanError(
                f"the {value.words} registers from address {value.address} need a request of {alone.count}, "
                f"the device takes {limits.maximum_registers}; raise limits.maximum_registers"
            )
    if members:
        blocks.append(_block(members, limits))
    return blocks


def _crosses(first: Value, value: Value, seams: list[int]) -> bool:
    return any(first.address < seam <= value.address for seam in seams)


def _block(members: list[Value], limits: Limits) -> Block:
    start, end = members[0].address, max(value.end for value in members)
    if limits.even_addresses and members[0].function in REGISTER_FUNCTIONS:
        start -= start % 2
        end += end % 2
    return Block(members[0].function, start, end - start, tuple(members))
