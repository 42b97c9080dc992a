"""A backup is tested by restoring it: everything that cannot be made again is there, the rest is made from it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from shopfloor.main import main
from store.backup import LEFT_OUT, MANIFEST, read_manifest, restore_backup, write_backup
from store.database import Connection, connect, pool, transaction
from store.errors import BackupError
from store.gateways import add_gateway
from store.incidents import add_incident
from store.projects import put_project
from store.records import read_records
from store.retention import Removable, remove_records
from wire.record import Kind
from wire.topics import record_topic

START_MS = 1_760_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def filled(database_url: str, new_gateway: Callable[[str], Any]) -> str:
    """A database with two gateways, a plan, an incident and a refused message."""
    with pool(database_url, 3) as connections:
        gateways = [new_gateway("gw-01"), new_gateway("gw-02")]
        with transaction(connections) as conn:
            for gateway in gateways:
                add_gateway(conn, gateway.id, gateway.key.public.raw)
        transactions = AdmissionTransactions(connections)
        for gateway in gateways:
            transactions.commit([Message(record_topic(gateway.id), one.data, START_MS) for one in gateway.make(60)])
        transactions.commit([Message(record_topic("gw-01"), b"garbage", START_MS)])
        with transaction(connections) as conn:
            put_project(conn, "PL-1", "plan: 1", bytes(32), START_MS)
            add_incident(conn, "gw-01", "test", None, {"a": 1}, b"bytes", START_MS)
        worker = IntervalWorker(connections)
        while worker.compute_next():
            pass
    return database_url


@pytest.fixture
def empty_url(postgres_server: str) -> Iterator[str]:
    """The address of a database with nothing in it."""
    name = f"shopfloor_restored_{os.getpid()}"
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield postgres_server.replace("/shopfloor?", f"/{name}?")
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the tables that a backup holds."""
    with connect(url) as conn:
        return {table: _table(conn, table) for table in _tables(conn) if table not in (*LEFT_OUT, "interval")}


def _tables(conn: Connection) -> list[str]:
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )
    return sorted(name for (name,) in rows)


def _table(conn: Connection, table: str) -> list[tuple[Any, ...]]:
    return sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=str)  # noqa: S608 - a name from the catalogue


