"""Tokens, sessions, failed logins, and what a reader may see."""

from __future__ import annotations

import pytest

from store.database import Connection
from store.errors import DuplicateTokenError
from store.login_failures import (
    FORGOTTEN_MS,
    add_login_failure,
    claim_login,
    clear_login_failures,
    login_failures,
)
from store.readers import Reader, Scope
from store.tokens import USED_STEP_MS, create_token, revoke_token, token_reader, tokens
from store.web_sessions import IDLE_MS, begin_session, end_session, session_user

NOW_MS = 1_760_000_000_000


def test_a_token_is_its_reader_until_it_expires(conn: Connection) -> None:
    text = create_token(
        conn, "report", [Scope.SAMPLES], ["gw-02", "gw-01"], created_ms=NOW_MS, expires_ms=NOW_MS + 1000
    )
    reader = token_reader(conn, text, NOW_MS + 999)
    assert reader == Reader("token report", frozenset({Scope.SAMPLES}), frozenset({"gw-01", "gw-02"}))
    assert token_reader(conn, text, NOW_MS + 1000) is None
    for wrong in ("", text[:-1], f"{text} ", "\ud800", "\x00"):
        assert token_reader(conn, wrong, NOW_MS) is None


def test_the_use_of_a_token_is_noted_now_and_then(conn: Connection) -> None:
    text = create_token(conn, "report", [Scope.SAMPLES], None, created_ms=NOW_MS)
    noted = []
    for now_ms in (NOW_MS, NOW_MS + USED_STEP_MS - 1, NOW_MS + USED_STEP_MS):
        token_reader(conn, text, now_ms)
        noted.append(tokens(conn)[0].used_ms)
    assert noted == [NOW_MS, NOW_MS, NOW_MS + USED_STEP_MS]


def test_a_name_is_free_again_after_revocation(conn: Connection) -> None:
    first = create_token(conn, "report", [Scope.SAMPLES], None, created_ms=NOW_MS)
    with pytest.raises(DuplicateTokenError, match="report"):
        create_token(conn, "report", [Scope.SERIES], None, created_ms=NOW_MS)
    assert revoke_token(conn, "report", NOW_MS)
    assert not revoke_token(conn, "report", NOW_MS)
    create_token(conn, "report", [Scope.SERIES], None, created_ms=NOW_MS)
    assert token_reader(conn, first, NOW_MS) is None
    assert [token.revoked_ms for token in tokens(conn)] == [None, NOW_MS]


def test_a_scope_that_this_version_does_not_know_gives_nothing(conn: Connection) -> None:
    text = create_token(conn, "old", [Scope.SAMPLES], None, created_ms=NOW_MS)
    conn.execute("UPDATE api_token SET scopes = ARRAY['read:everything']")
    reader = token_reader(conn, text, NOW_MS)
    assert reader is not None
    assert reader.scopes == frozenset()


def test_sessions_that_ended_are_swept_out(conn: Connection) -> None:
    old = begin_session(conn, "li.wei", b"x", NOW_MS)
    new = begin_session(conn, "li.wei", b"x", NOW_MS + IDLE_MS + 1)
    assert conn.execute("SELECT count(*) FROM web_session").fetchone() == (1,)
    assert session_user(conn, old, NOW_MS + 1) is None
    assert session_user(conn, new, NOW_MS + IDLE_MS + 1) == ("li.wei", b"x")
    end_session(conn, new)
    assert session_user(conn, new, NOW_MS + IDLE_MS + 1) is None


def test_one_login_of_an_address_at_a_time(conn: Connection, other: Connection) -> None:
    assert claim_login(conn, "192.0.2.1")
    assert not claim_login(other, "192.0.2.1")
    assert claim_login(other, "192.0.2.2")
    conn.rollback()
    assert claim_login(other, "192.0.2.1")


def test_failures_are_counted_and_forgotten(conn: Connection) -> None:
    for later in range(3):
        add_login_failure(conn, ["a", "b\x00"], NOW_MS + later)
    assert login_failures(conn, "a", NOW_MS + 2) == (3, NOW_MS + 2)
    assert login_failures(conn, "b\x00", NOW_MS + 2) == (3, NOW_MS + 2)
    clear_login_failures(conn, ["a"])
    assert login_failures(conn, "a", NOW_MS + 2) == (0, 0)
    assert login_failures(conn, "b\x00", NOW_MS + 2 + FORGOTTEN_MS) == (0, 0)
    add_login_failure(conn, ["c"], NOW_MS + 2 + FORGOTTEN_MS)
    assert conn.execute("SELECT count(*) FROM login_failure").fetchone() == (1,)


def test_a_reader_sees_what_is_his() -> None:
    everyone, one = Reader("all"), Reader("one", frozenset({Scope.SERIES}), frozenset({"gw-02", "gw-01"}))
    assert everyone.may(Scope.RECORDS)
    assert everyone.sees("gw-09")
    assert everyone.selection is None
    assert not one.may(Scope.RECORDS)
    assert not one.sees("gw-09")
    assert one.selection == ["gw-01", "gw-02"]
