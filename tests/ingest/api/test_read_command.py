"""``shopfloor read``: files from a running server, also when the way to it breaks off."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from ingest.api.parameters import instant_text
from ingest.api.router import read_api
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.gate import OpenGate
from shopfloor.api_client import ApiClient
from shopfloor.errors import RefusedError
from shopfloor.main import main
from store.database import connect, pool
from store.readers import Scope
from store.tokens import create_token
from wire.record_file import read_records

ENERGY, POWER = "gw-01/meter-1/energy", "gw-01/meter-1/power"
START_MS = 1_760_000_000_000
RECORDS = 62
ROWS = 2 * 10 * (RECORDS - 2)


class BadLine:
    """A way to the server on which every third answer breaks off in the middle; counts the questions."""

    def __init__(self, application: ASGIApp) -> None:
        self.asked = 0
        self.breaks = False
        self._application = application

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self.asked += 1
        broken = self.breaks and self.asked % 3 == 0

        async def send_half(message: Message) -> None:
            if broken and message["type"] == "http.response.body":
                await send({**message, "body": message.get("body", b"")[:10], "more_body": True})
                raise ConnectionAbortedError("the line is cut")
            await send(message)

        await self._application(scope, receive, send_half)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts."""
    monkeypatch.setattr("shopfloor.api_client._LONGEST_WAIT_SECONDS", 0.0)


@dataclass(frozen=True)
class Site:
    """A server on a port of its own, the line to it, and the database behind it."""

    address: str
    line: BadLine
    gateway: Any
    database_url: str


