"""The tables, brought forward step by step: numbered .sql files in this folder, each applied once and never changed."""

from __future__ import annotations

import hashlib
from importlib import resources

from store.database import Connection
from store.errors import MigrationError


def migrate(conn: Connection) -> list[str]:
    """Apply the migrations that are missing, in order, in one transaction; the names of those applied.

    Processes that start together wait for one another. The caller commits if it had begun a transaction before.

    :raises MigrationError: an applied migration is not the file of that name here: the database was made by another
        version, or a file was changed after it was applied.
    """
    files = _files()
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('shopfloor migrations', 0))")
        conn.execute(
            """
            CREATE TABLE IF NOT EXISTS applied_migration (
                name text PRIMARY KEY,
                sha256 bytea NOT NULL,
                applied timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        applied: dict[str, bytes] = dict(
            conn.execute("SELECT name, sha256 FROM applied_migration", binary=True).fetchall()
        )
        _compare(applied, files)
        missing = [name for name in sorted(files) if name not in applied]
        for name in missing:
            conn.execute(files[name])
            conn.execute(
                "INSERT INTO applied_migration (name, sha256) VALUES (%s, %s)",
                (name, hashlib.sha256(files[name]).digest()),
            )
    return missing


def check_migrated(conn: Connection) -> None:
    """Read whether the tables are those of this version; nothing is changed.

    :raises MigrationError: they are not: the database is empty, or was made by an older or a newer version.
    """
    files = _files()
    applied: dict[str, bytes] = {}
    row = conn.execute("SELECT to_regclass('applied_migration') IS NOT NULL").fetchone()
    if row == (True,):
        applied = dict(conn.execute("SELECT name, sha256 FROM applied_migration", binary=True).fetchall())
    _compare(applied, files)
    missing = sorted(files.keys() - applied.keys())
    if missing:
        raise MigrationError(
            f"the database lacks tables of this version ({', '.join(missing)}): "
            "'shopfloor ingest run' or 'shopfloor ingest status' on it makes them"
        )


def _files() -> dict[str, bytes]:
    return {
        file.name.removesuffix(".sql"): file.read_bytes()
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".sql")
    }


def _compare(applied: dict[str, bytes], files: dict[str, bytes]) -> None:
    for name, digest in sorted(applied.items()):
        if name not in files:
            raise MigrationError(
                f"the database has the migration {name}, which this version does not know: it was made by a newer "
                "version; install that version again"
            )
        if hashlib.sha256(files[name]).digest() != digest:
            raise MigrationError(
                f"the migration {name} was applied from another file than the one installed: applied files must not "
                "change; restore it and put the change into a new migration"
            )
