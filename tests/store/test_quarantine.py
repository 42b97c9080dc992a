from __future__ import annotations

from store.database import Connection
from store.quarantine import add_quarantine, list_quarantine, quarantine_count, quarantine_reasons


def test_refused_bytes_are_kept_with_their_reason_newest_first(conn: Connection) -> None:
    for number, reason in enumerate(["bad-signature", "malformed", "bad-signature"]):
        add_quarantine(conn, "shopfloor/v1/gw-01/record", reason, "说明", bytes([number, 0, 255]), 1_760_000_000_000)
    newest = list_quarantine(conn, limit=2)
    assert [(q.reason, q.data) for q in newest] == [("bad-signature", b"\x02\x00\xff"), ("malformed", b"\x01\x00\xff")]
    assert (newest[0].topic, newest[0].detail) == ("shopfloor/v1/gw-01/record", "说明")
    assert newest[0].received_ms == 1_760_000_000_000
    assert quarantine_count(conn) == 3
    assert quarantine_reasons(conn) == {"bad-signature": 2, "malformed": 1}


def test_a_topic_made_to_break_the_insert_is_kept(conn: Connection) -> None:
    add_quarantine(conn, "shop\x00floor/\ud800'; DROP TABLE record; --", "bad-topic", "\x00", b"", 0)
    (kept,) = list_quarantine(conn)
    assert kept.topic == "shop\ufffdfloor/\ufffd'; DROP TABLE record; --"
    assert kept.detail == "\ufffd"
