"""How often logins failed, by what they had in common (a user, an address); shared by all processes.

Subjects are kept as their SHA-256: what strangers type as a user name is sometimes their password.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from store.database import Connection
from store.instants import instant

FORGOTTEN_MS = 24 * 3_600_000
"""Failures before this long without another one are forgotten."""


def claim_login(conn: Connection, address: str) -> bool:
    """Whether no other login from this address is being looked at; until the transaction ends no other one will be."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('login/' || %s, 0))", (address,)).fetchone()
    return row is not None and bool(row[0])


def login_failures(conn: Connection, subject: str, now_ms: int) -> tuple[int, int]:
    """How many logins of ``subject`` failed since the last good one, and when the latest did (ms, UTC)."""
    row = conn.execute(
        "SELECT failures, epoch_ms(latest) FROM login_failure WHERE subject = %s AND latest > %s",
        (_hash(subject), instant(now_ms - FORGOTTEN_MS)),
        binary=True,
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def add_login_failure(conn: Connection, subjects: Collection[str], now_ms: int) -> None:
    """Count one more failure of each subject; what is forgotten is swept out."""
    forgotten, at = instant(now_ms - FORGOTTEN_MS), instant(now_ms)
    conn.execute("DELETE FROM login_failure WHERE latest <= %s", (forgotten,))
    for subject in sorted(_hash(subject) for subject in subjects):
        conn.execute(
            """
            INSERT INTO login_failure AS known (subject, failures, latest) VALUES (%s, 1, %s)
            ON CONFLICT (subject) DO UPDATE SET failures = known.failures + 1, latest = excluded.latest
            """,
            (subject, at),
        )


def clear_login_failures(conn: Connection, subjects: Collection[str]) -> None:
    """Forget the failures of the subjects: somebody got in."""
    conn.execute("DELETE FROM login_failure WHERE subject = ANY(%s)", ([_hash(subject) for subject in subjects],))


def _hash(subject: str) -> bytes:
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).digest()
