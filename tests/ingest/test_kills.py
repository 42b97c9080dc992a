"""kill -9 of each real process in mid-run: everything made is committed, once, and the chain is intact."""

from __future__ import annotations

import os
import signal
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
from store.migrations import migrate
from wire.topics import record_topic

RECORDS = 1500
CHUNK = 25


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
    ingest: Any

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
def site(
    postgres: EmbeddedPostgres, broker: EmbeddedBroker, gateway: Any, new_ingest: Callable[..., Any], tmp_path: Path
) -> Site:
    """A running server that knows the gateway."""
    with connect(postgres.url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    return Site(postgres, broker, new_ingest(postgres.url, broker.url, tmp_path))


@pytest.mark.parametrize(
    "victims", [["broker"], ["ingest"], ["postgres"], ["ingest", "broker", "postgres"]], ids="-".join
)
def test_killed_in_mid_run_nothing_is_lost_and_nothing_is_double(
    victims: list[str],
    site: Site,
    gateway: Any,
    new_publisher: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
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
    stored_once(site.postgres.url, gateway)


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
