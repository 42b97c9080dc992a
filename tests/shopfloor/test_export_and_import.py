"""From a gateway without an uplink to the server's database, by a file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.clock import DrivenClock
from agent.journal import Journal
from agent.keyfile import ensure_key
from shopfloor.main import main
from store.database import connect
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.records import read_records
from wire.descriptor import Descriptor
from wire.event import Event
from wire.keys import SigningKey

START = 1_759_248_000_000
"""2025-10-01T00:00+08:00."""

HOUR = 3_600_000
CONFIG = """\
gateway: gw-01
key_file: gw.key
data_directory: data
connections:
  - {id: line, protocol: modbus-tcp, host: h, devices: [{id: meter-1, model: acrel-adl400, interval: 10s}]}
"""


class Gateway:
    """A gateway file with a spool of one record an hour for three days."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "gateway.yaml"
        self.config.write_text(CONFIG)
        self.key = ensure_key(directory / "gw.key")
        self.spool = directory / "data" / "spool.sqlite"
        clock = DrivenClock(START)
        book = Journal(directory / "data", "gw-01", self.key, 2**23, clock)
        book.append(Descriptor("gw-01", "test", "Asia/Shanghai", ()))
        for hour in range(72):
            clock._now_ms = START + hour * HOUR
            book.append(Event("start", {"hour": hour}))
        book.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def trust(database_url: str, key: SigningKey) -> None:
    with connect(database_url) as conn:
        add_gateway(conn, "gw-01", key.public.raw, "")


def test_a_whole_spool_arrives_byte_for_byte_and_a_second_time_changes_nothing(
    gateway: Gateway, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gw-01.records"
    code, exported, _ = run(capsys, "agent", "export", gateway.config, "--output", file)
    assert (code, exported["records"], exported["first_seq"], exported["last_seq"]) == (0, 73, 1, 73)
    trust(database_url, gateway.key)
    code, imported, _ = run(capsys, "ingest", "import", file, "--database", database_url)
    assert code == 0
    assert (imported["stored"], imported["duplicates"], imported["refused"]) == (73, 0, {})
    assert imported["heads"] == {"gw-01": 73}
    with sqlite3.connect(gateway.spool) as spool, connect(database_url) as conn:
        sent = [bytes(data) for (data,) in spool.execute("SELECT data FROM record ORDER BY seq")]
        assert [bytes(record.data) for record in read_records(conn, "gw-01")] == sent
        assert list_incidents(conn, "gw-01", 10) == []
    code, again, _ = run(capsys, "ingest", "import", file, "--database", database_url)
    assert (code, again["stored"], again["duplicates"]) == (0, 0, 73)


def test_a_period_is_in_local_time_and_brings_the_descriptor_it_needs(
    gateway: Gateway, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{day}.records" for day in (1, 2)]
    _, second, _ = run(
        capsys, "agent", "export", gateway.config, "--from", "2025-10-02", "--to", "2025-10-03", "--output", files[1]
    )
    assert (second["first_seq"], second["last_seq"], second["records"]) == (26, 49, 25)
    _, first, _ = run(capsys, "agent", "export", gateway.config, "--to", "2025-10-01T16:00Z", "--output", files[0])
    assert (first["first_seq"], first["last_seq"]) == (1, 25)
    trust(database_url, gateway.key)
    _, later, _ = run(capsys, "ingest", "import", files[1], "--database", database_url)
    assert later["heads"] == {"gw-01": 1}, "the days before are missing yet"
    _, earlier, _ = run(capsys, "ingest", "import", files[0], "--database", database_url)
    assert (earlier["stored"], earlier["duplicates"]) == (24, 1)
    assert earlier["heads"] == {"gw-01": 49}, "files may come in any order"


def test_what_is_not_authentic_is_refused_with_the_reason(
    gateway: Gateway, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gw-01.records"
    run(capsys, "agent", "export", gateway.config, "--output", file)
    code, report, _ = run(capsys, "ingest", "import", file, "--database", database_url)
    assert (code, report["stored"], report["refused"]) == (1, 0, {"unknown-gateway": 73})
    trust(database_url, gateway.key)
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    code, report, _ = run(capsys, "ingest", "import", file, "--database", database_url)
    assert (code, report["stored"], report["refused"]) == (1, 72, {"bad-signature": 1})


def test_a_file_that_was_cut_is_imported_as_far_as_it_goes(
    gateway: Gateway, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gw-01.records"
    run(capsys, "agent", "export", gateway.config, "--output", file)
    file.write_bytes(file.read_bytes()[:-10])
    trust(database_url, gateway.key)
    code, _, error = run(capsys, "ingest", "import", file, "--database", database_url)
    assert code == 2
    assert "ends in the middle of a record" in error
    assert run(capsys, "ingest", "status", "--database", database_url)[1]["gateways"]["gw-01"]["head_seq"] == 72


def test_mistakes_are_told_and_files_are_not_overwritten(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.records"
    export = ("agent", "export", gateway.config, "--output", file)
    assert "is not a time" in run(capsys, *export, "--from", "yesterday")[2]
    assert "no records of this period" in run(capsys, *export, "--from", "2026-01-01")[2]
    assert not file.exists()
    file.write_text("mine")
    code, _, error = run(capsys, *export)
    assert (code, file.read_text()) == (2, "mine")
    assert "exists already" in error
    gateway.spool.unlink()
    assert "has the agent run" in run(capsys, "agent", "export", gateway.config, "--output", tmp_path / "y")[2]


def test_a_damaged_record_is_left_out_and_said(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(gateway.spool) as spool:
        spool.execute("UPDATE record SET data = zeroblob(100) WHERE seq = 30")
    file = tmp_path / "x.records"
    code, report, _ = run(capsys, "agent", "export", gateway.config, "--output", file)
    assert (code, report["records"], report["damaged"]) == (1, 72, 1)
