"""What `agent check` says about space and metered lines, against what the spool really takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.clock import DrivenClock
from agent.commissioning import estimated_bytes_a_day
from agent.config import parse_config
from agent.journal import Journal
from agent.sizing import sizing
from shopfloor.main import main
from wire.event import Event
from wire.frame import Frame
from wire.keys import SigningKey

CONFIG = """
gateway: gw-01
key_file: k
data_directory: d
flush: {flush}
{more}
connections:
  - {{id: c, protocol: modbus-tcp, host: h, devices: [{{id: d, model: acrel-adl400, interval: 10s}}]}}
"""
UPLINK = 'uplink: {{url: "{}://h", server_key: "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", keepalive: {}}}'


def test_the_estimate_of_days_is_what_the_spool_really_keeps(tmp_path: Path) -> None:
    """Records of several sizes, around a page of the database: the estimate is within a fifth."""
    for size in (250, 1_000, 2_000, 4_000, 9_000, 30_000):
        book = Journal(tmp_path / str(size), "gw-01", SigningKey.generate(), 2**26, DrivenClock(1_751_299_200_000))
        made = 300
        book.append(Event("start"))
        before = book._spool._used()
        n = size // 250
        for _ in range(made):
            book.append((Frame(0, 1, 3, 0, 125, tuple(range(n)), bytes(n), os.urandom(250 * n), 0),))
        used, sealed = book._spool._used() - before, book.statistics.bytes
        book.close()
        config = parse_config(CONFIG.format(flush="10s", more="head_interval: 365d"), "gateway.yaml", tmp_path)
        day = round(sealed / made * 8_640)
        estimated = config.spool_bytes / sizing(config, day).spool_days / 8_640
        assert 0.85 < estimated / (used / made) < 1.2, (size, estimated, used / made)


def test_six_months_are_said_in_bytes(tmp_path: Path) -> None:
    small = parse_config(CONFIG.format(flush="10s", more="spool_bytes: 64MiB"), "gateway.yaml", tmp_path)
    day = estimated_bytes_a_day(small)
    needed = sizing(small, day).six_months_bytes
    assert sizing(small, day).spool_days < 184
    large = parse_config(CONFIG.format(flush="10s", more=f"spool_bytes: {needed}B"), "gateway.yaml", tmp_path)
    assert round(sizing(large, day).spool_days) == 184


def test_a_metered_line_is_cheaper_with_rarer_records_health_and_pings(tmp_path: Path) -> None:
    def line(flush: str, uplink: str, more: str = "") -> int:
        config = parse_config(CONFIG.format(flush=flush, more=f"{uplink}\n{more}"), "gateway.yaml", tmp_path)
        return sizing(config, estimated_bytes_a_day(config)).uplinks["server"]

    usual = line("10s", UPLINK.format("mqtt", "30s"))
    encrypted = line("10s", UPLINK.format("mqtts", "30s"))
    rare = line("15min", UPLINK.format("mqtts", "30s"), "health_interval: 1h")
    rarest = line("15min", UPLINK.format("mqtts", "15min"), "health_interval: 1h")
    assert encrypted > usual > rare > rarest
    assert rarest < usual / 4


def test_check_says_how_long_records_are_kept_and_what_lines_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG.format(flush="10s", more=UPLINK.format("mqtt", "30s")))
    assert main(["agent", "check", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["spool"]["budget"] == 256 * 2**20
    assert document["uplink_bytes_a_day"]["server"] > document["bytes_a_day"]
    assert main(["agent", "check", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"keeps about {document['spool']['days']:.0f} days" in shown
    assert "six months need spool_bytes: " in shown


def test_check_names_a_certificate_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        CONFIG.format(flush="10s", more=UPLINK.format("mqtts", "30s").replace("}", ", ca_file: absent.pem}"))
    )
    assert main(["agent", "check", str(path)]) == 2
    assert f"{tmp_path / 'absent.pem'}: cannot be used as ca_file" in capsys.readouterr().err
