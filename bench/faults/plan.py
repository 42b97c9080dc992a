"""Which faults come in which order: a seeded shuffle of every kind against every part it can hit."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "kill", "pause", "cut", "stall", "delay", "spoil", "full disk", "clock step", "duplicate", "reorder", "corrupt",
]  # fmt: skip

SHORTEST_S, LONGEST_S = 0.5, 6.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what happens to whom, for how long (s). ``amount`` is what the kind makes of a number in [0, 1)."""

    kind: Kind
    target: str
    seconds: float
    amount: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.seconds:.1f} s"


def faults(possible: Sequence[tuple[Kind, str]], seed: int) -> Iterator[Fault]:
    """Yield faults without end: in each round every (kind, target) of ``possible`` once, in another order."""
    source = random.Random(seed)  # noqa: S311 - reproducible, not secret
    while True:
        deck = list(possible)
        source.shuffle(deck)
        for kind, target in deck:
            yield Fault(kind, target, source.uniform(SHORTEST_S, LONGEST_S), source.random())
