"""When a gateway is online, late or silent, and what the live page makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dashboards.language import catalogue
from dashboards.live_page import COUNTS_KEPT_MS, LATE_AFTER_MS, SILENT_AFTER_MS, LiveBoard, gateway_state, live_view
from store.database import Pool, connect, pool
from store.quarantine import add_quarantine

LAST_RECORD_MS = 1_757_952_000_000  # 2025-09-16T00:00:00+08:00


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


@pytest.fixture
def connections(factory: Stored) -> Iterator[Pool]:
    opened = pool(factory.database_url)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("lag_ms", "state"),
    [
        (None, "never"),
        (0, "online"),
        (LATE_AFTER_MS, "online"),
        (LATE_AFTER_MS + 1, "late"),
        (SILENT_AFTER_MS, "late"),
        (SILENT_AFTER_MS + 1, "silent"),
    ],
)
def test_state_by_lag(lag_ms: int | None, state: str) -> None:
    assert gateway_state(lag_ms) == state


def test_the_board_measures_the_lag_from_the_newest_record(connections: Pool) -> None:
    board = LiveBoard(connections, "Asia/Shanghai")
    content = board.read(LAST_RECORD_MS + 90_000)
    (gateway,) = content["gateways"]
    assert (gateway["lag_ms"], gateway["state"]) == (90_000, "late")
    assert gateway["received"] == "2025-09-16T00:00:00+08:00"
    view = live_view(content, catalogue("zh"))
    assert view["gateways"][0]["lag"] == "90 秒前"
    assert view["now"] == "2025-09-16 00:01:30"


def test_counting_is_shared_for_a_while_but_incidents_are_not(connections: Pool, factory: Stored) -> None:
    board = LiveBoard(connections, "Asia/Shanghai")
    assert board.read(LAST_RECORD_MS)["gateways"][0]["records"] == 77
    with connect(factory.database_url) as connection:
        connection.execute("DELETE FROM record WHERE seq = 77")
        add_quarantine(connection, "topic", "bad-signature", "detail", b"bytes", LAST_RECORD_MS)
    soon = board.read(LAST_RECORD_MS + COUNTS_KEPT_MS - 1)
    assert soon["gateways"][0]["records"] == 77
    assert soon["quarantined"] == 1
    assert board.read(LAST_RECORD_MS + COUNTS_KEPT_MS)["gateways"][0]["records"] == 76
