"""The enrolled gateways and their public keys: the one that was enrolled, and those that followed it in the chain."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from store.database import Connection
from store.errors import DuplicateGatewayError
from store.instants import instant


@dataclass(frozen=True, slots=True)
class Gateway:
    """An enrolled gateway; ``public_key`` is the raw Ed25519 key (32 bytes) that was enrolled, times are UTC.

    ``revoked_ms`` is since when nothing is taken from it any more, None while it is trusted.
    """

    id: str
    name: str
    public_key: bytes
    added_ms: int
    revoked_ms: int | None


def add_gateway(conn: Connection, id: str, public_key: bytes, name: str = "") -> None:
    """Enrol a gateway. Enrolling it again with the same key changes nothing but the name, if one is given.

    :raises DuplicateGatewayError: the id is enrolled with another key.
    """
    conn.execute(
        "INSERT INTO gateway (id, name, public_key) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (id, name, public_key),
    )
    known = gateway(conn, id)
    if known is None or known.public_key != public_key:
        raise DuplicateGatewayError(
            f"gateway {id} is enrolled with another key: give the new gateway another id, "
            "or keep the key file of the old one"
        )
    if name and name != known.name:
        conn.execute("UPDATE gateway SET name = %s WHERE id = %s", (name, id))


def gateways(conn: Connection) -> list[Gateway]:
    """All enrolled gateways by id."""
    rows = conn.execute(_SELECT_GATEWAY + sql.SQL("ORDER BY id"), binary=True)
    return [Gateway(*row) for row in rows]


def gateway(conn: Connection, id: str) -> Gateway | None:
    """One gateway, or None when no gateway has this id."""
    row = conn.execute(_SELECT_GATEWAY + sql.SQL("WHERE id = %s"), (id,), binary=True).fetchone()
    return None if row is None else Gateway(*row)


def revoke_gateway(conn: Connection, id: str, at_ms: int) -> bool:
    """Take nothing from a gateway from now on; tell whether it was trusted before."""
    revoked = conn.execute("UPDATE gateway SET revoked = %s WHERE id = %s AND revoked IS NULL", (instant(at_ms), id))
    return revoked.rowcount == 1


def add_successor(conn: Connection, gateway: str, first_seq: int, public_key: bytes) -> None:
    """Note that ``public_key`` signs from record ``first_seq`` on, as record ``first_seq`` - 1 says."""
    conn.execute(
        "INSERT INTO gateway_key (gateway, first_seq, public_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (gateway, first_seq, public_key),
    )


def successors(conn: Connection, gateway: str | None = None) -> dict[str, dict[int, bytes]]:
    """The keys that followed the enrolled ones, by gateway and by the seq from which they sign."""
    rows = conn.execute(
        "SELECT gateway, first_seq, public_key FROM gateway_key"
        " WHERE %(gateway)s::text IS NULL OR gateway = %(gateway)s ORDER BY gateway, first_seq",
        {"gateway": gateway},
        binary=True,
    )
    found: dict[str, dict[int, bytes]] = {}
    for id_, first_seq, public_key in rows:
        found.setdefault(id_, {})[first_seq] = public_key
    return found


_SELECT_GATEWAY = sql.SQL("SELECT id, name, public_key, epoch_ms(added), epoch_ms(revoked) FROM gateway ")
