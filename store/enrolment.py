"""Codes, requests and certificates of enrolment, and the decisions of people about them.

Decisions are only ever added (the table refuses anything else). Their number says whether a process has seen the newest
ones: they become visible in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from store.database import Connection
from store.foreign_text import storable, storable_detail
from store.instants import instant

MAXIMUM_FAILURES = 5
"""Wrong secrets after which a code is void."""


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """A one-time code as it is kept: without its secret. Times in milliseconds UTC."""

    id: str
    gateway: str
    issued_ms: int
    expires_ms: int
    used_ms: int | None
    failures: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A request to be enrolled. ``request`` is the certificate signing request (PKCS #10, DER)."""

    id: int
    code: str
    gateway: str
    evidence_key: bytes
    request: bytes
    state: str
    requested_ms: int
    origin: str


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that was made for a gateway: ``serial`` in hexadecimal, ``data`` in DER, times UTC."""

    serial: str
    gateway: str
    data: bytes
    issued_ms: int
    expires_ms: int
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a gateway, by whom, when."""

    id: int
    gateway: str
    kind: str
    actor: str
    detail: dict[str, Any]
    at_ms: int


def add_code(  # noqa: PLR0917 - a row and its columns
    conn: Connection, id: str, gateway: str, secret_hash: bytes, issued_ms: int, expires_ms: int
) -> None:
    """Keep a new code; codes of the gateway that were not used become void."""
    conn.execute(
        "UPDATE enrolment_code SET expires = %(at)s WHERE gateway = %(gateway)s AND used IS NULL AND expires > %(at)s",
        {"gateway": gateway, "at": instant(issued_ms)},
    )
    conn.execute(
        "INSERT INTO enrolment_code (id, gateway, secret_hash, issued, expires) VALUES (%s, %s, %s, %s, %s)",
        (id, gateway, secret_hash, instant(issued_ms), instant(expires_ms)),
    )


def use_code(conn: Connection, id: str, gateway: str, secret_hash: bytes, at_ms: int) -> bool:
    """Use a code up: one statement, so that of any number of callers at once one succeeds. Tell whether it is you."""
    used = conn.execute(
        "UPDATE enrolment_code SET used = %s WHERE id = %s AND gateway = %s AND secret_hash = %s"
        " AND used IS NULL AND expires > %s AND failures < %s",
        (instant(at_ms), id, gateway, secret_hash, instant(at_ms), MAXIMUM_FAILURES),
    )
    return used.rowcount == 1


def code_with_secret(conn: Connection, id: str, secret_hash: bytes) -> EnrolmentCode | None:
    """The code of this id and secret, used or not. A wrong secret for a known code counts against that code."""
    conn.execute(
        "UPDATE enrolment_code SET failures = failures + 1 WHERE id = %s AND secret_hash <> %s AND used IS NULL",
        (id, secret_hash),
    )
    row = conn.execute(
        "SELECT id, gateway, epoch_ms(issued), epoch_ms(expires), epoch_ms(used), failures FROM enrolment_code"
        " WHERE id = %s AND secret_hash = %s",
        (id, secret_hash),
        binary=True,
    ).fetchone()
    return None if row is None else EnrolmentCode(*row)


def add_enrolment(  # noqa: PLR0917 - a row and its columns
    conn: Connection, code: str, gateway: str, evidence_key: bytes, request: bytes, origin: str, requested_ms: int
) -> Enrolment:
    """Keep a request that came with a code which has just been used up."""
    row = conn.execute(
        "INSERT INTO enrolment (code, gateway, evidence_key, request, requested, origin)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id, state, origin",
        (code, gateway, evidence_key, request, instant(requested_ms), storable(origin)),
        binary=True,
    ).fetchone()
    id_, state, origin = row or (0, "", "")
    return Enrolment(id_, code, gateway, evidence_key, request, state, requested_ms, origin)


def enrolment(conn: Connection, id: int) -> Enrolment | None:
    """One request, locked until the transaction ends."""
    row = conn.execute(_SELECT_ENROLMENT + sql.SQL("WHERE id = %s FOR UPDATE"), (id,), binary=True).fetchone()
    return None if row is None else Enrolment(*row)


