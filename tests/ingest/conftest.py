"""Chains of records as gateways make them, and the servers that ingestion needs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from iotcore import Broker
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ingest.broker import EmbeddedBroker
from wire.chain import ChainWriter
from wire.descriptor import Descriptor, Device, Series
from wire.event import Event
from wire.frame import Frame, FrameBuilder
from wire.keys import SigningKey, VerifyingKey
from wire.receipt import Acknowledgement, open_acknowledgement
from wire.record import Record
from wire.topics import ack_topic, record_topic
from wire.words import WordOrder, WordType, encode_words

START_MS = 1_760_000_000_000
"""When the chains of these tests begin: 2025-10-09T08:53:20Z."""

RECORD_MS = 10_000
SAMPLE_MS = 1_000


class Gateway:
    """A gateway of one meter with two series that makes one record of ten samples every ten seconds."""

    def __init__(self, id_: str = "gw-01", key: SigningKey | None = None) -> None:
        self.id = id_
        self.key = SigningKey.generate() if key is None else key
        self.chain = ChainWriter(id_, self.key)
        self.time_ms = START_MS
        self.records: list[Record] = []

    def descriptor(self) -> Descriptor:
        """What its words mean: energy in 10 Wh, one word of power in W."""
        energy = Series(
            "energy", "active_energy_import", "kWh", "counter", 3, 0, WordType.UINT32, WordOrder.ABCD, scale=0.01
        )
        power = Series("power", "active_power", "kW", "gauge", 3, 2, WordType.UINT16, WordOrder.ABCD, scale=0.001)
        meter = Device(
            "meter-1", "example", bytes(32), "S1", "modbus-tcp", 1, 1.0, 1.0, False, SAMPLE_MS, (energy, power)
        )
        return Descriptor(self.id, "test", "Asia/Shanghai", (meter,))

    def frame(self, failing: int = 0) -> Frame:
        """Ten reads of the meter, the last ``failing`` of them timed out."""
        builder = FrameBuilder(0, 1, 3, 0, 3)
        for index in range(10):
            at = self.time_ms + index * SAMPLE_MS
            energy = encode_words((at - START_MS) // 1000, WordType.UINT32, WordOrder.ABCD)
            if index < 10 - failing:
                builder.add(at, 0, [*energy, 5000 + index], 3)
            else:
                builder.add(at, 0xF0, None, 1000)
        return builder.build()

    def make(self, count: int) -> list[Record]:
        """Make the next ``count`` records: a descriptor, the start event, then frames."""
        made = []
        for _ in range(count):
            body: Descriptor | Event | tuple[Frame, ...]
            if self.chain.seq == 0:
                body = self.descriptor()
            elif self.chain.seq == 1:
                body = Event("start", {"software": "test"})
            else:
                body = (self.frame(),)
                self.time_ms += RECORD_MS
            made.append(self.chain.append(body, time_ms=self.time_ms))
        self.records.extend(made)
        return made


class Publisher:
    """Sends a gateway's records as an agent does: keeps each until the server's signed acknowledgement covers it.

    Reconnects for as long as it takes, and sends again everything that is not acknowledged within `RESEND_SECONDS`.
    """

    RESEND_SECONDS = 1.5

    def __init__(
        self,
        url: str,
        gateway: Gateway,
        server: VerifyingKey,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    ) -> None:
        self.gateway = gateway
        self.acknowledged = 0
        self.acknowledgements: list[Acknowledgement] = []
        self._server = server
        self._connected = threading.Event()
        self._changed = threading.Condition()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=gateway.id, protocol=version)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self._connected.clear()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(0.1, 0.5)
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._client.connect(parts.hostname, parts.port)
        self._client.loop_start()

    def send(self, *records: Record) -> None:
        """Publish once, without waiting for anything."""
        assert self._connected.wait(20), "no connection to the broker"
        for record in records:
            self._client.publish(record_topic(self.gateway.id), record.data, qos=1)

    def publish(self, topic: str, data: bytes) -> None:
        """Publish any bytes anywhere; return when the broker has them."""
        assert self._connected.wait(20), "no connection to the broker"
        self._client.publish(topic, data, qos=1).wait_for_publish(20)

    def wait_until_acknowledged(self, seq: int, timeout_s: float = 60.0) -> None:
        """Send again what is not acknowledged until ``seq`` is; fail after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not self._wait(seq, self.RESEND_SECONDS):
            assert time.monotonic() < deadline, f"acknowledged to {self.acknowledged} only, {seq} was sent"
            if self._connected.is_set():
                self.send(*self.gateway.records[self.acknowledged : seq])

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def _wait(self, seq: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.acknowledged >= seq, timeout_s)

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe(ack_topic(self.gateway.id), qos=1)
        self._connected.set()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        acknowledgement = open_acknowledgement(bytes(message.payload), self._server)
        assert acknowledgement.gateway == self.gateway.id
        with self._changed:
            self.acknowledgements.append(acknowledgement)
            self.acknowledged = max(self.acknowledged, acknowledgement.seq)
            self._changed.notify_all()


@pytest.fixture
def new_publisher() -> Iterator[Callable[..., Publisher]]:
    """Makes publishers that leave the broker at the end of the test."""
    made: list[Publisher] = []

    def make(*arguments: Any, **options: Any) -> Publisher:
        made.append(Publisher(*arguments, **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@pytest.fixture
def gateway() -> Gateway:
    """A gateway that has made nothing yet."""
    return Gateway()


@pytest.fixture(scope="session")
def made_once() -> list[Record]:
    """The first twenty records of a gateway, for tests that only read them."""
    return Gateway().make(20)


@pytest.fixture
def new_gateway() -> Callable[[str], Gateway]:
    """Makes gateways by id."""
    return Gateway


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of its own for a test that may kill it."""
    with EmbeddedBroker(tmp_path / "broker") as running:
        yield running


@dataclass(frozen=True)
class Mqtt5Broker:
    """Addresses of one broker that speaks both protocols, each on a port of its own."""

    url: str
    url_of_311: str


@pytest.fixture
def mqtt5_broker(tmp_path: Path) -> Iterator[Mqtt5Broker]:
    """A rumqttd: nats-server does not speak MQTT 5."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        ports = {"v5": first.getsockname()[1], "v4": second.getsockname()[1]}
    configuration = tmp_path / "rumqttd.toml"
    router = (
        "max_connections = 100\nmax_outgoing_packet_count = 200\nmax_segment_size = 104857600\nmax_segment_count = 10"
    )
    listeners = [
        f"""
        [{version}.1]
        name = "{version}"
        listen = "127.0.0.1:{port}"
        next_connection_delay_ms = 1
        [{version}.1.connections]
        connection_timeout_ms = 60000
        max_payload_size = 524288
        max_inflight_count = 100
        dynamic_filters = true
        """
        for version, port in ports.items()
    ]
    configuration.write_text(f"id = 0\n[router]\nid = 0\n{router}\n{''.join(listeners)}", encoding="utf-8")
    with Broker(config_path=str(configuration)):
        yield Mqtt5Broker(f"mqtt://127.0.0.1:{ports['v5']}", f"mqtt://127.0.0.1:{ports['v4']}")
