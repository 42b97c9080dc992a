from __future__ import annotations

from dataclasses import replace

from store.clocks import GatewayClock, keep_clocks, read_clock, read_clocks, remove_clock
from store.database import Connection
from store.gateways import add_gateway

AT_MS = 1_760_000_000_000
SYNCHRONISED = GatewayClock("gw-01", 7, AT_MS, True, -1_500, 16_500)
FREE = GatewayClock("gw-02", 3, AT_MS, False, None, None)


def enrol(conn: Connection) -> None:
    for gateway in ("gw-01", "gw-02"):
        add_gateway(conn, gateway, gateway.encode().ljust(32))


def test_the_newest_record_says_how_the_clock_is_whatever_the_order_of_arrival(conn: Connection) -> None:
    enrol(conn)
    newer = replace(SYNCHRONISED, seq=8, time_ms=AT_MS + 10_000, offset_us=20)
    keep_clocks(conn, [newer, FREE])
    keep_clocks(conn, [SYNCHRONISED])
    assert read_clocks(conn) == {"gw-01": newer, "gw-02": FREE}


def test_a_clock_that_lost_its_server_is_not_known_any_more(conn: Connection) -> None:
    enrol(conn)
    lost = replace(SYNCHRONISED, seq=8, synchronised=False, offset_us=None, error_us=None)
    keep_clocks(conn, [SYNCHRONISED])
    keep_clocks(conn, [lost])
    assert read_clock(conn, "gw-01") == lost
    remove_clock(conn, "gw-01")
    keep_clocks(conn, [])
    assert read_clock(conn, "gw-01") is None
