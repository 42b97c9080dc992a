"""Connections to the database, and its failures in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from store.errors import DatabaseAddressError, DatabaseUnreachableError

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]

CONNECT_TIMEOUT_S = 10
READING_TIMEOUT_MS = 30_000
_SESSION = {
    "application_name": "shopfloor",
    "options": "-c timezone=UTC",
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    "keepalives_idle": "30",
}


def connect(url: str, *, autocommit: bool = False) -> Connection:
    """Open one connection; its session's time zone is UTC. The caller closes and commits it.

    :param url: ``postgresql://user:password@host:port/database`` or any other libpq connection string.
    :raises DatabaseAddressError: the URL cannot be read.
    :raises DatabaseUnreachableError: nobody answers there, or the answer is no.
    """
    with failures_in_words(url):
        return psycopg.connect(_with_session(url), autocommit=autocommit)


def pool(url: str, max_size: int = 8) -> Pool:
    """A pool of connections that replaces those broken by a restart of the server before handing them out.

    Take connections through :func:`transaction`. The caller closes the pool.

    :raises DatabaseAddressError: the URL cannot be read.
    :raises DatabaseUnreachableError: nobody answers there now.
    """
    connect(url).close()
    return ConnectionPool(
        _with_session(url),
        min_size=1,
        max_size=max_size,
        open=True,
        check=ConnectionPool.check_connection,
        # A pool that gave up starts again with the next request; one that waits long between attempts would
        # stay blind for minutes after a restart of the server.
        reconnect_timeout=CONNECT_TIMEOUT_S,
        timeout=CONNECT_TIMEOUT_S,
    )


@contextmanager
def transaction(connections: Pool) -> Iterator[Connection]:
    """One transaction on a connection of the pool: committed at the end of the block, rolled back on an exception.

    :raises DatabaseUnreachableError: no connection, or it broke before the commit was confirmed.
    """
    with failures_in_words(str(connections.conninfo)), connections.connection() as conn:
        yield conn


@contextmanager
def autocommit(conn: Connection) -> Iterator[None]:
    """Inside the block each statement, and each ``conn.transaction()``, is committed by itself.

    The connection must not be in a transaction when the block begins.
    """
    before = conn.autocommit
    conn.autocommit = True
    try:
        yield
    finally:
        if not conn.closed:
            conn.autocommit = before


@contextmanager
def snapshot(connections: Pool) -> Iterator[Connection]:
    """As :func:`transaction`, but everything read in the block is of one moment, whatever others commit meanwhile."""
    with transaction(connections) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield conn


def clock_ms(conn: Connection) -> int:
    """The clock of the database now, milliseconds since the Unix epoch, UTC: one clock for workers on many machines."""
    row = conn.execute("SELECT round(date_part('epoch', clock_timestamp()) * 1000)::bigint", binary=True).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def reading(connections: Pool, timeout_ms: int = READING_TIMEOUT_MS) -> Iterator[Connection]:
    """As :func:`transaction`, for strangers' questions: nothing can be written, no statement may take longer than this.

    :raises DatabaseUnreachableError: also when a statement took longer.
    """
    try:
        with transaction(connections) as conn:
            conn.execute(f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {int(timeout_ms)}")
            yield conn
    except psycopg.errors.QueryCanceled as error:
        raise DatabaseUnreachableError(
            f"database at {place(str(connections.conninfo))}: no answer within {timeout_ms} ms; "
            "ask for less at once, or try again"
        ) from error


def place(url: str) -> str:
    """Where a database is, without user name and password, for messages."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{host}{port}, database {parts.get('dbname') or parts.get('user') or '(default)'}"


def _with_session(url: str) -> str:
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise DatabaseAddressError(
            f"the address of the database cannot be read ({str(error).strip()}): "
            "write it like postgresql://user:password@host:5432/database"
        ) from None
    return make_conninfo("", **{**_SESSION, **given})


@contextmanager
def failures_in_words(url: str) -> Iterator[None]:
    """Turns a lost or refused connection inside the block into a :class:`DatabaseUnreachableError`."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate and not _is_loss(error.sqlstate):
            raise
        # libpq puts its own question, indented, below each failure; ours below asks the same and more.
        reason = " ".join(line for line in str(error).splitlines() if not line.startswith("\t")).strip()
        raise DatabaseUnreachableError(
            f"database at {place(url)}: {reason}. Is the server running, and are host, port, user and password right?"
        ) from error


def _is_loss(sqlstate: str) -> bool:
    """Class 08 (connection exception), 28 (authorisation), 3D (no such database), 53300, 57P (server goes away)."""
    return sqlstate.startswith(("08", "28", "3D", "533", "57P"))
