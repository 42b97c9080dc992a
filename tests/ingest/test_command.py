"""``shopfloor ingest`` as a person or a script uses it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.holes import tell_holes
from ingest.transaction import AdmissionTransactions
from shopfloor.main import main
from store.database import connect, pool
from store.incidents import add_incident
from store.projects import project
from wire.keys import SigningKey, VerifyingKey
from wire.topics import record_topic

RECEIVED_MS = 1_760_000_000_000

PLAN = """\
plan: 1
project: PL-2026-001
programme: pingluo-2025
enterprise: 示例新材料有限公司
boundary: 2# 生产线
timezone: Asia/Shanghai
baseline:  {from: 2025-07-01, to: 2025-09-29}
reporting: {from: 2025-10-06, to: 2025-11-20}
series:
  energy: {quantity: active_energy_import, unit: kWh, from: [gw-01/meter-1/active_energy_import]}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, model: linear, confidence: 0.90, target: {saving: 0.08}}
"""


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["ingest", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_gateway_is_trusted_and_its_records_are_reported(
    database_url: str, gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _run(capsys, "trust", "gw-01", gateway.key.public.text, "--database", database_url, "--json")
    assert (code, json.loads(out)["fingerprint"]) == (0, gateway.key.public.fingerprint)
    made = gateway.make(3)
    with pool(database_url, 2) as connections:
        AdmissionTransactions(connections).commit(
            [Message(record_topic("gw-01"), data, RECEIVED_MS) for data in [made[0].data, made[2].data, b"garbage"]]
        )
        tell_holes(connections, patience_ms=0)
    status = json.loads(_run(capsys, "status", "--database", database_url, "--json")[1])
    assert status["gateways"]["gw-01"]["records"] == 2
    assert status["gateways"]["gw-01"]["head_seq"] == 1
    assert status["quarantined"] == {"not-a-record": 1}
    refused = json.loads(_run(capsys, "quarantine", "list", "--database", database_url, "--json")[1])["quarantine"]
    assert [(one["reason"], one["bytes"], one["received_ms"]) for one in refused] == [("not-a-record", 7, RECEIVED_MS)]
    odd = json.loads(_run(capsys, "incidents", "list", "--database", database_url, "--json")[1])["incidents"]
    assert [(one["kind"], one["seq"]) for one in odd] == [("hole", 3)]
    shown = _run(capsys, "quarantine", "list", "--database", database_url)[1]
    assert shown.split()[1:3] == ["2025-10-09T16:53:20+08:00", "not-a-record"]
    assert "head 1" in _run(capsys, "status", "--database", database_url)[1]


def test_incidents_are_closed_and_opened_again_on_record(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(database_url) as conn:
        add_incident(conn, "gw-01", "fork", 7, {"stored": "ab"}, b"bytes", RECEIVED_MS)
    where = ("--database", database_url)
    (found,) = json.loads(_run(capsys, "incidents", "list", *where, "--json")[1])["incidents"]
    number = str(found["id"])
    assert (found["closed_ms"], found["bytes"], found["decisions"]) == (None, 5, [])
    code, out, _ = _run(capsys, "incidents", "close", number, "--reason", "spool copied", "--by", "li.wei", *where)
    assert (code, out) == (0, f"incident {number} is closed now\n")
    assert "open incidents: 0" in _run(capsys, "status", *where)[1]
    assert _run(capsys, "incidents", "list", "--state", "open", *where)[1] == "there are no incidents\n"
    shown = _run(capsys, "incidents", "list", "--state", "closed", *where)[1]
    assert shown.startswith(f"{number}  2025-10-09T16:53:20+08:00  gw-01  fork ")
    assert "closed by li.wei: spool copied" in shown
    code, out, _ = _run(capsys, "incidents", "reopen", number, "--reason", "it goes on", *where, "--json")
    assert json.loads(out)["changed"] == [found["id"]]
    (again,) = json.loads(_run(capsys, "incidents", "list", *where, "--json")[1])["incidents"]
    assert again["closed_ms"] is None
    assert [(one["closed"], one["reason"]) for one in again["decisions"]] == [
        (True, "spool copied"),
        (False, "it goes on"),
    ]
    code, _, err = _run(capsys, "incidents", "close", "99", "--reason", "x", *where)
    assert (code, "no incident 99" in err) == (2, True)


def test_a_closing_without_a_reason_is_none(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(capsys, "incidents", "close", "1", "--reason", "  ", "--database", database_url)
    assert ended.value.code == 2
    assert "must not be empty" in capsys.readouterr().err


def test_plan_is_registered_and_amended(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN, encoding="utf-8")
    reports = []
    for amended in (False, False, True):
        if amended:
            path.write_text(PLAN.replace("0.08", "0.10"), encoding="utf-8")
        code, out, _ = _run(capsys, "plan", str(path), "--database", database_url, "--json")
        assert code == 0
        reports.append(json.loads(out))
    assert [report["revision"] for report in reports] == [1, 1, 2]
    with connect(database_url) as conn:
        stored = project(conn, "PL-2026-001")
    assert stored is not None
    assert stored.plan_hash == hashlib.sha256(path.read_bytes()).digest()


@dataclass(frozen=True)
class Mistake:
    """Arguments that cannot work, and what is to be said about them."""

    arguments: str
    code: int
    message: str


MISTAKES = {
    "key": Mistake("trust gw-01 ed25519:tooshort --database {database}", 2, "public key"),
    "gateway-id": Mistake(f"trust GW/1 {SigningKey.generate().public.text} --database {{database}}", 2, "gateway id"),
    "plan-file": Mistake("plan no-such-file.yaml --database {database}", 2, "no-such-file.yaml"),
    "database-away": Mistake("status --database postgresql://127.0.0.1:1/nothing", 3, "127.0.0.1"),
    "no-broker": Mistake("run --database {database} --server-key {key}", 2, "--broker"),
    "broker-address": Mistake("run --database {database} --broker http://x --server-key {key}", 2, "http://x"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_end_in_a_message_and_an_exit_code(
    mistake: Mistake, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"database": database_url, "key": str(tmp_path / "server.key")}
    result, out, err = _run(capsys, *(argument.format(**places) for argument in mistake.arguments.split()))
    assert (result, out) == (mistake.code, "")
    assert err.startswith("error: ")
    assert mistake.message in err


def test_run_with_embedded_servers_admits_and_leaves_nothing_behind(
    tmp_path: Path, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    command = [sys.executable, "-m", "shopfloor", "ingest"]
    with subprocess.Popen(
        [*command, "run", "--embedded", str(tmp_path), "--server-key", str(tmp_path / "server.key"), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        started = json.loads(process.stdout.readline())
        # The folder is in use: the command goes to the server that runs there.
        assert main(["ingest", "trust", "gw-01", gateway.key.public.text, "--embedded", str(tmp_path)]) == 0
        publisher = new_publisher(started["broker"], gateway, VerifyingKey.from_text(started["server_key"]))
        publisher.send(*gateway.make(20))
        publisher.wait_until_acknowledged(20)
        process.send_signal(signal.SIGTERM)
        stats = json.loads(process.stdout.readline())
    assert process.returncode == 0
    assert stats["stored"] == 20
    assert not list(tmp_path.glob("**/postmaster.pid"))
