"""How fast one gateway may send: what floods is slowed, so that the others are heard.

A record that comes too fast is not taken: it is confirmed to the broker, where it would stand in the way of the
others, and not acknowledged to the gateway, which keeps it and sends it again later. So nothing is lost, and a gateway
that floods gets in what the pace allows.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ingest.authentication import Message

RECORDS_PER_SECOND = 500
"""What a gateway may send on the long run: ten times what 25,000 series at 1 s of a whole city make in records."""

BURST_RECORDS = 30_000
"""What it may send on top, as after an outage: 80 hours of a record every ten seconds."""

_TOPICS_KEPT = 10_000


class Delivered(Protocol):
    """Something that a broker delivered."""

    @property
    def message(self) -> Message:
        """The message."""


Item = TypeVar("Item", bound=Delivered)


@dataclass(slots=True)
class _Allowance:
    records: float
    at_s: float


class Pace:
    """Sorts deliveries into those that may be taken now and those that come too fast; one allowance a topic.

    The topic is what the broker lets a gateway publish on; whose the record is turns out only when it is verified.

    :param records_per_s: by how many records a second an allowance grows, up to ``burst``.
    :param clock: seconds that never go back.
    """

    def __init__(
        self,
        records_per_s: float = RECORDS_PER_SECOND,
        burst: int = BURST_RECORDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.records_per_s = records_per_s
        self._burst = burst
        self._clock = clock
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def sort_out(self, deliveries: Iterable[Item]) -> tuple[list[Item], list[Item]]:
        """Return the deliveries that may be taken, in order, and those that come too fast."""
        taken: list[Item] = []
        held_back: list[Item] = []
        now_s = self._clock()
        allowances: dict[str, _Allowance] = {}
        for delivery in deliveries:
            topic = delivery.message.topic
            allowance = allowances.get(topic)
            if allowance is None:
                allowance = allowances[topic] = self._allowance(topic, now_s)
            if allowance.records < 1:
                held_back.append(delivery)
            else:
                allowance.records -= 1
                taken.append(delivery)
        return taken, held_back

    def _allowance(self, topic: str, now_s: float) -> _Allowance:
        allowance = self._allowances.get(topic)
        if allowance is None:
            allowance = self._allowances[topic] = _Allowance(self._burst, now_s)
            if len(self._allowances) > _TOPICS_KEPT:
                # Who sends on ever new topics pushes out those that rest; theirs is full again anyway.
                self._allowances.popitem(last=False)
        grown = allowance.records + (now_s - allowance.at_s) * self.records_per_s
        allowance.records, allowance.at_s = min(grown, self._burst), now_s
        self._allowances.move_to_end(topic)
        return allowance


def topics_of(deliveries: Iterable[Delivered]) -> Counter[str]:
    """Return how many of the deliveries came on each topic."""
    return Counter(delivery.message.topic for delivery in deliveries)
