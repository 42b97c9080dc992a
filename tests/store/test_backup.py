"""A backup goes between the kinds of servers: what is restored is what was there, partitioned tables or hypertables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from store.backup import LEFT_OUT, read_manifest, restore_backup, write_backup
from store.database import Connection, connect
from store.embedded import EmbeddedPostgres
from store.errors import BackupError
from store.gateways import add_gateway
from store.incidents import add_incident
from store.records import NewRecord, insert_records

MONTH_MS = 31 * 86_400_000
START_MS = 1_740_000_000_000


@pytest.fixture
def empty_urls(postgres_server: str, embedded_server: EmbeddedPostgres) -> Iterator[list[str]]:
    """Empty databases: one on the same server, one on the embedded server."""
    name = f"shopfloor_backup_{os.getpid()}"
    urls = {server: _named(server, name) for server in dict.fromkeys([postgres_server, embedded_server.url])}
    for server in urls:
        with connect(server, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield list(urls.values())
    for server in urls:
        with connect(server, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _named(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _content(conn: Connection, tables: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=str)  # noqa: S608 - names of a manifest
        for table in tables
    }


def _record(seq: int, at_ms: int) -> NewRecord:
    return NewRecord(
        "gw-01", seq, at_ms, at_ms, at_ms, 0, seq.to_bytes(32, "big"), bytes(32), 1, os.urandom(500), at_ms
    )


def test_records_of_many_months_go_from_server_to_server(
    conn: Connection, empty_urls: list[str], tmp_path: Path
) -> None:
    add_gateway(conn, "gw-01", bytes(32), "a name, 中文, \\ and \t")
    insert_records(conn, [_record(seq, START_MS + seq * MONTH_MS) for seq in range(1, 15)])
    add_incident(conn, "gw-01", "test", 3, {"text": "ü", "number": 1.5}, b"\x00\xff", START_MS)
    conn.commit()
    file = tmp_path / "site.backup"
    manifest = write_backup(conn, file)
    held = [table.name for table in manifest.tables if table.rows]
    assert {"gateway", "record", "incident"} <= set(held)
    assert not set(LEFT_OUT) & set(held)
    before = _content(conn, held)
    for url in empty_urls:
        with connect(url) as restored:
            assert restore_backup(restored, file) == manifest == read_manifest(file)
            assert _content(restored, held) == before


def test_a_database_without_our_tables_has_no_backup(empty_urls: list[str], tmp_path: Path) -> None:
    with connect(empty_urls[0]) as conn, pytest.raises(BackupError, match="none of the tables"):
        write_backup(conn, tmp_path / "site.backup")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"no archive at all"])
def test_what_is_no_backup_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BackupError, match="is no backup"):
        read_manifest(tmp_path / "file")
    with pytest.raises(BackupError, match="cannot be read"):
        read_manifest(tmp_path / "absent")
