"""The four verdicts, and the one rule that gives them."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What the evidence says about a target."""

    MET = "met"
    """达成: even the unfavourable end of the interval reaches the target."""
    NOT_MET = "not_met"
    """未达成: even the favourable end of the interval misses the target."""
    NOT_DISTINGUISHABLE = "not_distinguishable"
    """无法区分: the target lies inside the interval."""
    INSUFFICIENT_DATA = "insufficient_data"
    """数据不足: no interval can honestly be given."""


def decide(interval: tuple[float, float] | None, target: float | None, *, higher_is_better: bool = False) -> Verdict:
    """Compare the interval of a change with its target.

    ``interval`` is (low, high) of the change as a fraction, negative = decrease; None when the data do not suffice.
    ``target`` is the change to be reached at least, as a fraction (-0.08 = eight percent less). Without a target the
    change is compared with zero: `MET` then says that a decrease is shown, `NOT_MET` that an increase is shown, and
    `NOT_DISTINGUISHABLE` that neither is. With ``higher_is_better`` (availability, quality ...) everything is read the
    other way round: the target is the rise to be reached at least.
    """
    if interval is None:
        return Verdict.INSUFFICIENT_DATA
    low, high = interval
    if target is None and low == high == 0.0:
        return Verdict.NOT_DISTINGUISHABLE
    limit = 0.0 if target is None else target
    if higher_is_better:
        low, high, limit = -high, -low, -limit
    if high <= limit:
        return Verdict.MET
    if low > limit:
        return Verdict.NOT_MET
    return Verdict.NOT_DISTINGUISHABLE
