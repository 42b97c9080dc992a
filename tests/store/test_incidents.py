from __future__ import annotations

import math

import psycopg
import pytest

from store.database import Connection
from store.errors import UnknownIncidentError
from store.incident_decisions import IncidentDecision, close_incidents, decisions_about, reopen_incidents
from store.incidents import add_incident, count_incident, list_incidents, open_incident_kinds, open_incidents

AT_MS = 1_760_000_000_000


def test_incidents_are_listed_newest_first_and_by_gateway(conn: Connection) -> None:
    add_incident(conn, "gw-01", "fork", 7, {"stored": "ab", "seq": 7}, b"\x00bytes", 1_760_000_000_123)
    add_incident(conn, "gw-02", "late", None, {}, None, 1_760_000_000_456)
    assert [i.kind for i in list_incidents(conn)] == ["late", "fork"]
    (fork,) = list_incidents(conn, "gw-01")
    assert (fork.gateway, fork.seq, fork.detail, fork.data) == ("gw-01", 7, {"stored": "ab", "seq": 7}, b"\x00bytes")
    assert fork.at_ms == 1_760_000_000_123
    assert (open_incidents(conn), open_incidents(conn, "gw-02"), open_incidents(conn, "gw-03")) == (2, 1, 0)


def test_the_detail_of_a_signed_event_may_hold_what_json_cannot(conn: Connection) -> None:
    detail = {"hash": b"\x01\xff", "offset": math.inf, "text": "a\x00b", "nested": [{"raw": b"\x02"}], "flag": True}
    add_incident(conn, "gw-\x00", "gap", 1, detail, None, 0)
    (incident,) = list_incidents(conn)
    assert incident.gateway == "gw-\ufffd"
    assert incident.detail == {
        "hash": "01ff",
        "offset": "inf",
        "text": "a\ufffdb",
        "nested": [{"raw": "02"}],
        "flag": True,
    }


def test_a_closed_incident_is_counted_no_more_and_says_who_closed_it_and_why(conn: Connection) -> None:
    for gateway, kind in (("gw-01", "fork"), ("gw-01", "hole"), ("gw-02", "fork")):
        add_incident(conn, gateway, kind, None, {}, None, AT_MS)
    hole, fork = (one.id for one in list_incidents(conn, "gw-01"))
    assert close_incidents(conn, [fork, hole], "li.wei", "the spool was copied by mistake", AT_MS + 1) == [fork, hole]
    assert close_incidents(conn, [fork], "wang", "once more", AT_MS + 2) == [], "it was closed before"
    assert reopen_incidents(conn, [hole], "wang", "it goes on", AT_MS + 3) == [hole]
    assert open_incident_kinds(conn) == {"fork": 1, "hole": 1}
    assert (open_incidents(conn), open_incidents(conn, "gw-01")) == (2, 1)
    assert [one.id for one in list_incidents(conn, closed=True)] == [fork]
    assert [one.closed_ms for one in list_incidents(conn, "gw-01")] == [None, AT_MS + 1]
    assert decisions_about(conn, [fork, hole]) == {
        fork: [IncidentDecision(fork, True, "li.wei", "the spool was copied by mistake", AT_MS + 1)],
        hole: [
            IncidentDecision(hole, True, "li.wei", "the spool was copied by mistake", AT_MS + 1),
            IncidentDecision(hole, False, "wang", "it goes on", AT_MS + 3),
        ],
    }


def test_an_incident_that_is_counted_again_is_open_again(conn: Connection) -> None:
    assert count_incident(conn, "gw-01", "unknown-key", None, {}, 2, AT_MS)
    (incident,) = list_incidents(conn)
    close_incidents(conn, [incident.id], "li.wei", "the installer had the old key", AT_MS)
    assert not count_incident(conn, "gw-01", "unknown-key", None, {}, 3, AT_MS + 1)
    (again,) = list_incidents(conn, closed=False)
    assert (again.id, again.detail["messages"]) == (incident.id, 5)
    assert [(one.closed, one.actor) for one in decisions_about(conn, [again.id])[again.id]] == [
        (True, "li.wei"),
        (False, "ingestion"),
    ]


def test_closing_what_is_not_there_closes_nothing(conn: Connection) -> None:
    add_incident(conn, "gw-01", "fork", None, {}, None, AT_MS)
    (incident,) = list_incidents(conn)
    with pytest.raises(UnknownIncidentError, match=f"no incident {incident.id + 1}, {incident.id + 2}"):
        close_incidents(conn, [incident.id, incident.id + 1, incident.id + 2], "li.wei", "settled", AT_MS)
    assert open_incidents(conn) == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE incident_decision SET actor = 'nobody'", "DELETE FROM incident_decision", "TRUNCATE incident_decision"],
)
def test_what_was_decided_cannot_be_changed(conn: Connection, statement: str) -> None:
    add_incident(conn, "gw-01", "fork", None, {}, None, AT_MS)
    close_incidents(conn, [list_incidents(conn)[0].id], "li.wei", "settled", AT_MS)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        conn.execute(statement)
