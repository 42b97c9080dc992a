from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from store import migrations
from store.database import Connection, connect
from store.dirty import mark_dirty
from store.errors import MigrationError
from store.gateways import add_gateway
from store.incidents import add_incident
from store.migrations import OUTSIDE_A_TRANSACTION, migrate
from store.records import ChainHead, NewRecord, advance_head, insert_records, lock_head

FIRST = "0001_records_and_projections"
START_MS = 1_760_000_000_000
DAY_MS = 86_400_000
GROWING = ("record", "interval", "incident", "quarantine", "latest", "series")
"""Tables that hold much when a site has run for a year."""


def test_a_migrated_database_is_left_alone(conn: Connection) -> None:
    assert migrate(conn) == []


def test_processes_that_start_together_migrate_once(postgres_server: str, database_url: str) -> None:
    name = "shopfloor_migrations_together"
    applied: list[list[str]] = []
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            url = database_url.replace(database_url.partition("?")[0].rpartition("/")[2], name)

            def start() -> None:
                with connect(url) as own:
                    applied.append(migrate(own))

            starters = [threading.Thread(target=start) for _ in range(3)]
            for starter in starters:
                starter.start()
            for starter in starters:
                starter.join()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert sorted(map(bool, applied)) == [False, False, True]
    assert max(applied, key=len) == sorted(max(applied, key=len)), "in the order of their numbers"


def test_a_file_changed_after_it_was_applied_is_an_error(conn: Connection) -> None:
    conn.execute("UPDATE applied_migration SET sha256 = sha256('another text')")
    conn.commit()
    with pytest.raises(MigrationError, match="0001_records_and_projections was applied from another file"):
        migrate(conn)


def test_a_database_of_a_newer_version_is_left_alone(conn: Connection) -> None:
    conn.execute("INSERT INTO applied_migration (name, sha256) VALUES ('9999_future', sha256('text'))")
    conn.commit()
    with pytest.raises(MigrationError, match="9999_future"):
        migrate(conn)


