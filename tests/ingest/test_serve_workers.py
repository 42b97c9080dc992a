"""``shopfloor serve --workers 3``: real processes share one broker's records; one is killed; all leave in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from store.database import connect
from store.gateways import add_gateway
from wire.keys import VerifyingKey

WORKERS, CHUNK = 3, 20


class Served:
    """A running ``shopfloor serve`` over a database and a broker that are there already."""

    def __init__(self, folder: Path, database_url: str, broker_url: str) -> None:
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "shopfloor", "serve", "--database", database_url, "--broker", broker_url]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--server-key", str(folder / "key"), "--port", "0", "--workers", str(WORKERS), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.started: dict[str, Any] = json.loads(line)
        self.server_key = VerifyingKey.from_text(self.started["server_key"])

    def get(self, address: str) -> str:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - ours
                return str(answer.read().decode())
        except OSError:
            return ""

    def stored(self) -> list[int]:
        """How many records each worker has stored since it was started."""
        return [json.loads(self.get(f"{one}/api/ingest/status") or '{"stored": 0}')["stored"] for one in self.addresses]

    @property
    def addresses(self) -> list[str]:
        found: list[str] = self.started["ingestion"]
        return found

    def figure(self, name: str) -> float:
        families = text_string_to_metric_families(self.get(f"{self.started['dashboards']}/metrics"))
        return next((one.value for family in families for one in family.samples if one.name == name), 0.0)

    def worker(self, number: int) -> psutil.Process | None:
        """The process that has this worker's client id now."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if f"shopfloor-ingest-{number}" in process.cmdline():
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def served(tmp_path: Path, database_url: str, open_mosquitto: str) -> Iterator[Served]:
    served = Served(tmp_path, database_url, open_mosquitto)
    try:
        yield served
    finally:
        served.stop()


def _until(condition: Callable[[], bool], what: str, served: Served) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited for: {what}\n{served.log.read_text()[-4000:]}"
        time.sleep(0.1)


def test_workers_share_what_comes_and_one_that_is_killed_loses_nothing(  # noqa: PLR0917 - fixtures
    served: Served,
    database_url: str,
    open_mosquitto: str,
    new_gateway: Callable[[str], Any],
    new_publisher: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
) -> None:
    assert set(served.started["processes"]) == {"ingestion-1", "ingestion-2", "ingestion-3", "pages"}
    _until(lambda: served.figure("shopfloor_ingest_connected") == WORKERS, "all workers at the broker", served)
    gateways = [new_gateway(f"gw-{number:02}") for number in range(4)]
    with connect(database_url) as conn:
        for gateway in gateways:
            add_gateway(conn, gateway.id, gateway.key.public.raw)
    publishers = [new_publisher(open_mosquitto, gateway, served.server_key) for gateway in gateways]

    def send(chunks: int) -> None:
        for _ in range(chunks):
            for publisher in publishers:
                publisher.send(*publisher.gateway.make(CHUNK))

    def wait() -> None:
        for publisher in publishers:
            publisher.wait_until_acknowledged(len(publisher.gateway.records))

    send(5)
    wait()
    assert all(share > 0 for share in served.stored()), f"every worker takes its share: {served.stored()}"
    killed = served.worker(2)
    assert killed is not None
    send(3)
    os.kill(killed.pid, signal.SIGKILL)
    send(5)
    wait()
    _until(
        lambda: (again := served.worker(2)) is not None and again.pid != killed.pid,
        "the killed worker is started again",
        served,
    )
    _until(lambda: served.figure("shopfloor_ingest_connected") == WORKERS, "all workers at the broker again", served)
    before = served.stored()
    send(5)
    wait()
    after = served.stored()
    assert all(late > early for early, late in zip(before, after, strict=True)), f"all share again: {before}, {after}"
    for gateway in gateways:
        stored_once(database_url, gateway)

    tree = psutil.Process(served.process.pid).children(recursive=True)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0, served.log.read_text()[-4000:]
    assert served.process.stdout
    restarts = json.loads(served.process.stdout.read())["restarts"]
    assert restarts == {"ingestion-1": 0, "ingestion-2": 1, "ingestion-3": 0, "pages": 0}
    assert not [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