def enrolment_of_code(conn: Connection, code: str) -> Enrolment | None:
    """The request that used ``code`` up."""
    row = conn.execute(_SELECT_ENROLMENT + sql.SQL("WHERE code = %s"), (code,), binary=True).fetchone()
    return None if row is None else Enrolment(*row)


def enrolments(conn: Connection, gateway: str | None = None) -> list[Enrolment]:
    """All requests, of all gateways or of one, the newest first."""
    rows = conn.execute(
        _SELECT_ENROLMENT + sql.SQL("WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s ORDER BY id DESC"),
        {"gateway": gateway},
        binary=True,
    )
    return [Enrolment(*row) for row in rows]


def set_enrolment_state(conn: Connection, id: int, state: str) -> None:
    """Note what was decided about a request."""
    conn.execute("UPDATE enrolment SET state = %s WHERE id = %s", (state, id))


def add_certificate(conn: Connection, issued: IssuedCertificate) -> None:
    """Keep a certificate that was made."""
    conn.execute(
        "INSERT INTO certificate (serial, gateway, data, issued, expires) VALUES (%s, %s, %s, %s, %s)",
        (issued.serial, issued.gateway, issued.data, instant(issued.issued_ms), instant(issued.expires_ms)),
    )


def certificate(conn: Connection, serial: str) -> IssuedCertificate | None:
    """The certificate with this serial number."""
    row = conn.execute(_SELECT_CERTIFICATE + sql.SQL("WHERE serial = %s"), (serial,), binary=True).fetchone()
    return None if row is None else IssuedCertificate(*row)


def certificates(conn: Connection, gateway: str | None = None, *, at_ms: int | None = None) -> list[IssuedCertificate]:
    """Certificates by gateway and age, the newest last; with ``at_ms`` only those that have not expired then."""
    rows = conn.execute(
        _SELECT_CERTIFICATE
        + sql.SQL(
            "WHERE (%(gateway)s::text IS NULL OR gateway = %(gateway)s)"
            " AND (%(at)s::timestamptz IS NULL OR expires > %(at)s) ORDER BY gateway, issued, serial"
        ),
        {"gateway": gateway, "at": None if at_ms is None else instant(at_ms)},
        binary=True,
    )
    return [IssuedCertificate(*row) for row in rows]


def revoke_certificates(conn: Connection, gateway: str, at_ms: int) -> list[str]:
    """Revoke all certificates of a gateway that are not revoked yet; their serial numbers."""
    rows = conn.execute(
        "UPDATE certificate SET revoked = %s WHERE gateway = %s AND revoked IS NULL RETURNING serial",
        (instant(at_ms), gateway),
    )
    return sorted(row[0] for row in rows)


def add_decision(  # noqa: PLR0917 - a row and its columns
    conn: Connection, gateway: str, kind: str, actor: str, detail: Mapping[str, object], at_ms: int
) -> None:
    """Put a decision on record. Decisions wait for one another, so that none becomes visible behind a later one."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('access decisions', 0))")
    conn.execute(
        "INSERT INTO access_decision (gateway, kind, actor, detail, at) VALUES (%s, %s, %s, %s, %s)",
        (gateway, kind, storable(actor), storable_detail(detail), instant(at_ms)),
    )


def decisions(conn: Connection, gateway: str | None = None) -> list[Decision]:
    """Every decision, of all gateways or of one, the first one first."""
    rows = conn.execute(
        "SELECT id, gateway, kind, actor, detail, epoch_ms(at) FROM access_decision"
        " WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s ORDER BY id",
        {"gateway": gateway},
        binary=True,
    )
    return [Decision(*row) for row in rows]


def newest_decision(conn: Connection) -> int:
    """The number of the newest decision, 0 before the first; by index."""
    row = conn.execute("SELECT coalesce(max(id), 0) FROM access_decision", binary=True).fetchone()
    return 0 if row is None else int(row[0])


_SELECT_ENROLMENT = sql.SQL(
    "SELECT id, code, gateway, evidence_key, request, state, epoch_ms(requested), origin FROM enrolment "
)
_SELECT_CERTIFICATE = sql.SQL(
    "SELECT serial, gateway, data, epoch_ms(issued), epoch_ms(expires), epoch_ms(revoked) FROM certificate "
)
