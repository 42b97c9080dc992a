"""The tables, brought forward step by step: numbered .sql files in this folder, each applied once and never changed.

Ingestion of other processes goes on meanwhile, whatever the tables hold, because every file keeps to these rules:

* It runs in one transaction that waits for a lock no longer than a second; then it gives way to those it made wait, and
  tries again. So it must not read or rewrite a table that grows: no ``CREATE INDEX`` on such a table, no change of a
  column's type, no new column with a volatile default, no constraint without ``NOT VALID``.
* What has to go through a large table stands in a file of its own whose first line is ``-- outside a transaction``.
  Each of its statements is committed by itself, may take its time (``CREATE INDEX CONCURRENTLY``), and must do no harm
  when it is run again after an interruption. A query behind the line ``-- each row is a statement`` yields statements:
  so each partition or chunk of a table gets its own.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import resources

import psycopg

from store.database import Connection, autocommit
from store.errors import MigrationError

OUTSIDE_A_TRANSACTION = b"-- outside a transaction"
EACH_ROW = b"-- each row is a statement"
LOCK_TIMEOUT_S = 1
"""How long a migration may wait for a lock: whoever comes after it waits behind it."""

PATIENCE_S = 600.0
_PAUSE_S = 2.0
_TURN_S = 0.1
_LOCK = "hashtextextended('shopfloor migrations', 0)"
_log = logging.getLogger(__name__)


def migrate(conn: Connection, only: Collection[str] | None = None) -> list[str]:
    """Apply the migrations that are missing, in order, each committed by itself; the names of those applied.

    Processes that start together wait for one another. The connection must not be in a transaction; what was applied
    before a failure stays, and the next call goes on from there. ``only`` leaves out those not named, for data that
    were written before the others came.

    :raises MigrationError: an applied migration is not the file of that name here: the database was made by another
        version, or a file was changed after it was applied; or somebody else holds a lock that it needs for minutes.
    """
    files = _files()
    with autocommit(conn), _turn(conn):
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
        missing = [name for name in sorted(files) if name not in applied and (only is None or name in only)]
        for name in missing:
            _apply(conn, name, files[name])
    return missing


def check_migrated(conn: Connection) -> None:
    """Read whether the tables are those of this version; nothing is changed.

    :raises MigrationError: they are not: the database is empty, or was made by an older or a newer version.
    """
    files = _files()
    applied = {name: bytes.fromhex(digest) for name, digest in applied_migrations(conn).items()}
    _compare(applied, files)
    missing = sorted(files.keys() - applied.keys())
    if missing:
        raise MigrationError(
            f"the database lacks tables of this version ({', '.join(missing)}): "
            "'shopfloor ingest run' or 'shopfloor ingest status' on it makes them"
        )


def applied_migrations(conn: Connection) -> dict[str, str]:
    """The names of the applied migrations, with the SHA-256 of each file (hexadecimal); empty for an empty database."""
    row = conn.execute("SELECT to_regclass('applied_migration') IS NOT NULL").fetchone()
    if row != (True,):
        return {}
    return dict(conn.execute("SELECT name, encode(sha256, 'hex') FROM applied_migration ORDER BY name").fetchall())


def _apply(conn: Connection, name: str, text: bytes) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if text.startswith(OUTSIDE_A_TRANSACTION):
                for statement in _statements(conn, text):
                    conn.execute(statement)
                _note(conn, name, text)
            else:
                with conn.transaction():
                    conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
                    conn.execute(text)
                    _note(conn, name, text)
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                raise MigrationError(
                    f"the migration {name} waits since {PATIENCE_S:.0f} s for a lock that somebody else holds "
                    f"({error.diag.message_primary}): end long transactions on this database, and start again"
                ) from error
            _log.warning("migration %s gives way to others that use its tables; next attempt in %.0f s", name, _PAUSE_S)
            time.sleep(_PAUSE_S)


def _note(conn: Connection, name: str, text: bytes) -> None:
    conn.execute("INSERT INTO applied_migration (name, sha256) VALUES (%s, %s)", (name, hashlib.sha256(text).digest()))


def _statements(conn: Connection, text: bytes) -> Iterator[bytes]:
    """The statements of a file that is not run in one piece; each ends with a semicolon at the end of a line."""
    for part in text.split(b";\n"):
        if not (statement := _without_comments(part)):
            continue
        if EACH_ROW in part.splitlines():
            yield from (made.encode() for (made,) in conn.execute(statement).fetchall())
        else:
            yield statement


def _without_comments(part: bytes) -> bytes:
    return b"\n".join(line for line in part.splitlines() if not line.lstrip().startswith(b"--")).strip()


@contextmanager
def _turn(conn: Connection) -> Iterator[None]:
    """Be the only one who migrates. Waiting inside PostgreSQL would hold up an index that is built concurrently."""
    while conn.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone() != (True,):
        time.sleep(_TURN_S)
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute(f"SELECT pg_advisory_unlock({_LOCK})")


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