@pytest.fixture
def first_state(postgres_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a database that only the first migration was applied to."""
    name = "shopfloor_migrations_first"
    url = database_url.replace(database_url.partition("?")[0].rpartition("/")[2], name)
    every = migrations._files()
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            with monkeypatch.context() as patched, connect(url) as conn:
                patched.setattr(migrations, "_files", lambda: {FIRST: every[FIRST]})
                assert migrate(conn) == [FIRST]
            yield url
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _record(seq: int) -> NewRecord:
    at_ms = START_MS + 10_000 * seq
    return NewRecord(
        "gw-01", seq, at_ms, at_ms - 10_000, at_ms, 0, seq.to_bytes(32, "big"), bytes(32), 10, bytes(2_000), at_ms
    )


class _Ingestion:
    """Stores record after record as admission does, in a session of its own, until it is stopped."""

    def __init__(self, url: str, first_seq: int) -> None:
        self.stored = 0
        self.longest_s = 0.0
        self.failure: Exception | None = None
        self._url = url
        self._next = first_seq
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Ingestion:
        self._thread.start()
        while not self.stored and self.failure is None:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with connect(self._url) as conn:
                while not self._stopping.is_set():
                    self._store(conn)
        except Exception as error:  # what it is, the test says
            self.failure = error

    def _store(self, conn: Connection) -> None:
        began, record = time.monotonic(), _record(self._next)
        with conn.transaction():
            lock_head(conn, "gw-01")
            insert_records(conn, [record])
            advance_head(conn, "gw-01", ChainHead(record.seq, record.hash))
            mark_dirty(conn, "gw-01", [record.time_ms // DAY_MS * DAY_MS])
            add_incident(conn, "gw-01", "test", record.seq, {}, None, record.time_ms)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.stored += 1
        self._next += 1


def _fill(url: str, records: int) -> None:
    with connect(url) as conn:
        conn.execute("INSERT INTO gateway (id, name, public_key) VALUES ('gw-01', '', sha256(''))")
        lock_head(conn, "gw-01")
        insert_records(conn, [_record(seq) for seq in range(1, records + 1)])
        for seq in range(1, records + 1):
            add_incident(conn, "gw-01", "test", seq, {}, None, START_MS)


def test_a_filled_database_is_migrated_while_records_are_stored(
    first_state: str, record_property: Callable[[str, object], None]
) -> None:
    _fill(first_state, 5_000)
    with _Ingestion(first_state, 5_001) as ingestion:
        began = time.monotonic()
        with connect(first_state) as conn:
            applied = migrate(conn)
        took_s, during = time.monotonic() - began, ingestion.stored
        while ingestion.stored == during and ingestion.failure is None:
            time.sleep(0.01)
    record_property("migration_s", round(took_s, 3))
    record_property("longest_insert_s", round(ingestion.longest_s, 3))
    assert ingestion.failure is None
    assert applied == [name for name in sorted(migrations._files()) if name != FIRST]
    with connect(first_state) as conn:
        row = conn.execute("SELECT count(*), max(seq) FROM record").fetchone()
        assert row == (5_000 + ingestion.stored, 5_000 + ingestion.stored)
        add_gateway(conn, "gw-02", bytes(32))


def test_a_migration_that_has_to_wait_gives_way(first_state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(first_state, 10)
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.2)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_S", 0.1)
    applied: list[str] = []
    with connect(first_state) as holder:
        holder.execute("LOCK TABLE gateway IN ACCESS SHARE MODE")

        def start() -> None:
            with connect(first_state) as conn:
                applied.extend(migrate(conn))

        starter = threading.Thread(target=start)
        starter.start()
        with connect(first_state) as reader:
            # Whoever needs the table meanwhile waits for the migration's short attempts and not for the holder.
            for _ in range(20):
                with reader.transaction():
                    reader.execute("SELECT id FROM gateway FOR UPDATE")
                time.sleep(0.05)
        assert applied == []
    starter.join()
    assert applied


def test_a_migration_that_never_gets_its_lock_says_so(first_state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_PAUSE_S", 0.05)
    monkeypatch.setattr(migrations, "PATIENCE_S", 0.2)
    with connect(first_state) as holder, connect(first_state) as conn:
        holder.execute("LOCK TABLE gateway IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="waits since"):
            migrate(conn)


def test_an_interrupted_step_outside_a_transaction_is_done_again(conn: Connection) -> None:
    conn.execute("DELETE FROM applied_migration WHERE name = '0004_incident_kinds'")
    conn.commit()
    assert migrate(conn) == ["0004_incident_kinds"]
    row = conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'incident_kind'::regclass").fetchone()
    assert row == (True,)


def _pieces_without_the_index_of_events(conn: Connection) -> list[str]:
    rows = conn.execute(
        """
        SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent = 'record'::regclass AND 1 <> (
            SELECT count(*) FROM pg_index
            WHERE indrelid = inhrelid AND indisvalid AND pg_get_indexdef(indexrelid) LIKE '%(gateway, seq) WHERE%')
        """
    ).fetchall()
    return [name for (name,) in rows]


EVENTS = "0008_indexes_of_events_and_open_incidents"


def test_the_index_of_events_is_on_every_piece_those_before_and_those_to_come(first_state: str) -> None:
    _fill(first_state, 100)
    with connect(first_state) as conn:
        migrate(conn)
        conn.execute("SELECT make_partitions('record', ARRAY['2031-01-01 00:00:00+00'::timestamptz])")
        conn.commit()
        insert_records(conn, [replace(_record(101), time_ms=START_MS + 2_000 * DAY_MS)])
        row = conn.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'record'::regclass").fetchone()
        assert row is not None and row[0] >= 2  # noqa: PT018 - mypy's narrowing
        assert _pieces_without_the_index_of_events(conn) == []
        row = conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'record_event'::regclass").fetchone()
        assert row == (True,)


def test_an_index_of_events_that_was_interrupted_is_finished(first_state: str) -> None:
    _fill(first_state, 100)
    with connect(first_state) as conn:
        migrate(conn)
        conn.execute("DROP INDEX record_event")
        piece = conn.execute(
            "SELECT record.tableoid::regclass::text, relname FROM record"
            " JOIN pg_class ON pg_class.oid = record.tableoid LIMIT 1"
        ).fetchone()
        assert piece is not None
        # As far as one attempt came: the index of one piece was being made, and belongs to nothing.
        conn.execute(f'CREATE INDEX IF NOT EXISTS "{piece[1]}_event" ON {piece[0]} (gateway, seq) WHERE kind = 2')
        conn.execute(
            "UPDATE pg_index SET indisvalid = false FROM pg_class WHERE pg_class.oid = indexrelid AND relname = %s",
            (f"{piece[1]}_event",),
        )
        conn.execute("DELETE FROM applied_migration WHERE name = %s", (EVENTS,))
        conn.commit()
        assert migrate(conn) == [EVENTS]
        assert _pieces_without_the_index_of_events(conn) == []


BLOCKING = re.compile(
    rf"""
    CREATE\s+(UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)[^;]*\sON\s+({"|".join(GROWING)})\b
    | ALTER\s+TABLE\s+({"|".join(GROWING)})\s[^;]*\bTYPE\b
    | ALTER\s+TABLE\s+({"|".join(GROWING)})\s[^;]*ADD\s+CONSTRAINT(?![^;]*NOT\s+VALID)
    | ^\s*(UPDATE|DELETE\s+FROM)\s+({"|".join(GROWING)})\b
    | \b(VACUUM\s+FULL|CLUSTER|REINDEX)\b
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)


@pytest.mark.parametrize(
    "file",
    [file for file in resources.files(migrations).iterdir() if file.name.endswith(".sql") and FIRST not in file.name],
    ids=lambda file: file.name,
)
def test_no_migration_goes_through_a_large_table_under_a_lock(file: Path) -> None:
    found = BLOCKING.search(re.sub(r"--[^\n]*", "", file.read_text(encoding="utf-8")))
    assert file.read_bytes().startswith(OUTSIDE_A_TRANSACTION) or found is None, found


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX x ON record (kind);",
        "ALTER TABLE incident ALTER COLUMN seq TYPE int;",
        "ALTER TABLE interval ADD CONSTRAINT x CHECK (count > 0);",
        "UPDATE record SET kind = 0;",
    ],
)
def test_the_rule_knows_what_blocks(statement: str) -> None:
    assert BLOCKING.search(statement)
