"""A gateway that floods is slowed, told on, and in the end loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingest.address import BrokerAddress
from ingest.authentication import Message
from ingest.broker import EmbeddedBroker
from ingest.consumer import Consumer
from ingest.pace import Pace
from ingest.session import MqttSessions
from ingest.transaction import FLOOD
from store.database import connect, pool
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.records import read_head, record_hashes
from wire.keys import SigningKey


@dataclass(frozen=True)
class Delivered:
    """A message of a topic."""

    message: Message


def deliveries(topic: str, count: int) -> list[Delivered]:
    return [Delivered(Message(topic, bytes([number]), 0)) for number in range(count)]


def test_an_allowance_is_of_one_topic_and_grows_with_time() -> None:
    now_s = [100.0]
    pace = Pace(records_per_s=2, burst=5, clock=lambda: now_s[0])
    taken, held_back = pace.sort_out([*deliveries("a", 7), *deliveries("b", 3)])
    assert [one.message.topic for one in taken] == ["a"] * 5 + ["b"] * 3
    assert held_back == deliveries("a", 7)[5:]
    now_s[0] += 1.5
    taken, held_back = pace.sort_out(deliveries("a", 4))
    assert (len(taken), len(held_back)) == (3, 1)
    now_s[0] += 1e6
    assert len(pace.sort_out(deliveries("a", 9))[0]) == 5, "what is not used is not saved up beyond the burst"


def test_topics_without_end_take_no_memory_without_end() -> None:
    pace = Pace(burst=1)
    for number in range(30_000):
        pace.sort_out(deliveries(f"topic-{number}", 1))
    assert len(pace._allowances) == 10_000


def test_a_flood_is_told_once_and_all_of_it_arrives_in_the_end(
    broker: EmbeddedBroker, database_url: str, gateway: Any, new_publisher: Callable[..., Any]
) -> None:
    server_key = SigningKey.generate()
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    with pool(database_url, 4) as connections:
        sessions = MqttSessions(BrokerAddress.from_url(broker.url), "shopfloor-ingest")
        consumer = Consumer(sessions, connections, server_key, pace=Pace(records_per_s=20, burst=10))
        consumer.start()
        try:
            publisher = new_publisher(broker.url, gateway, server_key.public)
            publisher.send(*gateway.make(60))
            publisher.wait_until_acknowledged(60)
        finally:
            consumer.stop()
    with connect(database_url) as conn:
        assert read_head(conn, "gw-01").seq == 60
        assert record_hashes(conn, "gw-01", 1, 99) == {one.seq: one.hash for one in gateway.records}
        (told,) = list_incidents(conn, kind=FLOOD)
        assert (told.gateway, told.detail["records_per_s"]) == ("gw-01", 20)
        assert told.detail["held_back"] > 0
