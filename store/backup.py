"""Everything in a database that cannot be made again, in one file; and a database made from such a file.

A backup is a ZIP archive: one member a table, as PostgreSQL's binary COPY writes it, all of one moment (a snapshot),
and ``manifest.json``, which says by which migrations the tables were made, and of each member its columns, rows and
SHA-256. It needs no program of PostgreSQL, and goes from a server with TimescaleDB to one without and back. Intervals
that follow from the records are left out: a restore makes them again, and so proves the records.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from psycopg import sql

from store.database import Connection, autocommit, clock_ms
from store.errors import BackupError
from store.migrations import applied_migrations, migrate
from store.partitions import ensure_partitions
from wire.errors import fault_text

FORMAT = "shopfloor backup 1"
MANIFEST = "manifest.json"

LEFT_OUT = {
    "applied_migration": "stands in the manifest",
    "dirty_mark": "set again for every day",
    "login_failure": "of the moment",
    "record_span": "measured again from the records",
    "web_session": "of the moment: everybody logs in again",
}
"""Tables that a backup does not hold, and why. Whatever is not named here is in it."""

_UNCOMPRESSIBLE = {"record", "quarantine"}
_TIME_TABLES: tuple[Literal["record", "interval"], ...] = ("record", "interval")
_EVERY_ROW = sql.SQL("true")
_CONDITIONS = {
    # Of the others the records are there. A day more on either side does no harm: it is computed again.
    "interval": sql.SQL(
        """
        EXISTS (
            SELECT FROM series JOIN removed_run ON removed_run.gateway = series.gateway
            WHERE series.id = interval.series
              AND interval.time >= date_trunc('day', first_sample, 'UTC') - interval '1 day'
              AND interval.time < date_trunc('day', last_sample, 'UTC') + interval '2 days')
        """
    )
}
"""Which rows of a table cannot be made again, where not all are held: intervals whose records were removed."""

_CHUNK = 1024 * 1024

Notice = Callable[[str, int], None]
"""Told the table in hand and the bytes done so far."""


@dataclass(frozen=True, slots=True)
class BackupTable:
    """One member of a backup. ``months`` (starts, ms UTC) are those in which a partitioned table has rows."""

    name: str
    columns: list[str]
    rows: int
    sha256: str
    months: list[int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself; ``taken_ms`` is the clock of its database, ``migrations`` name: SHA-256."""

    format: str
    taken_ms: int
    migrations: dict[str, str]
    tables: list[BackupTable]

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each table it holds."""
        return {table.name: table.rows for table in self.tables}


def write_backup(conn: Connection, path: Path, notice: Notice = lambda *_: None) -> Manifest:
    """Write a backup of the database to the new file ``path``, readable by its owner only; others may go on writing.

    The connection must not be in a transaction.

    :raises BackupError: the file exists or cannot be written, or the database has none of our tables.
    """
    if path.exists():
        raise BackupError(f"{path}: exists already; a backup is written to a new file")
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with (
            autocommit(conn),
            conn.transaction(),
            os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
        ):
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                manifest = _write(conn, archive, notice)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except OSError as error:
        raise BackupError(f"{path}: cannot be written: {fault_text(error)}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read what a backup says about itself.

    :raises BackupError: the file cannot be read or is no backup.
    """
    with _opened(path) as archive:
        return _manifest(archive, path)


def restore_backup(conn: Connection, path: Path, notice: Notice = lambda *_: None) -> Manifest:
    """Fill an empty database from a backup, all or nothing, then bring its tables to this version.

    The caller makes again what follows from the records. The connection must not be in a transaction.

    :raises BackupError: the file is damaged, or was made by a newer version, or the database is not empty.
    :raises MigrationError: the tables cannot be made as they were.
    """
    with _opened(path) as archive, autocommit(conn):
        manifest = _manifest(archive, path)
        _check_empty(conn)
        migrate(conn, manifest.migrations)
        if applied_migrations(conn) != manifest.migrations:
            raise BackupError(
                f"{path}: was made by another version (its last migration is {max(manifest.migrations)}); "
                "restore it with that version or a newer one"
            )
        with conn.transaction():
            stored = {table.name: table for table in manifest.tables}
            for time_table in _TIME_TABLES:
                ensure_partitions(conn, stored[time_table].months, table=time_table)
            for name in _in_order_of_reference(conn):
                if name in stored:
                    _restore_table(conn, archive, stored[name], path, notice)
        migrate(conn)
    return manifest


