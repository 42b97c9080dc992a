"""What was refused stays until it is authentic, and is stored exactly once then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.readmission import READMITTED, readmit
from ingest.transaction import AdmissionTransactions
from shopfloor.main import main
from store.database import Pool, connect, pool, transaction
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.quarantine import list_quarantine, quarantine_count
from store.records import read_head, record_hashes
from wire.topics import record_topic

RECEIVED_MS = 1_760_000_500_000


def refuse(connections: Pool, gateway: Any, count: int) -> list[bytes]:
    """Records of a gateway that is not registered, and a forged one, arrive."""
    datas = [record.data for record in gateway.make(count)]
    messages = [Message(record_topic(gateway.id), data, RECEIVED_MS) for data in [*datas, b"garbage"]]
    committed = AdmissionTransactions(connections).commit(messages)
    assert committed.tally.quarantined == count + 1
    return datas


def test_records_of_a_gateway_registered_later_are_stored_and_leave_the_quarantine(
    database_url: str, gateway: Any
) -> None:
    with pool(database_url, 2) as connections:
        refuse(connections, gateway, 6)
        still = readmit(connections)
        assert (still.offered, dict(still.refused)) == (7, {"unknown-gateway": 6, "not-a-record": 1})
        with transaction(connections) as conn:
            assert quarantine_count(conn) == 7
            add_gateway(conn, gateway.id, gateway.key.public.raw)
        result = readmit(connections)
        assert (dict(result.admitted), dict(result.refused), result.heads) == (
            {"gw-01": 6},
            {"not-a-record": 1},
            {"gw-01": 6},
        )
        with transaction(connections) as conn:
            assert [one.data for one in list_quarantine(conn)] == [b"garbage"]
            assert record_hashes(conn, "gw-01", 1, 9) == {one.seq: one.hash for one in gateway.records}
            (told,) = list_incidents(conn, kind=READMITTED)
            assert (told.gateway, told.detail) == ("gw-01", {"messages": 6})


def test_a_record_that_arrived_meanwhile_is_no_second_one(database_url: str, gateway: Any) -> None:
    with pool(database_url, 2) as connections:
        datas = refuse(connections, gateway, 3)
        with transaction(connections) as conn:
            add_gateway(conn, gateway.id, gateway.key.public.raw)
        again = [Message(record_topic("gw-01"), data, RECEIVED_MS + 1) for data in datas]
        AdmissionTransactions(connections).commit(again)
        result = readmit(connections, reason="unknown-gateway")
        assert (result.tally.stored, result.tally.duplicates, result.offered) == (0, 3, 3)
        with transaction(connections) as conn:
            assert quarantine_count(conn) == 1
            assert read_head(conn, "gw-01").seq == 3


def test_only_what_is_named_is_offered(database_url: str, new_gateway: Callable[[str], Any]) -> None:
    first, second = new_gateway("gw-01"), new_gateway("gw-02")
    with pool(database_url, 2) as connections:
        refuse(connections, first, 2)
        refuse(connections, second, 2)
        with transaction(connections) as conn:
            for gateway in (first, second):
                add_gateway(conn, gateway.id, gateway.key.public.raw)
            numbers = {one.data: one.id for one in list_quarantine(conn)}
        assert dict(readmit(connections, topic=record_topic("gw-02")).admitted) == {"gw-02": 2}
        assert dict(readmit(connections, ids=[numbers[first.records[0].data]]).admitted) == {"gw-01": 1}


def test_the_command_lists_shows_and_readmits(
    database_url: str, gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, Any]:
        code = main(["ingest", "quarantine", *arguments, "--database", database_url, "--json"])
        return code, json.loads(capsys.readouterr().out or "null")

    with pool(database_url, 2) as connections:
        refuse(connections, gateway, 2)
    listed = run("list")[1]["quarantine"]
    assert [one["reason"] for one in listed] == ["unknown-gateway", "unknown-gateway", "not-a-record"]
    number = str(listed[1]["id"])
    code, shown = run("show", number, "--out", str(tmp_path / "message"))
    assert (code, shown["record"][:35]) == (0, "descriptor 1 of gateway gw-01, 2025")
    assert shown["key_id"] == gateway.key.public.key_id.hex()
    assert (tmp_path / "message").read_bytes() == gateway.records[0].data
    assert run("show", "999")[0] == 2
    assert run("readmit")[0] == 2
    assert run("readmit", number)[0] == 1
    with connect(database_url) as conn:
        add_gateway(conn, "gw-01", gateway.key.public.raw)
    code, report = run("readmit", "--all", "--reason", "unknown-gateway", "--gateway", "gw-01")
    assert (code, report["admitted"], report["heads"]) == (0, {"gw-01": 2}, {"gw-01": 2})
    assert [one["reason"] for one in run("list")[1]["quarantine"]] == ["not-a-record"]
