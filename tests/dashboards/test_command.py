"""`shopfloor dashboards`."""

from __future__ import annotations

import argparse
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from dashboards.errors import AddressInUseError
from dashboards.server import serving
from shopfloor import dashboards as command
from shopfloor.main import main
from store.database import connect


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["dashboards", *arguments])
    code: int = options.func(options)
    return code


def test_dossier_says_what_is_proven(factory: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dossier.json"
    assert run("dossier", "PL-TEST-001", "--database", factory.database_url, "--json", str(file)) == 0
    printed = capsys.readouterr().out
    assert "is met" in printed
    assert "Signature: PASS" in printed
    assert "Log: NOT CHECKED (" in printed
    assert json.loads(file.read_text("utf-8"))["proof"]["proven"] is True


def test_dossier_names_the_record_and_exits_with_1(factory: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE record SET data = set_byte(data, 200, 255 - get_byte(data, 200)) WHERE seq = 33")
    assert run("dossier", "PL-TEST-001", "--database", factory.database_url) == 1
    printed = capsys.readouterr().out
    assert "record 33" in printed
    assert "is met" not in printed


def test_dossier_is_the_same_document_every_time(factory: Stored, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    written = []
    for _ in range(2):
        assert run("dossier", "PL-TEST-001", "--database", factory.database_url, "--json", "-") == 0
        written.append(capsysbinary.readouterr().out)
    assert written[0] == written[1]
    assert json.loads(written[0])["project"]["id"] == "PL-TEST-001"


def test_pages_are_served_until_the_end_of_the_block(factory: Stored) -> None:
    with serving(factory.database_url) as address:
        assert httpx2.get(f"{address}/healthz").status_code == 200
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{address}/healthz")


def test_a_taken_port_is_named(factory: Stored) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError, match=f"127.0.0.1:{port}"), serving(factory.database_url, port=port):
            pass


def test_a_database_without_tables_is_named_as_such(postgres_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = postgres_server.replace("@/shopfloor?", "@/postgres?")
    for arguments in (["run", "--port", "0"], ["dossier", "P"]):
        assert main(["dashboards", *arguments, "--database", url]) == 3
        assert "shopfloor ingest run" in capsys.readouterr().err


def test_a_dossier_that_cannot_be_written_is_a_message(
    factory: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dashboards", "dossier", "PL-TEST-001", "--database", factory.database_url, "--json", str(tmp_path)]
    assert main(arguments) == 2
    assert f"{tmp_path}: cannot be written" in capsys.readouterr().err