def _write(conn: Connection, archive: zipfile.ZipFile, notice: Notice) -> Manifest:
    migrations = applied_migrations(conn)
    if not migrations:
        raise BackupError("the database holds none of the tables of shopfloor; look at --database")
    written = 0
    tables: list[BackupTable] = []
    for name in _in_order_of_reference(conn):
        if name in LEFT_OUT:
            continue
        columns = _columns(conn, name)
        digest = hashlib.sha256()
        member = zipfile.ZipInfo(f"{name}.copy")
        member.compress_type = zipfile.ZIP_STORED if name in _UNCOMPRESSIBLE else zipfile.ZIP_DEFLATED
        # Not COPY of the table itself: that would leave out the chunks of a hypertable.
        query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT binary)").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.Identifier(name),
            _CONDITIONS.get(name, _EVERY_ROW),
        )
        with (
            archive.open(member, "w", force_zip64=True) as file,
            conn.cursor() as cursor,
        ):
            with cursor.copy(query) as copy:
                for data in copy:
                    digest.update(data)
                    file.write(data)
                    written += len(data)
                    notice(name, written)
            rows = cursor.rowcount
        months = _months(conn, name) if name in _TIME_TABLES else []
        tables.append(BackupTable(name, columns, rows, digest.hexdigest(), months))
    manifest = Manifest(FORMAT, clock_ms(conn), migrations, tables)
    archive.writestr(MANIFEST, json.dumps(_to_json(manifest), indent=1))
    return manifest


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": manifest.format,
        "taken_ms": manifest.taken_ms,
        "migrations": manifest.migrations,
        "tables": [
            {
                "name": table.name,
                "columns": table.columns,
                "rows": table.rows,
                "sha256": table.sha256,
                "months": table.months,
            }
            for table in manifest.tables
        ],
    }


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise BackupError(f"{path}: cannot be read: {fault_text(error)}") from error
    except zipfile.BadZipFile as error:
        raise BackupError(f"{path}: is no backup, or only a part of one ({error})") from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        content = json.loads(archive.read(MANIFEST))
        manifest = Manifest(
            content["format"],
            content["taken_ms"],
            content["migrations"],
            [BackupTable(**table) for table in content["tables"]],
        )
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise BackupError(f"{path}: is no backup of shopfloor: it has no manifest that can be read") from error
    if manifest.format != FORMAT:
        raise BackupError(f"{path}: its format is '{manifest.format}', this version reads '{FORMAT}'")
    return manifest


def _check_empty(conn: Connection) -> None:
    for name in _in_order_of_reference(conn):
        if name == "applied_migration":
            continue
        row = conn.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(name))).fetchone()
        if row == (True,):
            raise BackupError(
                f"the database is not empty: table {name} has rows; make a new database, a restore never overwrites"
            )


def _restore_table(conn: Connection, archive: zipfile.ZipFile, table: BackupTable, path: Path, notice: Notice) -> None:
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
    )
    digest, done = hashlib.sha256(), 0
    try:
        with archive.open(f"{table.name}.copy") as file, conn.cursor() as cursor:
            with cursor.copy(query) as copy:
                for data in _pieces(file):
                    digest.update(data)
                    copy.write(data)
                    done += len(data)
                    notice(table.name, done)
                if digest.hexdigest() != table.sha256:
                    raise BackupError(f"{path}: table {table.name} is not what was written; the file is damaged")
            if cursor.rowcount != table.rows:
                raise BackupError(f"{path}: table {table.name} has {cursor.rowcount} rows, {table.rows} were written")
    except (KeyError, zipfile.BadZipFile) as error:
        raise BackupError(f"{path}: table {table.name} is damaged or missing ({error})") from error
    for column in _numbered_columns(conn, table.name):
        conn.execute(
            sql.SQL(
                "SELECT setval(pg_get_serial_sequence({table_text}, {column_text}),"
                " (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
            ).format(
                table_text=sql.Literal(f'"{table.name}"'),
                column_text=sql.Literal(column),
                column=sql.Identifier(column),
                table=sql.Identifier(table.name),
            )
        )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(_CHUNK):
        yield data


def _in_order_of_reference(conn: Connection) -> list[str]:
    """Our tables, each behind those that it refers to."""
    tables = [
        name
        for (name,) in conn.execute(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
                              AND deptype = 'e')
            ORDER BY relname
            """
        )
    ]
    refers: dict[str, set[str]] = {name: set() for name in tables}
    for name, referred in conn.execute(
        """
        SELECT own.relname, referred.relname FROM pg_constraint
        JOIN pg_class AS own ON own.oid = conrelid JOIN pg_class AS referred ON referred.oid = confrelid
        WHERE contype = 'f' AND own.oid <> referred.oid
        """
    ):
        if name in refers and referred in refers:
            refers[name].add(referred)
    ordered: list[str] = []
    while len(ordered) < len(tables):
        ready = [name for name in tables if name not in ordered and refers[name] <= set(ordered)]
        if not ready:
            raise BackupError(
                f"tables refer to each other in a circle: {', '.join(sorted(set(tables) - set(ordered)))}"
            )
        ordered += ready
    return ordered


def _columns(conn: Connection, table: str) -> list[str]:
    rows = conn.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ORDER BY attnum
        """,
        (table,),
    )
    return [name for (name,) in rows]


def _numbered_columns(conn: Connection, table: str) -> list[str]:
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attidentity <> ''", (table,)
    )
    return [name for (name,) in rows]


def _months(conn: Connection, table: str) -> list[int]:
    rows = conn.execute(
        sql.SQL("SELECT DISTINCT date_trunc('month', time, 'UTC') FROM {} WHERE {}").format(
            sql.Identifier(table), _CONDITIONS.get(table, _EVERY_ROW)
        )
    )
    return sorted(_milliseconds(month) for (month,) in rows)


def _milliseconds(month: datetime) -> int:
    return int(month.timestamp()) * 1000
