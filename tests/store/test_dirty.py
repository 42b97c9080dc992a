from __future__ import annotations

from store.database import Connection, connect
from store.dirty import claim_dirty, dirty_count, dirty_days, finish_dirty, mark_dirty

DAY = 86_400_000
MONDAY = 20_000 * DAY
TUESDAY = MONDAY + DAY


def test_a_day_is_claimed_once_however_often_it_was_marked(conn: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY, MONDAY])
    mark_dirty(conn, "gw-01", [MONDAY])
    assert dirty_count(conn) == 1
    claim = claim_dirty(conn)
    assert claim is not None
    assert (claim.gateway, claim.day_ms) == ("gw-01", MONDAY)
    finish_dirty(conn, claim)
    assert dirty_count(conn) == 0
    assert claim_dirty(conn) is None


def test_the_day_that_waited_longest_comes_first(conn: Connection) -> None:
    mark_dirty(conn, "gw-01", [TUESDAY])
    mark_dirty(conn, "gw-02", [MONDAY])
    mark_dirty(conn, "gw-01", [MONDAY, TUESDAY])
    done = []
    while (claim := claim_dirty(conn)) is not None:
        done.append((claim.gateway, claim.day_ms))
        finish_dirty(conn, claim)
    assert done == [("gw-01", TUESDAY), ("gw-02", MONDAY), ("gw-01", MONDAY)]


def test_two_workers_never_hold_the_same_day(conn: Connection, other: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY, TUESDAY])
    conn.commit()
    mine, theirs = claim_dirty(conn), claim_dirty(other)
    assert mine is not None
    assert theirs is not None
    assert {mine.day_ms, theirs.day_ms} == {MONDAY, TUESDAY}


def test_a_day_marked_while_it_is_worked_on_stays_dirty(conn: Connection, other: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY])
    conn.commit()
    claim = claim_dirty(conn)
    assert claim is not None
    mark_dirty(other, "gw-01", [MONDAY])  # does not wait for the worker
    other.commit()
    assert claim_dirty(other) is None  # and is not worked on by a second one meanwhile
    other.commit()
    finish_dirty(conn, claim)
    conn.commit()
    again = claim_dirty(other)
    assert again is not None
    assert again.day_ms == MONDAY
    assert not set(again.token) & set(claim.token)


def test_a_worker_that_dies_gives_its_day_back(database_url: str, conn: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY])
    conn.commit()
    with connect(database_url) as worker:
        claim = claim_dirty(worker)
        assert claim is not None
        finish_dirty(worker, claim)
        assert claim_dirty(conn) is None
        worker.rollback()
    assert claim_dirty(conn) == claim


def test_a_day_may_have_to_settle_first(conn: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY])
    conn.execute("UPDATE dirty_mark SET marked = marked - interval '50 s'")
    mark_dirty(conn, "gw-01", [MONDAY])
    assert claim_dirty(conn, settle_ms=60_000) is None
    claim = claim_dirty(conn, settle_ms=40_000)
    assert claim is not None
    assert len(claim.token) == 2


def test_days_are_counted_by_gateway(conn: Connection) -> None:
    mark_dirty(conn, "gw-01", [MONDAY, TUESDAY])
    mark_dirty(conn, "gw-02", [MONDAY])
    mark_dirty(conn, "gw-03", [])
    assert (dirty_count(conn), dirty_count(conn, "gw-01"), dirty_count(conn, "gw-03")) == (3, 2, 0)


def test_the_days_that_wait_are_listed_once_each(conn: Connection) -> None:
    day = 86_400_000
    mark_dirty(conn, "gw-01", [0, day, 2 * day])
    mark_dirty(conn, "gw-01", [day])
    mark_dirty(conn, "gw-02", [day])
    assert dirty_days(conn, "gw-01", day, 3 * day) == [day, 2 * day]
    assert dirty_days(conn, "gw-03", 0, 3 * day) == []
