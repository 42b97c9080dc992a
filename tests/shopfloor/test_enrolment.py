"""From code to acknowledged record: server, operator and gateway as people run them, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config import load_config
from wire.enrolment import EnrolmentCode

GATEWAY = """\
gateway: gw-01
key_file: gw-01.key
data_directory: data   # on the large disk
flush: 1s
connections:
  - id: cabinet
    protocol: modbus-tcp
    host: 127.0.0.1
    port: 9
    devices:
      - {id: meter-1, model: pulse-meter, interval: 1s}
"""
ENVIRONMENT = os.environ | {"SHOPFLOOR_AUTHORITY_PASSPHRASE": "only for tests, not secret"}
SHOPFLOOR = [sys.executable, "-m", "shopfloor"]


def run(*arguments: str, code: int = 0) -> str:
    """Run a command to its end and return what it printed, on either stream."""
    done = subprocess.run([*SHOPFLOOR, *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is stopped."""
    process = subprocess.Popen([*SHOPFLOOR, *arguments], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited for: {what}"
        time.sleep(0.2)
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server that lets gateways enrol; its addresses."""
    arguments = ["--embedded", str(tmp_path / "server"), "--server-key", str(tmp_path / "server.key")]
    with running("ingest", "run", *arguments, "--enrol", "127.0.0.1:0", "--json") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()) | {"embedded": str(tmp_path / "server")}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(GATEWAY, encoding="utf-8")
    return path


def test_a_gateway_goes_from_a_code_to_acknowledged_records_and_out_again(
    server: dict[str, str], config: Path, tmp_path: Path
) -> None:
    here = ("--embedded", server["embedded"])
    code = run("ingest", "enrol-code", "gw-01", *here).splitlines()[1]
    enrol = ("agent", "enrol", code, str(config), "--server", server["enrolment"])
    begun = run(*enrol, "--no-wait", code=1)
    assert "not decided yet" in begun
    [request] = json.loads(run("ingest", "enrolments", *here, "--json"))["enrolments"]
    assert (request["state"], request["fingerprint"] in begun) == ("pending", True)

    refused = run("ingest", "approve", "1", "1111-2222-3333-4444-5555", *here, code=2)
    assert "somebody else may have used the code" in refused
    with running(*enrol) as waiting:
        run("ingest", "approve", "1", request["fingerprint"], "--by", "Li Wei", *here)
        assert waiting.wait(60) == 0
    read = load_config(config)
    [uplink] = read.all_uplinks
    assert (uplink.url, uplink.server_key) == (server["gateway_broker"], server["server_key"])
    assert "data_directory: data   # on the large disk" in config.read_text(encoding="utf-8")
    for path in (read.key_file, uplink.client_key):
        assert path is not None
        assert path.stat().st_mode & 0o077 == 0
    assert "has uplink 'server'" in run(*enrol), "asked again, it says the same"

    with running("agent", "run", str(config)):
        status = wait_for(lambda: _acknowledged(config), "an acknowledged record")
        assert [one["state"] for one in status["enrolments"]] == ["approved"]
        assert "stop it first" in run("agent", "rotate-key", str(config), code=3)
    before = _head(here)
    run("agent", "rotate-key", str(config))
    with running("agent", "run", str(config)):
        wait_for(lambda: _head(here) > before + 2, "records signed by the new key")
        run("ingest", "revoke", "gw-01", "--reason", "sold", *here)
        wait_for(lambda: _status(config).get("uplinks") and _fault(config), "the uplink has a fault")
    kinds = [one["kind"] for one in json.loads(run("ingest", "decisions", *here, "--json"))["decisions"]]
    assert kinds == ["code-issued", "enrolment-approved", "certificate-issued", "key-rotated", "revoked"]
    shown = run("ingest", "decisions", *here)
    assert "Li Wei" in shown
    assert "sold" in shown
    assert "revoked, for good" in run("ingest", "enrol-code", "gw-01", *here, code=2)
    assert run("ingest", "enrolments", *here).count("revoked ") == 1
    assert tmp_path.exists()


def _status(config: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*SHOPFLOOR, "agent", "status", str(config), "--json"], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.stdout else {}


def _acknowledged(config: Path) -> dict[str, Any] | None:
    status = _status(config)
    return status if status.get("acknowledged_seq", 0) > 0 else None


def _fault(config: Path) -> bool:
    return any("uplink" in problem for problem in _status(config)["problems"])


def _head(here: tuple[str, str]) -> int:
    return int(json.loads(run("ingest", "status", *here, "--json"))["gateways"]["gw-01"]["head_seq"])


@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
def test_configuration_for_a_broker_of_one_s_own_is_written(tmp_path: Path, database_url: str, kind: str) -> None:
    output, authority = tmp_path / "broker", tmp_path / "authority"
    arguments = ["--for", kind, "--output", str(output), "--authority", str(authority), "--database", database_url]
    assert str(output) in run("ingest", "broker-config", *arguments)
    expected = {
        "nats": {"nats-server.conf", "access.conf"},
        "mosquitto": {"mosquitto.conf", "acl", "passwords", "service-password"},
    }[kind]
    assert {path.name for path in output.iterdir()} == expected
    assert {path.stat().st_mode & 0o077 for path in output.iterdir()} == {0}
    text = "".join(path.read_text() for path in output.iterdir())
    assert "shopfloor-ingest" in text
    assert str(authority / "server.pem") in text


def test_account_of_a_programme_is_written_for_servers_that_several_share(tmp_path: Path, database_url: str) -> None:
    output, authority = tmp_path / "broker", tmp_path / "authority"
    arguments = ["--output", str(output), "--authority", str(authority), "--database", database_url]
    arguments = ["ingest", "broker-config", "--for", "nats-account", *arguments]
    run(*arguments, "--programme", "north-1")
    assert {path.name for path in output.iterdir()} == {"programme-north-1.conf"}
    text = (output / "programme-north-1.conf").read_text()
    assert 'user: "ingest-north-1", password: $PROGRAMME_NORTH_1_INGEST_PASSWORD' in text
    assert "needs --programme NAME" in run(*arguments, code=2)


def test_without_a_passphrase_no_authority_is_made(tmp_path: Path, database_url: str) -> None:
    done = subprocess.run(
        [*SHOPFLOOR, "ingest", "enrol-code", "gw-01", "--authority", str(tmp_path / "a"), "--database", database_url],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in ENVIRONMENT.items() if not name.startswith("SHOPFLOOR_")},
    )
    assert done.returncode == 2
    assert "SHOPFLOOR_AUTHORITY_PASSPHRASE" in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_code_for_another_gateway_or_a_mangled_one_is_explained(config: Path) -> None:
    code = EnrolmentCode.make("gw-02", bytes(32)).text
    server = ("--server", "https://127.0.0.1:1")
    assert "the code is for gateway 'gw-02'" in run("agent", "enrol", code, str(config), *server, code=2)
    assert "copy the whole line" in run("agent", "enrol", code[:-9], str(config), *server, code=2)
    own = EnrolmentCode.make("gw-01", bytes(32)).text
    assert "does not answer" in run("agent", "enrol", own, str(config), *server, code=3)
    assert "https://name:8443" in run("agent", "enrol", own, str(config), "--server", "http://h", code=2)
