"""Tokens with which programs read: opaque, 256 random bits, kept as their SHA-256 only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from store.database import Connection
from store.errors import DuplicateTokenError
from store.instants import instant
from store.readers import Reader, Scope

PREFIX = "shopfloor_"
"""What every token begins with, so that programs which look for leaked secrets can know it."""

USED_STEP_MS = 60_000
"""When a token was last used is written down at most this often."""

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as it is on file; times in ms, UTC, None for never. ``gateways`` None: all of them."""

    id: int
    name: str
    scopes: list[str]
    gateways: list[str] | None
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    used_ms: int | None

    def valid(self, now_ms: int) -> bool:
        """Whether it opens anything at ``now_ms``."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


def create_token(
    conn: Connection,
    name: str,
    scopes: Collection[Scope],
    gateways: Collection[str] | None,
    *,
    created_ms: int,
    expires_ms: int | None = None,
) -> str:
    """Make a token and return its text, which cannot be had again.

    :raises DuplicateTokenError: a token of this name is valid.
    """
    text = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    try:
        with conn.transaction():
            conn.execute(
                "INSERT INTO api_token (name, hash, scopes, gateways, created, expires)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    name,
                    _hash(text),
                    sorted(scopes),
                    None if gateways is None else sorted(set(gateways)),
                    instant(created_ms),
                    None if expires_ms is None else instant(expires_ms),
                ),
            )
    except psycopg.errors.UniqueViolation as error:
        raise DuplicateTokenError(f"there is a token '{name}' already: revoke it, or choose another name") from error
    return text


def tokens(conn: Connection) -> list[ApiToken]:
    """All tokens, the newest first, revoked ones among them."""
    return [ApiToken(*row) for row in conn.execute(f"{_SELECT} ORDER BY id DESC", binary=True)]


def revoke_token(conn: Connection, name: str, now_ms: int) -> bool:
    """Make the token of this name worthless at once; False when no valid token has the name."""
    revoked = conn.execute(
        "UPDATE api_token SET revoked = %s WHERE name = %s AND revoked IS NULL", (instant(now_ms), name)
    )
    return revoked.rowcount > 0


def token_reader(conn: Connection, text: str, now_ms: int) -> Reader | None:
    """Who asks with this token; None when it is unknown, revoked or expired. Scopes that are not known give nothing."""
    row = conn.execute(f"{_SELECT} WHERE hash = %s", (_hash(text),), binary=True).fetchone()
    token = None if row is None else ApiToken(*row)
    if token is None or not token.valid(now_ms):
        return None
    if token.used_ms is None or now_ms - token.used_ms >= USED_STEP_MS:
        conn.execute("UPDATE api_token SET used = %s WHERE id = %s", (instant(now_ms), token.id))
    scopes = frozenset(scope for scope in Scope if scope.value in token.scopes)
    return Reader(f"token {token.name}", scopes, None if token.gateways is None else frozenset(token.gateways))


_SELECT = """
    SELECT id, name, scopes, gateways, epoch_ms(created), epoch_ms(expires), epoch_ms(revoked), epoch_ms(used)
    FROM api_token"""


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
