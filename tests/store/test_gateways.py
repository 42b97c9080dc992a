from __future__ import annotations

import psycopg
import pytest

from store.database import Connection
from store.errors import DuplicateGatewayError
from store.gateways import add_gateway, gateway, gateways
from store.records import lock_head


def test_gateways_come_back_in_the_order_of_their_ids(conn: Connection) -> None:
    add_gateway(conn, "gw-02", bytes([2]) * 32, name="二号网关")
    add_gateway(conn, "gw-01", bytes([1]) * 32)
    found = gateways(conn)
    assert [(g.id, g.name, g.public_key) for g in found] == [
        ("gw-01", "", bytes([1]) * 32),
        ("gw-02", "二号网关", bytes([2]) * 32),
    ]
    assert gateway(conn, "gw-02") == found[1]
    assert gateway(conn, "gw-03") is None


def test_enrolling_again_with_the_same_key_is_harmless(conn: Connection) -> None:
    add_gateway(conn, "gw-01", bytes([1]) * 32, name="first")
    add_gateway(conn, "gw-01", bytes([1]) * 32)
    add_gateway(conn, "gw-01", bytes([1]) * 32, name="renamed")
    assert [g.name for g in gateways(conn)] == ["renamed"]


def test_an_id_cannot_be_taken_over_with_another_key(conn: Connection) -> None:
    add_gateway(conn, "gw-01", bytes([1]) * 32, name="first")
    with pytest.raises(DuplicateGatewayError, match="gw-01"):
        add_gateway(conn, "gw-01", bytes([2]) * 32, name="second")
    assert [(g.name, g.public_key) for g in gateways(conn)] == [("first", bytes([1]) * 32)]


def test_only_an_enrolled_gateway_has_a_chain(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        lock_head(conn, "gw-99")
