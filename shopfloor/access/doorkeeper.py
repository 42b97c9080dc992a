"""Finds out who asks: by token, or by session; and lets people log in and out. Every decision is logged.

Blocking: it speaks to the database and computes password hashes. Where its own knowledge fails it lets nobody in.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from shopfloor.access import brake
from shopfloor.access.users import LONGEST_PASSWORD, UserFile
from store.database import Pool, transaction
from store.login_failures import claim_login
from store.readers import Reader
from store.tokens import token_reader
from store.web_sessions import begin_session, end_session, session_user

_LONGEST_NAME = 64
_BUSY_MS = 1_000
_log = logging.getLogger("shopfloor.access")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A login was good: the id of the new session."""

    session: str


@dataclass(frozen=True, slots=True)
class Denied:
    """A login was not good. ``wait_ms`` is above 0 when the password was not even looked at: try again after it."""

    wait_ms: int = 0


class Doorkeeper:
    """Knows tokens, and with a file of users also people."""

    def __init__(self, connections: Pool, users: UserFile | None = None) -> None:
        self._connections = connections
        self._users = users

    def by_token(self, token: str, address: str) -> Reader | None:
        """Who asks with this token; None when it opens nothing."""
        with transaction(self._connections) as conn:
            reader = token_reader(conn, token, _now_ms())
        if reader is None:
            _log.warning("token refused from %s", address)
        return reader

    def by_session(self, session: str) -> Reader | None:
        """Who asks in this session; None when it has ended or its user's password is no longer what it was."""
        if self._users is None:
            return None
        with transaction(self._connections) as conn:
            found = session_user(conn, session, _now_ms())
        if found is None or self._users.credential(found[0]) != found[1]:
            return None
        return Reader(found[0], person=True)

    def log_in(self, user: str, password: str, address: str, before: str | None) -> Admitted | Denied:
        """Check a password and begin a session, in the place of the session ``before`` if there is one."""
        if self._users is None:
            return Denied()
        user, password = user[:_LONGEST_NAME], password[: LONGEST_PASSWORD + 1]
        with transaction(self._connections) as conn:
            if not claim_login(conn, address):
                return Denied(_BUSY_MS)
            wait_ms = brake.wait_ms(conn, user, address, _now_ms())
            if wait_ms > 0:
                _log.warning("login from %s has to wait %.0f s", address, wait_ms / 1000)
                return Denied(wait_ms)
            credential = self._users.check(user, password)
            if credential is None:
                brake.failed(conn, user, address, _now_ms())
                # What strangers type as a name is sometimes their password.
                known = self._users.credential(user) is not None
                _log.warning("login of %s from %s failed", user if known else "an unknown user", address)
                return Denied()
            brake.succeeded(conn, user, address)
            if before is not None:
                end_session(conn, before)
            session = begin_session(conn, user, credential, _now_ms())
        _log.info("login of %s from %s", user, address)
        return Admitted(session)

    def log_out(self, session: str, address: str) -> None:
        """End a session."""
        with transaction(self._connections) as conn:
            end_session(conn, session)
        _log.info("logout from %s", address)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
