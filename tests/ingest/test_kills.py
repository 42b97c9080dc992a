"""kill -9 of each real process in mid-run: everything made is committed, once, and the chain is intact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.broker import EmbeddedBroker
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.migrations import migrate
from store.quarantine import quarantine_count
from store.records import read_head, read_records
from wire.chain import verify_run
from wire.keys import VerifyingKey
from wire.topics import record_topic

RECORDS = 1500
CHUNK = 25


class IngestProcess:
    """``shopfloor ingest run`` as a process of its own, which can be killed and started again."""

    def __init__(self, database_url: str, broker_url: str, directory: Path) -> None:
        self._command = [
            *(sys.executable, "-m", "shopfloor", "ingest", "run", "--json", "--database", database_url),
            *("--broker", broker_url, "--server-key", str(directory / "server.key")),
        ]
        self._log = directory / "ingest.log"
        self.server_key: VerifyingKey
        self.start()

    def start(self) -> None:
        """Start and wait until it says what it does."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        self.server_key = VerifyingKey.from_text(json.loads(line)["server_key"])

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def stop(self) -> dict[str, Any]:
        """Ask it to stop; return what it says it has done."""
        self._process.send_signal(signal.SIGTERM)
        output, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, self._log.read_text()
        stats: dict[str, Any] = json.loads(output.splitlines()[-1])
        return stats

    def cleanup(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self.kill()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, for a test that kills it."""
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        with connect(server.url) as conn:
            migrate(conn)
        yield server


@dataclass(frozen=True)
class Site:
    """The three processes of a server."""

    postgres: EmbeddedPostgres
    broker: EmbeddedBroker
    ingest: IngestProcess

    def kill(self, victim: str) -> None:
        """kill -9 one of them and start it again where it was."""
        if victim == "ingest":
            self.ingest.kill()
            self.ingest.start()
            return
        server = self.broker if victim == "broker" else self.postgres
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()


@pytest.fixture
def site(postgres: EmbeddedPostgres, broker: EmbeddedBroker, gateway: Any, tmp_path: Path) -> Iterator[Site]:
    """A running server that knows the gateway."""
    with connect(postgres.url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    process = IngestProcess(postgres.url, broker.url, tmp_path)
    yield Site(postgres, broker, process)
    process.cleanup()


@pytest.mark.parametrize(
    "victims", [["broker"], ["ingest"], ["postgres"], ["ingest", "broker", "postgres"]], ids="-".join
)
def test_killed_in_mid_run_nothing_is_lost_and_nothing_is_double(
    victims: list[str], site: Site, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    publisher = new_publisher(site.broker.url, gateway, site.ingest.server_key)
    killing_at = {RECORDS // (len(victims) + 1) * (index + 1): victim for index, victim in enumerate(victims)}
    killers: list[threading.Thread] = []
    for first in range(0, RECORDS, CHUNK):
        publisher.send(*gateway.make(CHUNK))
        if first in killing_at:
            # Records are under way to all of them now; the publisher goes on while the victim comes back.
            killers.append(threading.Thread(target=site.kill, args=(killing_at[first],)))
            killers[-1].start()
    for killer in killers:
        killer.join()
    assert len(killers) == len(victims)
    publisher.wait_until_acknowledged(RECORDS)
    site.ingest.stop()
    with connect(site.postgres.url) as conn:
        stored = list(read_records(conn, gateway.id))
        head = read_head(conn, gateway.id)
        refused, incidents = quarantine_count(conn), {one.kind for one in list_incidents(conn)}
    assert [record.seq for record in stored] == list(range(1, RECORDS + 1))
    assert [record.data for record in stored] == [record.data for record in gateway.records]
    run = verify_run([record.data for record in stored], gateway.key.public, gateway=gateway.id)
    assert run.faults == []
    assert (head.seq, head.hash) == (run.seq, run.hash)
    assert refused == 0
    assert incidents <= {"hole", "unknown-descriptor"}


def test_what_the_broker_holds_is_committed_after_the_return_of_ingest(
    site: Site, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    """While ingest is away the persistent session keeps what is published; nobody has to send it again."""
    publisher = new_publisher(site.broker.url, gateway, site.ingest.server_key)
    publisher.send(*gateway.make(10))
    publisher.wait_until_acknowledged(10)
    site.ingest.kill()
    for record in gateway.make(10):
        publisher.publish(record_topic(gateway.id), record.data)
    site.kill("broker")
    publisher.RESEND_SECONDS = 60.0
    site.ingest.start()
    publisher.wait_until_acknowledged(20)
    assert site.ingest.stop()["stored"] == 10
