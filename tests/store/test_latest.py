from __future__ import annotations

from dataclasses import replace

from store.database import Connection
from store.latest import LatestValue, read_latest, upsert_latest

POWER = LatestValue("gw-01/meter-1/active_power", 1_760_000_000_000, 12.5, "kW", 0, 1_760_000_000_700)
STATE = LatestValue("gw-02/plc-1/line_state", 1_760_000_000_000, None, "", 0xF0, 1_760_000_000_900)


def test_the_newest_value_wins_whatever_the_order_of_arrival(conn: Connection) -> None:
    newer = replace(POWER, time_ms=POWER.time_ms + 1, value=13.0)
    upsert_latest(conn, [newer, STATE])
    upsert_latest(conn, [POWER])
    assert read_latest(conn) == [newer, STATE]


def test_the_newest_value_of_one_batch_wins(conn: Connection) -> None:
    newer = replace(POWER, time_ms=POWER.time_ms + 1, value=13.0)
    upsert_latest(conn, [POWER, newer, POWER])
    assert read_latest(conn) == [newer]


def test_a_failed_read_takes_the_place_of_a_value(conn: Connection) -> None:
    failed = replace(POWER, time_ms=POWER.time_ms + 1, value=None, status=0xF1)
    upsert_latest(conn, [POWER])
    upsert_latest(conn, [failed])
    assert read_latest(conn, "gw-01") == [failed]


def test_values_are_read_by_gateway(conn: Connection) -> None:
    upsert_latest(conn, [POWER, STATE])
    upsert_latest(conn, [])
    assert read_latest(conn, "gw-02") == [STATE]
    assert read_latest(conn, "gw-0") == []
