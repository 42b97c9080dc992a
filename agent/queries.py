"""What meters are asked by identifier, and how refusals change it: pure, no I/O.

The twin of `agent.planner` and `agent.refusals` for protocols without registers. There is nothing to divide here: a
refused datum is asked for again at the next polls, because one refusal may be a disturbance, and when it goes on at
growing intervals. Nothing is given up for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.refusals import FIRST_RETRY_MS, LAST_RETRY_MS, REFUSALS_BELIEVED


@dataclass(frozen=True, order=True)
class Query:
    """One request: ``request`` as in `wire.answer.AnswerFrame`, to the meter with number ``address``.

    ``fields`` are the series that stand in its answer, as start and length in bytes.
    """

    address: str
    request: bytes
    fields: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"request {self.request.hex(' ').upper()}"


@dataclass(frozen=True, slots=True)
class UnsupportedQuery:
    """A request that the meter refuses, and the error code it does so with."""

    value: Query
    exception: int


@dataclass(slots=True)
class _Refusal:
    exception: int
    refusals: int
    retry_ms: int


class Queries:
    """The requests of one meter; ``now_ms`` is always a time that never steps."""

    def __init__(self, queries: Iterable[Query]) -> None:
        self._queries = tuple(queries)
        self._refused: dict[Query, _Refusal] = {}

    @property
    def standing(self) -> tuple[Query, ...]:
        """What every poll asks: all but what was refused lately."""
        return tuple(query for query in self._queries if query not in self._refused)

    def due(self, now_ms: int) -> tuple[Query, ...]:
        """Return what a poll asks now."""
        refused = self._refused
        return tuple(query for query in self._queries if query not in refused or refused[query].retry_ms <= now_ms)

    def answered(self, query: Query, now_ms: int) -> None:  # noqa: ARG002 - as `agent.refusals.Requests.answered`
        """Take note that the meter has what ``query`` asks for."""
        self._refused.pop(query, None)

    def refused(self, query: Query, exception: int, now_ms: int) -> tuple[Query, ...]:
        """Take note that the meter refuses ``query``; there is nothing to ask instead."""
        refusal = self._refused.setdefault(query, _Refusal(exception, 0, now_ms))
        refusal.exception = exception
        refusal.refusals += 1
        beyond = refusal.refusals - REFUSALS_BELIEVED
        if beyond >= 0:
            refusal.retry_ms = now_ms + min(FIRST_RETRY_MS << min(beyond, 16), LAST_RETRY_MS)
        return ()

    def unsupported(self, now_ms: int) -> tuple[UnsupportedQuery, ...]:  # noqa: ARG002 - as `Requests.unsupported`
        """Return what counts as not supported, in the order of the queries."""
        return tuple(
            UnsupportedQuery(query, self._refused[query].exception)
            for query in self._queries
            if query in self._refused and self._refused[query].refusals >= REFUSALS_BELIEVED
        )
