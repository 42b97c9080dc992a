from __future__ import annotations

import math

from store.database import Connection
from store.incidents import add_incident, incident_count, list_incidents


def test_incidents_are_listed_newest_first_and_by_gateway(conn: Connection) -> None:
    add_incident(conn, "gw-01", "fork", 7, {"stored": "ab", "seq": 7}, b"\x00bytes", 1_760_000_000_123)
    add_incident(conn, "gw-02", "late", None, {}, None, 1_760_000_000_456)
    assert [i.kind for i in list_incidents(conn)] == ["late", "fork"]
    (fork,) = list_incidents(conn, "gw-01")
    assert (fork.gateway, fork.seq, fork.detail, fork.data) == ("gw-01", 7, {"stored": "ab", "seq": 7}, b"\x00bytes")
    assert fork.at_ms == 1_760_000_000_123
    assert (incident_count(conn), incident_count(conn, "gw-02"), incident_count(conn, "gw-03")) == (2, 1, 0)


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