@pytest.fixture
def site(database_url: str, new_gateway: Callable[[str], Any], fill: Callable[..., None]) -> Iterator[Site]:
    gateway = new_gateway("gw-01")
    fill(database_url, gateway, records=RECORDS)
    application = FastAPI(openapi_url=None)
    with ExitStack() as stack:
        connections = stack.enter_context(pool(database_url, 2))
        application.include_router(read_api(connections))
        line = BadLine(OpenGate(application, Doorkeeper(connections), Scope.STATUS))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = uvicorn.Server(uvicorn.Config(line, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", line, gateway, database_url)
        server.should_exit = True
        thread.join(20)


def arguments(site: Site, *more: str, to_ms: int = START_MS + 10_000 * (RECORDS - 2)) -> list[str]:
    bounds = ["--from", instant_text(START_MS), "--to", instant_text(to_ms)]
    return ["read", "samples", POWER, ENERGY, *bounds, "--server", site.address, *more]


def rows_of(path: Path, format_: str) -> list[tuple[str, float, int]]:
    """Series, value and record of each row of a file."""
    if format_ == "csv":
        read = csv.DictReader(io.StringIO(path.read_text("utf-8")))
        return [(row["series"], float(row["value"]), int(row["record"])) for row in read]
    if format_ == "arrow":
        rows = pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [(row["series"], row["value"], row["record"]) for row in rows]


@pytest.mark.parametrize("format_", ["csv", "arrow", "jsonl"])
@pytest.mark.parametrize("rows", ["50000", "17"])
def test_pages_become_one_file(site: Site, tmp_path: Path, format_: str, rows: str) -> None:
    path = tmp_path / "samples"
    site.line.breaks = rows == "17"
    assert main(arguments(site, "--format", format_, "--rows", rows, "--output", str(path))) == 0
    read = rows_of(path, format_)
    assert len(read) == ROWS
    assert read[:2] == [(ENERGY, 0.0, 3), (POWER, 5.0, 3)]
    assert read[-1] == (POWER, 5.009, RECORDS)
    assert len(set(read)) == len(read)
    assert [one.name for one in tmp_path.iterdir()] == ["samples"]


@pytest.mark.parametrize("format_", ["csv", "arrow", "jsonl"])
def test_an_interrupted_download_goes_on_where_it_stopped(
    site: Site, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asking = tmp_path / "samples", arguments(site, "--format", format_, "--rows", "100")
    answered = ApiClient.get
    calls: list[str] = []

    def only_five(client: ApiClient, *question: Any) -> Any:
        calls.append(str(question))
        if len(calls) > 5:
            raise KeyboardInterrupt
        return answered(client, *question)

    with monkeypatch.context() as patch:
        patch.setattr(ApiClient, "get", only_five)
        assert main([*asking, "--output", str(path)]) == 130
    assert not path.exists()
    with (tmp_path / "samples.part").open("ab") as part:
        part.write(b"half a row that was not finished")
    asked = site.line.asked
    assert main([*asking, "--output", str(path)]) == 0
    assert site.line.asked - asked == ROWS // 100 - 5
    whole = tmp_path / "whole"
    assert main([*asking, "--output", str(whole)]) == 0
    assert rows_of(path, format_) == rows_of(whole, format_)
    if format_ != "arrow":
        assert path.read_bytes() == whole.read_bytes()


def test_what_was_begun_for_another_question_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "samples"
    (tmp_path / "samples.part").write_text("something else")
    (tmp_path / "samples.part.json").write_text('{"query": {}, "bytes": 14, "cursor": "x", "skipped": 0}')
    assert main(arguments(site, "--output", str(path))) == 0
    assert len(rows_of(path, "csv")) == ROWS


def test_records_can_be_verified_and_imported(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "gw-01.records"
    site.line.breaks = True
    assert main(["read", "records", "gw-01", "--server", site.address, "--output", str(path)]) == 0
    with path.open("rb") as file:
        assert list(read_records(file)) == [record.data for record in site.gateway.records]
    some = tmp_path / "some.records"
    bounds = ["--from", instant_text(START_MS + 20_000), "--to", instant_text(START_MS + 40_000)]
    assert main(["read", "records", "gw-01", *bounds, "--server", site.address, "--output", str(some)]) == 0
    with some.open("rb") as file:
        assert list(read_records(file)) == [record.data for record in site.gateway.records[3:5]]


def test_listings_are_lines_of_json(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for what, expected in (("gateways", ["gw-01"]), ("series", [ENERGY, POWER]), ("incidents", [])):
        assert main(["read", what, "--server", site.address]) == 0
        assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == expected
    assert main(["read", "quarantine", "--server", site.address]) == 0
    assert json.loads(capsys.readouterr().out)["messages"] == 1


def test_to_standard_output(site: Site, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(arguments(site, to_ms=START_MS + 2000)) == 0
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert lines[0] == '"time","series","value","unit","status","record"'
    assert lines[1] == f'"{instant_text(START_MS)}","{ENERGY}",0,"kWh",0,3'
    assert len(lines) == 5


def test_unreadable_records_are_told_of_with_exit_code_1(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(site.database_url) as conn:
        conn.execute("UPDATE record SET data = set_byte(data, 200, get_byte(data, 200) # 1) WHERE seq = 10")
    assert main(arguments(site, "--output", str(tmp_path / "samples"))) == 1
    assert "1 records of the range could not be read" in capsys.readouterr().err
    assert len(rows_of(tmp_path / "samples", "csv")) == ROWS - 20


@dataclass(frozen=True)
class Refusal:
    """A command that cannot work, and what is said about it."""

    command: str
    code: int
    message: str


REFUSALS = {
    "no-zone": Refusal(f"samples {ENERGY} --from 2026-01-01 --to 2026-01-02T00:00:00Z", 2, "has no zone"),
    "no-series": Refusal("intervals gw-01/a/b --from 2026-01-01T00Z --to 2026-01-02T00Z", 2, "series gw-01/a/b"),
    "no-token": Refusal("gateways --token-file {missing}", 2, "cannot be read as a token"),
    "wrong-token": Refusal("gateways --token-file {wrong}", 2, "refuses (401)"),
    "no-scope": Refusal("series --token-file {token}", 2, "read:series"),
    "clear-text": Refusal("gateways --token-file {token} --server http://192.0.2.1:8000", 2, "clear text"),
    "no-address": Refusal("gateways --server evidence.example", 2, "https://host:8000"),
    "no-certificates": Refusal("gateways --ca {missing}", 2, "cannot be used as certificates"),
    "no-folder": Refusal("records gw-01 --output {missing}/x", 2, "cannot be written"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_name_the_reason(
    site: Site, tmp_path: Path, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong").write_text("shopfloor_wrong\n")
    with connect(site.database_url) as conn:
        (tmp_path / "token").write_text(create_token(conn, "few", [Scope.GATEWAYS], None, created_ms=START_MS))
    places = {name: str(tmp_path / name) for name in ("missing", "wrong", "token")}
    words = refusal.command.format(**places).split()
    server = [] if "--server" in words else ["--server", site.address]
    assert main(["read", *words, *server]) == refusal.code
    assert refusal.message in capsys.readouterr().err


def test_a_server_that_is_away_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert main(["read", "gateways", "--server", address]) == 3
    assert "asked 6 times" in capsys.readouterr().err


def test_a_redirection_is_not_followed_with_the_token() -> None:
    seen: list[str] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            seen.append(connection.recv(4096).decode())
            elsewhere = f"Location: http://127.0.0.1:{port}/elsewhere"
            connection.sendall(f"HTTP/1.1 302 Found\r\n{elsewhere}\r\nContent-Length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(RefusedError, match="302"):
            ApiClient(f"http://127.0.0.1:{port}", "secret").get("/gateways")
        thread.join(10)
    assert len(seen) == 1
    assert "Bearer secret" in seen[0]


def test_the_base_installation_is_enough() -> None:
    blocked = ["fastapi", "starlette", "psycopg", "numpy", "pyarrow", "argon2", "uvicorn", "jinja2", "pymodbus"]
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from shopfloor.main import main
sys.exit(main(["read", "gateways", "--server", "http://192.0.2.1"]))
"""
    environment = {"PATH": "", "SHOPFLOOR_TOKEN": "x"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert "a token is not sent in clear text" in ended.stderr
