"""What a meter is asked when it refuses some of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.queries import Queries, Query
from agent.refusals import FIRST_RETRY_MS, LAST_RETRY_MS, REFUSALS_BELIEVED

ENERGY = Query("161", bytes.fromhex("1100000100"), ((0, 4),))
TARIFFS = Query("161", bytes.fromhex("1100FF0100"), ((4, 4), (8, 4)))
POLL_MS = 10_000


def refuse(queries: Queries, query: Query, times: int) -> int:
    """Poll until ``query`` was refused so often; return the time of the last refusal."""
    now_ms = 0
    while times:
        if query in queries.due(now_ms):
            assert queries.refused(query, 2, now_ms) == ()
            times -= 1
        now_ms += POLL_MS
    return now_ms - POLL_MS


def test_one_refusal_changes_nothing_for_the_next_poll() -> None:
    queries = Queries((ENERGY, TARIFFS))
    refuse(queries, TARIFFS, 1)
    assert queries.due(POLL_MS) == (ENERGY, TARIFFS)
    assert queries.unsupported(POLL_MS) == ()


def test_what_is_refused_again_and_again_is_asked_at_growing_intervals_and_never_given_up() -> None:
    queries = Queries((ENERGY, TARIFFS))
    now_ms = refuse(queries, TARIFFS, REFUSALS_BELIEVED)
    assert [(one.value, one.exception) for one in queries.unsupported(now_ms)] == [(TARIFFS, 2)]
    waits = []
    for _ in range(10):
        wait = 0
        while TARIFFS not in queries.due(now_ms + wait):
            wait += 1_000
        waits.append(wait)
        now_ms += wait
        queries.refused(TARIFFS, 2, now_ms)
    assert waits[0] == FIRST_RETRY_MS
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RETRY_MS
    assert queries.standing == (ENERGY,)


def test_an_answer_brings_a_request_back_at_once() -> None:
    queries = Queries((ENERGY, TARIFFS))
    now_ms = refuse(queries, TARIFFS, REFUSALS_BELIEVED)
    queries.answered(TARIFFS, now_ms)
    assert queries.standing == (ENERGY, TARIFFS)
    assert queries.unsupported(now_ms) == ()


@given(st.lists(st.tuples(st.sampled_from((ENERGY, TARIFFS)), st.booleans()), max_size=40))
def test_what_answers_is_asked_at_every_poll(history: list[tuple[Query, bool]]) -> None:
    queries = Queries((ENERGY, TARIFFS))
    last = dict.fromkeys((ENERGY, TARIFFS), True)
    for step, (query, good) in enumerate(history):
        now_ms = step * POLL_MS
        if query not in queries.due(now_ms):
            continue
        if good:
            queries.answered(query, now_ms)
        else:
            queries.refused(query, 1, now_ms)
        last[query] = good
    answering = {query for query, good in last.items() if good}
    assert answering <= set(queries.due(len(history) * POLL_MS))
    assert answering == set(queries.standing)
