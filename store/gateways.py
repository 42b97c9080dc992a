"""The enrolled gateways and their public keys."""

from __future__ import annotations

from dataclasses import dataclass

from store.database import Connection
from store.errors import DuplicateGatewayError


@dataclass(frozen=True, slots=True)
class Gateway:
    """An enrolled gateway; ``public_key`` is the raw Ed25519 key (32 bytes), ``added_ms`` UTC."""

    id: str
    name: str
    public_key: bytes
    added_ms: int


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
    rows = conn.execute("SELECT id, name, public_key, epoch_ms(added) FROM gateway ORDER BY id", binary=True)
    return [Gateway(*row) for row in rows]


def gateway(conn: Connection, id: str) -> Gateway | None:
    """One gateway, or None when no gateway has this id."""
    row = conn.execute(
        "SELECT id, name, public_key, epoch_ms(added) FROM gateway WHERE id = %s", (id,), binary=True
    ).fetchone()
    return None if row is None else Gateway(*row)