def test_what_is_restored_equals_what_was_there_and_proves_itself(
    filled: str, empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.backup"
    assert main(["backup", str(file), "--database", filled, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["rows"]["record"] == 120
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [file.name]

    assert main(["restore", str(file), "--database", empty_url, "--json"]) == 0
    restored = json.loads(capsys.readouterr().out)
    assert restored["rows"] == written["rows"]
    assert _rows(empty_url) == _rows(filled)
    assert main(["rebuild", "--check", "--database", empty_url]) == 0
    with connect(filled) as before, connect(empty_url) as after:
        count = "SELECT count(*), sum(count), sum(coverage) FROM interval"
        assert before.execute(count).fetchone() == after.execute(count).fetchone()


def test_numbers_go_on_behind_those_restored(filled: str, empty_url: str, tmp_path: Path) -> None:
    file = tmp_path / "site.backup"
    with connect(filled) as conn:
        write_backup(conn, file)
    with connect(empty_url) as conn:
        restore_backup(conn, file)
        before = conn.execute("SELECT max(id) FROM incident").fetchone()
        add_incident(conn, "gw-01", "test", None, {}, None, START_MS)
        after = conn.execute("SELECT max(id) FROM incident").fetchone()
    assert before
    assert after == (before[0] + 1,)


def test_every_table_is_in_a_backup_or_left_out_for_a_reason(filled: str, tmp_path: Path) -> None:
    with connect(filled) as conn:
        held = set(write_backup(conn, tmp_path / "site.backup").rows)
        assert held | set(LEFT_OUT) == set(_tables(conn))
        assert held.isdisjoint(LEFT_OUT)
    assert {"record", "gateway", "chain_head", "project_plan", "incident", "quarantine"} <= held


_INTERVALS = (
    "SELECT gateway, count(*), sum(count) FROM interval JOIN series ON series.id = interval.series"
    " GROUP BY gateway ORDER BY gateway"
)


def test_intervals_whose_records_were_removed_are_held(
    filled: str, empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(filled) as conn:
        removable = Removable("gw-01", START_MS + DAY_MS, (int(Kind.FRAMES),), ())
        assert remove_records(conn, removable, 1, 40, "test") == 38
        before = conn.execute(_INTERVALS).fetchall()
    file = tmp_path / "site.backup"
    assert main(["backup", str(file), "--database", filled, "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["rows"]["interval"]
    assert held == sum(count for gateway, count, _ in before if gateway == "gw-01") > 0
    assert main(["restore", str(file), "--database", empty_url]) == 0
    with connect(empty_url) as conn:
        assert conn.execute(_INTERVALS).fetchall() == before
    assert main(["rebuild", "--check", "--database", empty_url]) == 0


def test_a_backup_is_of_one_moment(filled: str, empty_url: str, tmp_path: Path) -> None:
    """What others commit while it is written is not in it, in no table."""
    file = tmp_path / "site.backup"
    with connect(filled) as other, connect(filled) as conn:

        def disturb(_table: str, _written: int) -> None:
            add_incident(other, "gw-01", "disturbing", None, {}, None, START_MS)
            other.execute("UPDATE gateway SET name = 'disturbed'")
            other.commit()

        write_backup(conn, file, disturb)
    with connect(empty_url) as conn:
        restore_backup(conn, file)
        assert conn.execute("SELECT count(*) FROM incident WHERE kind = 'disturbing'").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM gateway WHERE name = 'disturbed'").fetchone() == (0,)


def test_nothing_is_overwritten(filled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.backup"
    assert main(["backup", str(file), "--database", filled]) == 0
    before = _rows(filled)
    assert main(["backup", str(file), "--database", filled]) == 2
    assert main(["restore", str(file), "--database", filled]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert _rows(filled) == before


def _truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    place = data.index(b"record.copy") + 2_000
    data[place] ^= 1
    file.write_bytes(data)


def _without_record_table(file: Path) -> None:
    unchanged = file.with_name("whole")
    shutil.move(file, unchanged)
    with zipfile.ZipFile(unchanged) as source, zipfile.ZipFile(file, "w") as target:
        for member in source.infolist():
            if member.filename != "record.copy":
                target.writestr(member, source.read(member))


def _rewritten(file: Path, **changes: Any) -> None:
    unchanged = file.with_name("whole")
    shutil.move(file, unchanged)
    with zipfile.ZipFile(unchanged) as source, zipfile.ZipFile(file, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == MANIFEST:
                content = json.dumps(json.loads(content) | changes).encode()
            target.writestr(member, content)


def _of_a_newer_version(file: Path) -> None:
    _rewritten(file, migrations={**read_manifest(file).migrations, "9999_future": "00" * 32})


def _of_another_format(file: Path) -> None:
    _rewritten(file, format="shopfloor backup 9")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncated, "only a part of one"),
        (_changed, "damaged"),
        (_without_record_table, "damaged or missing"),
        (_of_a_newer_version, "another version"),
        (_of_another_format, "its format is"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_backup_restores_nothing(
    filled: str, empty_url: str, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    file = tmp_path / "site.backup"
    with connect(filled) as conn:
        write_backup(conn, file)
    damage(file)
    with connect(empty_url) as conn, pytest.raises(BackupError, match=message):
        restore_backup(conn, file)
    with connect(empty_url) as conn:
        row = conn.execute("SELECT to_regclass('record') IS NOT NULL").fetchone()
        assert row == (False,) or list(read_records(conn, "gw-01")) == []


def test_a_record_changed_before_the_backup_is_named_when_it_is_restored(
    filled: str, empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(filled) as conn:
        conn.execute(
            "UPDATE record SET data = set_byte(data, 120, get_byte(data, 120) # 1) WHERE gateway = 'gw-01' AND seq = 30"
        )
    file = tmp_path / "site.backup"
    assert main(["backup", str(file), "--database", filled]) == 0
    assert main(["restore", str(file), "--database", empty_url]) == 1
    assert "gw-01 bad-signature: record 30" in capsys.readouterr().out


def test_a_restore_makes_an_embedded_database(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "site.backup"
    assert main(["backup", str(file), "--database", filled]) == 0
    assert main(["restore", str(file), "--embedded", str(tmp_path / "site")]) == 0
    assert main(["rebuild", "--check", "--embedded", str(tmp_path / "site")]) == 0
