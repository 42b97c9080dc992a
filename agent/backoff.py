"""How long to wait before trying again: doubling, bounded and jittered, so that a fleet does not return in step."""

from __future__ import annotations

import random


class Backoff:
    """Waits of ``first_ms``, then twice as long each time up to ``last_ms``.

    Each is shortened at random to a share of it between ``least`` and all: with 0 a fleet spreads over the whole wait.
    """

    def __init__(self, first_ms: int, last_ms: int, source: random.Random, least: float = 0.5) -> None:
        self._first_ms = first_ms
        self._last_ms = last_ms
        self._source = source
        self._least = least
        self._next_ms = first_ms

    def next_ms(self) -> int:
        """Return the next wait in milliseconds."""
        wait = self._next_ms
        self._next_ms = min(2 * wait, self._last_ms)
        return round(wait * self._source.uniform(self._least, 1.0))

    def reset(self) -> None:
        """Begin with the first wait again: it worked."""
        self._next_ms = self._first_ms
