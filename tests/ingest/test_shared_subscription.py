"""Several workers behind one mosquitto share the records out among themselves (MQTT 5, 4.8.2); one is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.address import BrokerAddress, NatsAddress, address_from_url
from ingest.errors import BrokerAddressError
from ingest.session import MqttVersion
from ingest.sessions import sessions_with
from store.database import connect
from store.gateways import add_gateway

CHUNK = 20


def test_workers_share_and_a_killed_one_loses_nothing(  # noqa: PLR0917 - fixtures
    database_url: str,
    open_mosquitto: str,
    tmp_path: Path,
    new_gateway: Callable[[str], Any],
    new_publisher: Callable[..., Any],
    new_ingest: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
) -> None:
    gateways = [new_gateway("gw-01"), new_gateway("gw-02")]
    with connect(database_url) as conn:
        for gateway in gateways:
            add_gateway(conn, gateway.id, gateway.key.public.raw)
    workers = [
        new_ingest(database_url, open_mosquitto, tmp_path, "--share", "workers", "--client-id", f"worker-{number}")
        for number in range(2)
    ]
    publishers = [new_publisher(open_mosquitto, gateway, workers[0].server_key) for gateway in gateways]

    def send(chunks: int) -> None:
        for _ in range(chunks):
            for publisher in publishers:
                publisher.send(*publisher.gateway.make(CHUNK))

    def wait() -> None:
        for publisher in publishers:
            publisher.wait_until_acknowledged(len(publisher.gateway.records))

    send(10)
    wait()
    send(10)
    workers[0].kill()
    send(10)
    wait()
    workers[0].start()
    send(10)
    wait()
    stats = [worker.stop() for worker in workers]
    for gateway in gateways:
        stored_once(database_url, gateway)
    assert all(one["stored"] > 0 for one in stats), f"every worker takes its share: {stats}"


@pytest.mark.parametrize(
    ("address", "version", "share"),
    [
        ("mqtt://host", MqttVersion.V311, "workers"),
        ("mqtt://host", MqttVersion.AUTOMATIC, "a/b"),
        ("mqtt://host", MqttVersion.AUTOMATIC, ""),
        ("nats://host", MqttVersion.AUTOMATIC, "workers"),
    ],
    ids=["old-protocol", "not-a-name", "empty", "nats-shares-anyway"],
)
def test_a_share_that_cannot_be_had_is_refused(address: str, version: MqttVersion, share: str) -> None:
    read: BrokerAddress | NatsAddress = address_from_url(address)
    with pytest.raises(BrokerAddressError, match="share"):
        sessions_with(read, client_id="worker", mqtt_version=version, share=share)
