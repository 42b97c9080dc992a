"""What a device refuses to be asked, and how its values are read all the same: pure, no I/O.

A device answers a request with exception 1, 2 or 3 when one register in it does not exist, when it lies in a hole that
the request bridges, or when the request is too long for it; it does not say which. So a refused block is divided, first
at its holes, then in halves, down to single values; where it was divided a *seam* stays. A value that is refused alone
is asked again at the next polls, because one exception may be a disturbance. Only when it goes on is the value left
out, and asked for at growing intervals; nothing is given up for good, seams are tried again in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.models import Limits
from agent.planner import Block, Seam, Value, plan, split_at_gaps

REFUSALS_BELIEVED = 3
"""So many refusals in a row of a value that was asked for alone, and it counts as unsupported."""

FIRST_RETRY_MS = 60_000
LAST_RETRY_MS = 3_600_000
EXTRA_REQUESTS = 32
"""What one poll may ask beyond its plan, to find out or to try again: the rest of the bus waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A value that the device refuses: with which exception, how often in a row, and in how long it is asked again."""

    value: Value
    exception: int
    refusals: int
    retry_in_ms: int


@dataclass(slots=True)
class _Refusal:
    exception: int
    refusals: int
    retry_ms: int


@dataclass(slots=True)
class _Cut:
    block: Block
    wait_ms: int
    retry_ms: int


class Requests:
    """The requests of one device, adapted to what it refuses.

    ``now_ms`` is always a time that never steps. A poll calls `due`, asks for each block, and reports each answer with
    `answered` or `refused`; the blocks that `refused` returns belong to the same poll.
    """

    def __init__(self, values: Iterable[Value], limits: Limits) -> None:
        self._values = frozenset(values)
        self._limits = limits
        self._refused: dict[Value, _Refusal] = {}
        self._cuts: dict[Seam, _Cut] = {}
        self._extra = 0
        self._standing = plan(self._values, limits)

    @property
    def standing(self) -> tuple[Block, ...]:
        """The blocks of every poll: all values but those that were refused alone."""
        return self._standing

    def unsupported(self, now_ms: int) -> tuple[Unsupported, ...]:
        """Return what counts as unsupported, in the order of function and address."""
        return tuple(
            Unsupported(value, refusal.exception, refusal.refusals, max(0, refusal.retry_ms - now_ms))
            for value, refusal in sorted(self._refused.items())
            if refusal.refusals >= REFUSALS_BELIEVED
        )

    def due(self, now_ms: int) -> tuple[Block, ...]:
        """Return the blocks of a poll: the standing ones, with the oldest seam on trial, and refused values alone."""
        self._extra = EXTRA_REQUESTS
        blocks = self._with_trial(now_ms)
        again = sorted((refusal.retry_ms, value) for value, refusal in self._refused.items())
        retries = [value for retry_ms, value in again if retry_ms <= now_ms][: self._extra]
        self._extra -= len(retries)
        return blocks + tuple(block for value in retries for block in plan((value,), self._limits))

    def answered(self, block: Block, now_ms: int) -> None:
        """Take note that the device has all of ``block``."""
        if not self._refused and not self._cuts:
            return
        returned = [self._refused.pop(value) for value in block.values if value in self._refused]
        joined = [seam for seam in self._cuts if _inside(seam, block)]
        for seam in joined:
            del self._cuts[seam]
        if any(refusal.refusals >= REFUSALS_BELIEVED for refusal in returned):
            # Perhaps the device was not itself before: then the others are there again, too.
            for refusal in self._refused.values():
                refusal.retry_ms = now_ms
        if returned or joined:
            self._replan()

    def refused(self, block: Block, exception: int, now_ms: int) -> tuple[Block, ...]:
        """Take note that the device refuses ``block``; return what to ask instead in the same poll."""
        tried = [cut for seam, cut in self._cuts.items() if _inside(seam, block)]
        for cut in tried:
            cut.wait_ms = min(2 * cut.wait_ms, LAST_RETRY_MS)
            cut.retry_ms = now_ms + cut.wait_ms
        if not tried:
            self._divide(block, exception, now_ms)
        self._replan()
        left = [value for value in block.values if value not in self._refused]
        parts = plan(left, self._limits, self._seams())
        if len(parts) > self._extra:
            return ()
        self._extra -= len(parts)
        return parts

    def _divide(self, block: Block, exception: int, now_ms: int) -> None:
        starts = sorted({value.address for value in block.values})
        if len(starts) == 1:
            self._refuse(max(block.values, key=lambda value: value.words), exception, now_ms)
            return
        parts = split_at_gaps(block, self._limits)
        cuts = [part.values[0].address for part in parts[1:]] or [starts[len(starts) // 2]]
        for address in cuts:
            self._cuts[block.function, address] = _Cut(block, FIRST_RETRY_MS, now_ms + FIRST_RETRY_MS)

    def _refuse(self, value: Value, exception: int, now_ms: int) -> None:
        refusal = self._refused.setdefault(value, _Refusal(exception, 0, now_ms))
        refusal.exception = exception
        refusal.refusals += 1
        beyond = refusal.refusals - REFUSALS_BELIEVED
        if beyond >= 0:
            refusal.retry_ms = now_ms + min(FIRST_RETRY_MS << min(beyond, 16), LAST_RETRY_MS)
        if beyond == 0:
            # The blocks that were divided to find this value are whole again without it.
            self._cuts = {seam: cut for seam, cut in self._cuts.items() if value not in cut.block.values}

    def _with_trial(self, now_ms: int) -> tuple[Block, ...]:
        ready = sorted((cut.retry_ms, seam) for seam, cut in self._cuts.items() if cut.retry_ms <= now_ms)
        for _, seam in ready:
            blocks = plan(self._asked(), self._limits, self._seams() - {seam})
            if any(_inside(seam, block) for block in blocks):
                self._extra -= 1
                return blocks
            del self._cuts[seam]
        return self._standing

    def _replan(self) -> None:
        self._standing = plan(self._asked(), self._limits, self._seams())

    def _asked(self) -> frozenset[Value]:
        return self._values - self._refused.keys()

    def _seams(self) -> frozenset[Seam]:
        return frozenset(self._cuts) | {(value.function, value.address) for value in self._refused}


def _inside(seam: Seam, block: Block) -> bool:
    """Whether ``block`` reads values on both sides of ``seam``."""
    function, address = seam
    addresses = [value.address for value in block.values]
    return block.function == function and min(addresses) < address <= max(addresses)
