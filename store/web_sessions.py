"""Sessions of people who logged in: opaque, 256 random bits, kept as their SHA-256 only (OWASP ASVS 5.0, 7.2).

A session ends when it was not used for `IDLE_MS`, in any case `LONGEST_MS` after login, at logout, and when the
credential of its user is no longer the one that was used at login: a changed password or a removed user ends it.
"""

from __future__ import annotations

import hashlib
import secrets

from store.database import Connection
from store.instants import instant

IDLE_MS = 30 * 60_000
LONGEST_MS = 12 * 3_600_000
SEEN_STEP_MS = 60_000
"""That a session is in use is written down at most this often."""

_ID_BYTES = 32


def begin_session(conn: Connection, user: str, credential: bytes, now_ms: int) -> str:
    """Begin a session of a user whose password was right, and return its id. Sessions that ended are swept out.

    :param credential: a digest of what the password was checked against.
    """
    conn.execute(
        "DELETE FROM web_session WHERE begun < %s OR seen < %s",
        (instant(now_ms - LONGEST_MS), instant(now_ms - IDLE_MS)),
    )
    session = secrets.token_urlsafe(_ID_BYTES)
    at = instant(now_ms)
    conn.execute(
        "INSERT INTO web_session (hash, user_name, credential, begun, seen) VALUES (%s, %s, %s, %s, %s)",
        (_hash(session), user, credential, at, at),
    )
    return session


def session_user(conn: Connection, session: str, now_ms: int) -> tuple[str, bytes] | None:
    """The user of a session and the credential that it was begun with; None when it has ended or never was."""
    row = conn.execute(
        "SELECT user_name, credential, epoch_ms(begun), epoch_ms(seen) FROM web_session WHERE hash = %s",
        (_hash(session),),
        binary=True,
    ).fetchone()
    if row is None:
        return None
    user, credential, begun_ms, seen_ms = row
    if now_ms - begun_ms >= LONGEST_MS or now_ms - seen_ms >= IDLE_MS:
        return None
    if now_ms - seen_ms >= SEEN_STEP_MS:
        conn.execute("UPDATE web_session SET seen = %s WHERE hash = %s", (instant(now_ms), _hash(session)))
    return user, bytes(credential)


def end_session(conn: Connection, session: str) -> None:
    """End a session; one that has ended stays so."""
    conn.execute("DELETE FROM web_session WHERE hash = %s", (_hash(session),))


def _hash(session: str) -> bytes:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()
