"""SIGTERM in the middle of a load: what was committed is acknowledged, and nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingest.broker import EmbeddedBroker
from store.database import connect
from store.gateways import add_gateway
from store.records import read_head
from wire.keys import VerifyingKey


def _head(database_url: str) -> int:
    with connect(database_url) as conn:
        return read_head(conn, "gw-01").seq


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.02)


def test_what_is_committed_when_ingestion_is_told_to_stop_is_acknowledged(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any], tmp_path: Path
) -> None:
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    command = [
        *(sys.executable, "-m", "shopfloor", "ingest", "run", "--database", database_url, "--broker", broker.url),
        *("--server-key", str(tmp_path / "server.key"), "--json"),
    ]
    records = gateway.make(1_500)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            started = json.loads(process.stdout.readline())
            publisher = new_publisher(broker.url, gateway, VerifyingKey.from_text(started["server_key"]))
            publisher.wait_until_acknowledged(1)
            publisher.send(*records[1:])
            _wait_for(lambda: _head(database_url) > 1, "something to be committed")
            process.send_signal(signal.SIGTERM)
            stats = json.loads(process.stdout.readline())
            assert process.wait(60) == 0
        finally:
            process.kill()
    head = _head(database_url)
    assert 0 < stats["stored"] <= head
    _wait_for(lambda: publisher.acknowledged == head, "the last commit to be acknowledged")
    assert publisher.acknowledgements[-1].hash == records[head - 1].hash
