from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.database import Connection, connect
from store.embedded import EmbeddedPostgres
from store.migrations import migrate
from store.records import NO_HASH, NewRecord, insert_records

MONTH = 31 * 86_400_000
JANUARY_2030 = 1_893_456_000_000


def record(gateway: str, seq: int, time_ms: int) -> NewRecord:
    return NewRecord(gateway, seq, time_ms, None, None, 0, NO_HASH, NO_HASH, 0, b"data", time_ms)


def is_hypertable(conn: Connection) -> bool:
    row = conn.execute("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return row is not None and row[0] == 1


def pieces(conn: Connection) -> int:
    row = conn.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'record'::regclass").fetchone()
    return 0 if row is None else row[0]


def test_the_server_is_the_one_that_the_lane_names(conn: Connection, request: pytest.FixtureRequest) -> None:
    assert is_hypertable(conn) == (request.node.callspec.params["postgres_server"] == "timescale")


def test_both_time_tables_are_split_by_time(conn: Connection) -> None:
    if is_hypertable(conn):
        rows = conn.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall()
    else:
        rows = conn.execute("SELECT relname FROM pg_class WHERE relkind = 'p'").fetchall()
    assert {name for (name,) in rows} == {"record", "interval"}


def test_a_month_becomes_a_piece_of_its_own_when_its_first_record_comes(conn: Connection) -> None:
    before = pieces(conn)
    insert_records(conn, [record("gw-01", 1, JANUARY_2030)])
    insert_records(conn, [record("gw-01", 2, JANUARY_2030 + 1)])
    assert pieces(conn) == before + 1


@pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)
def test_writers_that_need_new_months_do_not_wait_for_each_other(conn: Connection, database_url: str) -> None:
    """Each keeps its transaction open over all months: who waited for another's end would wait for ever."""
    write_together(database_url, commit_each=False)
    assert conn.execute("SELECT count(*) FROM record").fetchone() == (48,)


def test_writers_that_need_the_same_new_months_all_get_them(conn: Connection, database_url: str) -> None:
    write_together(database_url, commit_each=True)
    assert conn.execute("SELECT count(*) FROM record").fetchone() == (48,)


def write_together(database_url: str, commit_each: bool) -> None:
    """Four writers go from new month to new month in step."""
    together = threading.Barrier(4, timeout=30)

    def write(gateway: str) -> None:
        with connect(database_url) as own:
            for seq in range(1, 13):
                together.wait()
                insert_records(own, [record(gateway, seq, JANUARY_2030 + seq * MONTH)])
                if commit_each:
                    own.commit()

    with ThreadPoolExecutor(4) as writers:
        for written in [writers.submit(write, f"gw-{number:02d}") for number in range(4)]:
            written.result()


@pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)
def test_one_wild_time_in_a_batch_makes_no_pieces_for_the_years_between(conn: Connection) -> None:
    before = pieces(conn)
    insert_records(conn, [record("gw-01", 1, 1_000_000_000_000), record("gw-01", 2, JANUARY_2030)])
    assert pieces(conn) == before + 2


def test_a_wild_clock_makes_no_pieces_without_end(embedded_server: EmbeddedPostgres) -> None:
    name = "shopfloor_wild_clock"
    century = 36_525 * 86_400_000
    with connect(embedded_server.url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            with connect(embedded_server.url.replace("/shopfloor?", f"/{name}?")) as conn:
                migrate(conn)
                conn.commit()
                before = pieces(conn)
                insert_records(conn, [record("gw-01", 1 + i, JANUARY_2030 + (1 + i) * century) for i in range(20)])
                insert_records(conn, [record("gw-01", 100 + i, JANUARY_2030 - (1 + i) * century) for i in range(15)])
                assert conn.execute("SELECT count(*) FROM record").fetchone() == (35,)
                assert pieces(conn) == before
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
