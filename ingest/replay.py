"""Records that are stored and come again: which of them are worth a person's look.

Nearly all are ordinary. An agent sends its window again when an acknowledgement is late, a broker delivers again what a
dead worker held, two workers may get the same message, and one that was away for days finds the backlog of its own
session, all of it stored by the other meanwhile. None of this is behind what *this process* has been sent before:

- An agent sends at most `wire.limits.MAXIMUM_WINDOW_RECORDS` ahead of what it knows to be acknowledged. Who has sent
  record n therefore knew of everything up to n minus that window, and needs not send it again.
- Brokers deliver in order but for what is under way, and give that out again after seconds or minutes. What this
  process was sent more than `PATIENCE_MS` ago, and has committed, is under way no more.

So a stored record is a replay when it lies more than a window below a record of the same gateway that this process took
more than `PATIENCE_MS` ago. Only contiguous records count for that: a gap event is sent ahead of its turn. Where the
head of the chain is behind what was taken, the database was restored, and everything begins anew; so it does in a new
process. What is left is a gateway that lost its place (its spool was damaged or brought back from a copy), or somebody
who plays back what was recorded. Nothing is stored twice either way; the bytes are those that are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.authentication import Arrival
from wire.event import Event
from wire.limits import MAXIMUM_WINDOW_RECORDS

REPLAYED = "replayed"
"""Incident, one a gateway and day: records that are stored, and that the gateway knew to be, came again."""

PATIENCE_MS = 3_600_000
"""How long what a broker has under way may come again; `ingest.broker.ACKNOWLEDGE_WAIT` and restarts are far less."""


@dataclass(slots=True)
class _Taken:
    """Up to which record one gateway's were taken: lately, at ``at_ms``, and more than `PATIENCE_MS` before that."""

    seq: int
    at_ms: int
    settled: int = 0


class ReplayWatch:
    """What one process has taken of each gateway. Times are those at which messages were received (ms UTC)."""

    def __init__(self) -> None:
        self._taken: dict[str, _Taken] = {}

    def replayed(self, gateway: str, head_seq: int, repeated: Iterable[Arrival]) -> list[Arrival]:
        """Return those of ``repeated``, stored before, that are replays; ``head_seq`` is the head of the chain."""
        taken = self._taken.get(gateway)
        if taken is None or taken.seq > head_seq:
            return []
        return [
            arrival
            for arrival in repeated
            if arrival.record.seq < _settled(taken, arrival.message.received_ms) - MAXIMUM_WINDOW_RECORDS
        ]

    def note(self, gateway: str, head_seq: int, arrivals: Sequence[Arrival]) -> None:
        """Note ``arrivals`` that are committed now; ``head_seq`` is the head of the chain behind them."""
        in_turn = [arrival for arrival in arrivals if not _is_gap(arrival) and arrival.record.seq <= head_seq]
        if not in_turn:
            return
        seq = max(arrival.record.seq for arrival in in_turn)
        at_ms = max(arrival.message.received_ms for arrival in in_turn)
        taken = self._taken.get(gateway)
        if taken is None or taken.seq > head_seq:
            self._taken[gateway] = _Taken(seq, at_ms)
        elif at_ms - taken.at_ms >= PATIENCE_MS:
            self._taken[gateway] = _Taken(max(seq, taken.seq), at_ms, taken.seq)


def _settled(taken: _Taken, at_ms: int) -> int:
    return taken.seq if at_ms - taken.at_ms >= PATIENCE_MS else taken.settled


def _is_gap(arrival: Arrival) -> bool:
    body = arrival.record.payload.body
    return isinstance(body, Event) and body.name == "gap"
