"""Workers that pull from one durable consumer, against a real server (one; the cluster has a lane of its own)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

import nats
import pytest
from nats.js.api import RetentionPolicy, StreamConfig

from ingest.address import NatsAddress
from ingest.broker import EmbeddedBroker
from ingest.delivery import Delivery
from ingest.errors import BrokerError, BrokerRefusalError
from ingest.inbox import Inbox
from ingest.jetstream import STREAM, JetStreamSessions
from ingest.service import IngestService
from store.database import connect
from store.gateways import add_gateway
from wire.keys import SigningKey

SERVER = SigningKey.generate()


@pytest.fixture
def address(broker: EmbeddedBroker) -> NatsAddress:
    """The port for NATS of a server that listens for MQTT, too."""
    log = (broker.data_directory / "nats-server.log").read_text(encoding="utf-8")
    found = re.search(r"Listening for client connections on (127\.0\.0\.1:\d+)", log)
    assert found
    return NatsAddress.from_url(f"nats://{found.group(1)}")


def _asked(address: NatsAddress, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """What ``work`` returns for a connection to the server."""

    async def ask() -> Any:
        client = await nats.connect(str(address))
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(ask())


def _messages_left(address: NatsAddress) -> int:
    async def count(client: Any) -> int:
        info = await client.jetstream().stream_info(STREAM)
        return int(info.state.messages)

    return int(_asked(address, count))


def _publish(address: NatsAddress, count: int) -> None:
    async def publish(client: Any) -> None:
        for number in range(count):
            await client.jetstream().publish("shopfloor.v1.gw-01.record", b"%d" % number)

    _asked(address, publish)


def _take(inbox: Inbox[Delivery], count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    deadline = time.monotonic() + 20
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} came"
        taken += inbox.take(count - len(taken), 0.2, 0)
    return taken


def test_two_workers_share_what_gateways_send_and_acknowledge_over_mqtt(  # noqa: PLR0917 - fixtures
    database_url: str,
    broker: EmbeddedBroker,
    address: NatsAddress,
    new_gateway: Callable[..., Any],
    new_publisher: Callable[..., Any],
    stored_once: Callable[[str, Any], None],
) -> None:
    gateways = [new_gateway("gw-01"), new_gateway("gw-02")]
    with connect(database_url) as conn:
        for gateway in gateways:
            add_gateway(conn, gateway.id, gateway.key.public.raw)
    with (
        IngestService(database_url, str(address), SERVER) as first,
        IngestService(database_url, str(address), SERVER) as second,
    ):
        publishers = [new_publisher(broker.url, gateway, SERVER.public) for gateway in gateways]
        while not all(service.stats().stored for service in (first, second)):
            for publisher in publishers:
                publisher.send(*publisher.gateway.make(20))
            for publisher in publishers:
                publisher.wait_until_acknowledged(len(publisher.gateway.records))
    for gateway in gateways:
        stored_once(database_url, gateway)
    assert _messages_left(address) == 0, "what is committed is out of the stream"


def test_what_a_worker_leaves_behind_goes_to_the_next_one_at_once(address: NatsAddress) -> None:
    sessions = JetStreamSessions(address)
    leaving: Inbox[Delivery] = Inbox(1000, 2**20)
    session = sessions.open(leaving)
    _publish(address, 30)
    taken = _take(leaving, 30)
    for delivery in taken[:10]:
        delivery.acknowledge()
    session.close()
    assert all(delivery.void for delivery in taken)
    staying: Inbox[Delivery] = Inbox(1000, 2**20)
    following = sessions.open(staying)
    again = _take(staying, 20)
    assert sorted(int(one.message.data) for one in again) == list(range(10, 30))
    assert {one.message.topic for one in again} == {"shopfloor/v1/gw-01/record"}
    following.close()


def test_a_message_that_is_released_comes_again(address: NatsAddress) -> None:
    inbox: Inbox[Delivery] = Inbox(1000, 2**20)
    session = JetStreamSessions(address).open(inbox)
    _publish(address, 1)
    _take(inbox, 1)[0].release()
    _take(inbox, 1)[0].acknowledge()
    session.close()
    assert _messages_left(address) == 0


def test_a_session_says_what_waits_at_the_broker(address: NatsAddress) -> None:
    inbox: Inbox[Delivery] = Inbox(10, 1_000_000)
    session = JetStreamSessions(address).open(inbox)
    assert session.backlog is None
    session.close()
    _publish(address, 300)
    session = JetStreamSessions(address).open(inbox)
    _take(inbox, 1)
    first = session.backlog
    assert first is not None
    assert 0 < first < 300
    _take(inbox, 299)
    assert session.backlog == 0
    session.close()


def test_a_full_inbox_leaves_the_rest_in_the_stream(address: NatsAddress) -> None:
    inbox: Inbox[Delivery] = Inbox(1000, 200)
    session = JetStreamSessions(address).open(inbox)
    _publish(address, 1500)
    taken = _take(inbox, 50)
    assert [int(one.message.data) for one in taken] == list(range(50))
    assert len(inbox) <= 200
    session.close()
    assert _messages_left(address) == 1500


@pytest.mark.parametrize(
    ("config", "programme", "says"),
    [
        (StreamConfig(STREAM, subjects=["shopfloor.v1.*.record"]), None, "should be a work queue"),
        (
            StreamConfig("another", subjects=["shopfloor.>"], retention=RetentionPolicy.WORK_QUEUE),
            None,
            "subjects overlap with an existing stream",
        ),
        (
            StreamConfig(
                STREAM,
                subjects=["shopfloor.v1.*.record"],
                retention=RetentionPolicy.WORK_QUEUE,
                metadata={"shopfloor-programme": "north"},
            ),
            "south",
            "programme 'north', not of 'south'",
        ),
    ],
    ids=["other-kind", "overlap", "other-programme"],
)
def test_a_stream_that_cannot_be_shared_is_refused(
    address: NatsAddress, config: StreamConfig, programme: str | None, says: str
) -> None:
    async def add(client: Any) -> None:
        await client.jetstream().add_stream(config)

    _asked(address, add)
    with pytest.raises(BrokerRefusalError, match=says):
        JetStreamSessions(address, programme).open(Inbox(10, 100))


def test_nobody_there_is_said(broker: EmbeddedBroker, address: NatsAddress) -> None:
    broker.stop()
    with pytest.raises(BrokerError, match=rf"no NATS cluster answers at {address}: .*Connect call failed"):
        JetStreamSessions(address).open(Inbox(10, 100))
