"""Times that cannot be are not believed, and only those."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.authentication import Message
from ingest.clock_window import AHEAD_MS, BEHIND_MS, DAY_MS, ClockWindow
from ingest.transaction import AdmissionTransactions
from store.database import connect, pool
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.latest import read_latest
from store.records import read_records
from wire.event import Event
from wire.frame import FrameBuilder
from wire.topics import record_topic

NOW_MS = 1_760_000_000_000


@pytest.mark.parametrize(
    ("time_ms", "believed"),
    [
        (NOW_MS + AHEAD_MS, True),
        (NOW_MS + AHEAD_MS + 1, False),
        (NOW_MS - BEHIND_MS, True),
        (NOW_MS - BEHIND_MS - 1, False),
    ],
)
def test_both_ends_of_the_window_are_in_it(time_ms: int, believed: bool) -> None:
    assert ClockWindow.at(NOW_MS).holds(time_ms) is believed


@given(st.lists(st.integers(0, 2**32 - 1), max_size=8), st.integers(NOW_MS - 2 * BEHIND_MS, NOW_MS + 2 * AHEAD_MS))
def test_the_span_of_a_frame_is_that_of_its_believed_samples(steps: list[int], start_ms: int) -> None:
    window, builder, time_ms = ClockWindow.at(NOW_MS), FrameBuilder(0, 1, 3, 0, 1), start_ms
    builder.add(time_ms, 0, [1], 1)
    for step in steps:
        time_ms += step
        builder.add(time_ms, 0, [1], 1)
    frame = builder.build()
    believed = [one for one in frame.times_ms if window.holds(one)]
    assert window.sample_span([frame]) == ((min(believed), max(believed)) if believed else (None, None))
    assert {one // DAY_MS * DAY_MS for one in believed} <= window.sampled_days(frame)
    assert bool(window.sampled_days(frame)) is bool(believed)


def test_a_wild_record_makes_no_partition_and_is_told_once_a_day(database_url: str, gateway: Any) -> None:
    good = gateway.make(3)
    received_ms = gateway.time_ms
    gateway.time_ms = 3_900_000_000_000
    wild = gateway.make(2)
    back = gateway.chain.append(Event("clock_step", {"before_ms": gateway.time_ms}), time_ms=received_ms)
    with pool(database_url, 2) as connections:
        with connect(database_url) as conn:
            add_gateway(conn, "gw-01", gateway.key.public.raw)
            before = _partitions(conn)
        admission = AdmissionTransactions(connections)
        for record in [*good, *wild, back]:
            admission.commit([Message(record_topic("gw-01"), record.data, received_ms)])
    with connect(database_url) as conn:
        months = {f"record_{month}" for month in ("2025_10",)}
        assert _partitions(conn) - before <= months
        stored = {one.seq: one for one in read_records(conn, "gw-01")}
        assert {seq: one.data for seq, one in stored.items()} == {one.seq: one.data for one in [*good, *wild, back]}
        assert {stored[one.seq].time_ms for one in wild} == {received_ms}
        assert max(one.time_ms for one in read_latest(conn)) < received_ms
        assert conn.execute("SELECT longest_ms FROM record_span").fetchone() == (9_000,)
        assert [(one.kind, one.seq) for one in list_incidents(conn)] == [("out-of-window", 4)]


def _partitions(conn: Any) -> set[str]:
    rows = conn.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'record'::regclass")
    return {name for (name,) in rows}
