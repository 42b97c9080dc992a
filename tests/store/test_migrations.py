from __future__ import annotations

import threading

import pytest

from store.database import Connection, connect
from store.errors import MigrationError
from store.migrations import migrate


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
    assert sorted(map(len, applied)) == [0, 0, 1]


def test_a_file_changed_after_it_was_applied_is_an_error(conn: Connection) -> None:
    conn.execute("UPDATE applied_migration SET sha256 = sha256('another text')")
    with pytest.raises(MigrationError, match="0001_records_and_projections was applied from another file"):
        migrate(conn)


def test_a_database_of_a_newer_version_is_left_alone(conn: Connection) -> None:
    conn.execute("INSERT INTO applied_migration (name, sha256) VALUES ('9999_future', sha256('text'))")
    with pytest.raises(MigrationError, match="9999_future"):
        migrate(conn)
