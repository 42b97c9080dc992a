from __future__ import annotations

import socket
from collections.abc import Callable
from typing import LiteralString

import psycopg
import pytest

from store.database import Pool, connect, place, pool, transaction
from store.errors import DatabaseAddressError, DatabaseUnreachableError


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _execute(connections: Pool, *statements: LiteralString) -> None:
    with transaction(connections) as conn:
        for statement in statements:
            conn.execute(statement)


@pytest.mark.parametrize("open_it", [connect, pool])
def test_a_server_that_does_not_answer_is_named_without_the_password(
    open_it: Callable[[str], object], closed_port: int
) -> None:
    with pytest.raises(DatabaseUnreachableError) as caught:
        open_it(f"postgresql://reader:geheim@127.0.0.1:{closed_port}/evidence")
    assert f"127.0.0.1:{closed_port}, database evidence" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_database_that_does_not_exist_is_named(database_url: str) -> None:
    name = database_url.partition("?")[0].rpartition("/")[2]
    with pytest.raises(DatabaseUnreachableError, match=r'"no_such" does not exist'):
        connect(database_url.replace(name, "no_such"))


@pytest.mark.parametrize("text", ["nonsense", "postgresql://host/database?colour=green", "mysql://host/database"])
def test_an_address_that_is_none_is_the_users_mistake(text: str) -> None:
    with pytest.raises(DatabaseAddressError, match="postgresql://") as caught:
        connect(text)
    assert caught.value.exit_code == 2


def test_place_shows_neither_user_nor_password() -> None:
    shown = place("postgresql://reader:geheim@db.example:5433/evidence")
    assert shown == "db.example:5433, database evidence"


def test_sessions_speak_utc_whatever_the_servers_zone(database_url: str) -> None:
    with connect(database_url) as conn:
        assert conn.execute("SHOW timezone").fetchone() == ("UTC",)


def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_exception(database_url: str) -> None:
    with pool(database_url, max_size=2) as connections:
        with transaction(connections) as conn:
            conn.execute("CREATE TABLE kept (n int)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            _execute(connections, "INSERT INTO kept VALUES (1)", "SELECT 1 / 0")
        with transaction(connections) as conn:
            assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_the_pool_replaces_connections_that_the_server_ended(database_url: str, postgres_server: str) -> None:
    with pool(database_url, max_size=2) as connections, connect(postgres_server, autocommit=True) as server:
        with transaction(connections) as conn:
            pid = conn.info.backend_pid
        server.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with transaction(connections) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
            assert conn.info.backend_pid != pid


def test_a_connection_lost_in_a_transaction_is_told_as_such(database_url: str) -> None:
    with pool(database_url, max_size=2) as connections:
        with pytest.raises(DatabaseUnreachableError):
            _execute(connections, "SELECT pg_terminate_backend(pg_backend_pid())")
        with transaction(connections) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_that_is_cancelled_is_not_told_as_a_lost_connection(database_url: str) -> None:
    with pool(database_url) as connections, pytest.raises(psycopg.errors.QueryCanceled):
        _execute(connections, "SET LOCAL statement_timeout = 20", "SELECT pg_sleep(10)")
