"""Two ways to know the same amount, compared day by day.

Meters and sums differ by their accuracy class and by what is sampled in between; that noise is learned from how much
the difference changes from one day to the next, so that neither a steady difference nor a step hides in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evidence.result import ScreenPlace
from evidence.screen import JOINED_DAYS, BoolArray, Subject, joined_runs
from evidence.table import FloatArray, IntArray

MINIMUM_INTERVALS = 4
"""Intervals that a day needs with both sides."""
SPREADS = 6.0
"""A difference is odd beyond so many spreads of its day-to-day changes."""


@dataclass(frozen=True)
class Balance:
    """By local day with enough intervals: ``first`` and ``last`` row, relative ``difference`` (one / other - 1), and
    the ``tolerance`` that applies to all of them."""

    first: IntArray
    last: IntArray
    one: FloatArray
    other: FloatArray
    difference: FloatArray
    tolerance: float

    def places(self, subject: Subject, names: tuple[str, ...], off: BoolArray) -> Iterator[ScreenPlace]:
        """One place for each run of days that are ``off``; its figures are over all days of the place."""
        for begin, end in joined_runs(off, JOINED_DAYS):
            part = slice(begin, end + 1)
            figures = {
                "one": float(self.one[part].sum()),
                "other": float(self.other[part].sum()),
                "difference": float(self.one[part].sum() / self.other[part].sum() - 1.0),
                "tolerance": self.tolerance,
                "days": float(np.count_nonzero(off[part])),
            }
            yield subject.place(names, int(self.first[begin]), int(self.last[end]), figures)


def balance(subject: Subject, one: FloatArray, other: FloatArray, least: float, step: float = 0.0) -> Balance | None:
    """Compare ``one`` with ``other`` (amounts of each row); None when no day has both.

    ``least`` is the smallest tolerance (a fraction), from the accuracy classes; ``step`` what a value is rounded to.
    """
    both = np.isfinite(one) & np.isfinite(other)
    rows = np.flatnonzero(both)
    if not rows.size:
        return None
    days = subject.days[rows]
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    counts = np.diff(np.append(starts, rows.size))
    sums = np.add.reduceat(one[rows], starts), np.add.reduceat(other[rows], starts)
    enough = (counts >= min(MINIMUM_INTERVALS, subject.rows_a_day)) & (np.minimum(*np.abs(sums)) > 20 * step * counts)
    enough &= np.minimum(*sums) > 0.01 * float(np.median(np.maximum(*sums)))
    if not enough.any():
        return None
    first, last = rows[starts][enough], rows[np.append(starts[1:], rows.size) - 1][enough]
    left, right = sums[0][enough], sums[1][enough]
    difference = left / right - 1.0
    changes = np.abs(np.diff(difference))
    spread = float(np.median(changes)) / 0.9539 if changes.size else 0.0
    return Balance(first, last, left, right, difference, max(least, SPREADS * spread))
