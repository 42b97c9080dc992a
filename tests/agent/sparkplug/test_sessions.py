"""Sessions of the edge node at a broker: numbers that survive, hosts that ask too often, errors of our own."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import itertools
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.config import SparkplugConfig
from agent.newest import NewestReads, RegisterRead
from agent.sparkplug_session import HostState, SessionNumbers, SparkplugSessions
from wire.descriptor import Descriptor, Device, Series
from wire.document import validated
from wire.words import WordOrder, WordType

Until = Callable[..., Awaitable[None]]
COUNT = Series("count", "count", "1", "counter", 3, 0, WordType.UINT16, WordOrder.ABCD)
METER = Device("meter", "model", bytes(32), "", "modbus-tcp", 1, 1.0, 1.0, True, 1000, (COUNT,))
DESCRIPTOR = Descriptor("gw-01", "shopfloor-agent 1", "Asia/Shanghai", (METER,))


def read(value: int, device: int = 0) -> RegisterRead:
    return RegisterRead(device, 3, 0, 1, value, 0, [value])


@asynccontextmanager
async def publishing(
    directory: Path, newest: NewestReads, port: int, **further: Any
) -> AsyncIterator[SparkplugSessions]:
    config = SparkplugConfig(url=f"mqtt://127.0.0.1:{port}", group_id="plant-3", interval=100, **further)
    clock = itertools.count(1_000)
    sessions = SparkplugSessions(config, "gw-01", directory, newest, lambda: next(clock), last_reconnect_ms=1_000)
    task = asyncio.create_task(sessions.run())
    try:
        yield sessions
        assert not task.done()
    finally:
        sessions.stop()
        await asyncio.wait_for(task, 30)


def test_topics_nbirth_bdseq_increment(tmp_path: Path) -> None:
    """From 0, one more with each CONNECT that may have reached the broker, over 255 to 0, across starts."""
    numbers = SessionNumbers(tmp_path)
    assert [numbers.next(), numbers.next()] == [0, 0], "not used yet"
    numbers.used()
    assert numbers.next() == 1
    assert SessionNumbers(tmp_path).next() == 2, "whoever was killed may have used it"
    (tmp_path / "sparkplug-bdseq").write_text("255")
    assert SessionNumbers(tmp_path).next() == 0


@pytest.mark.parametrize("text", ["", "four", "256", "-7", "\xff"])
def test_a_damaged_number_costs_the_number(tmp_path: Path, text: str) -> None:
    (tmp_path / "sparkplug-bdseq").write_bytes(text.encode("latin-1"))
    assert SessionNumbers(tmp_path).next() == 0


def test_a_disk_that_takes_no_number_is_told_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbers = SessionNumbers(tmp_path / "missing")
    assert numbers.next() == 0
    numbers.used()
    assert numbers.next() == 1
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        b"ONLINE",
        b"",
        b"[]",
        b"7",
        b'{"online": true}',
        b'{"online": 1, "timestamp": 5}',
        b'{"online": true, "timestamp": "5"}',
        b'{"online": true, "timestamp": true}',
        b'{"online": true, "timestamp": Infinity}',
        b'{"online": true, "timestamp": 1e999}',
        b'{"online": true, "timestamp": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_what_is_no_state_changes_nothing(payload: bytes) -> None:
    host = HostState()
    host.take(payload)
    assert not host.online
    host.take(b'{"online": true, "timestamp": 0}')
    assert host.online, "and it stands in nobody's way"


def test_message_flow_edge_node_birth_publish_phid_wait_timestamp() -> None:
    host = HostState()
    seen = []
    for online, time_ms in [(False, 5), (True, 4), (True, 5), (False, 4), (False, 6)]:
        host.take(json.dumps({"online": online, "timestamp": time_ms}).encode())
        seen.append(host.online)
    assert seen == [False, False, True, True, False]


def test_hosts_that_ask_without_end_get_a_birth_now_and_then(
    tmp_path: Path, mosquitto: Any, sparkplug_host: Any, until: Until
) -> None:
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        newest = NewestReads(DESCRIPTOR)
        newest.note(read(1))
        async with publishing(tmp_path, newest, mosquitto.port):
            await until(lambda: bool(host.of("DBIRTH")))
            for _ in range(300):
                host.command("NCMD", "Node Control/Rebirth", True)
            await until(lambda: len(host.of("DBIRTH")) == 2)
            newest.note(read(2))
            await until(lambda: host.newest("meter")["count"] == 2)
            assert len(host.of("NBIRTH")) < 30

    asyncio.run(run())
    assert {one.number for one in host.of("NBIRTH", "NDEATH")} == {0}


def test_operational_behavior_data_commands_rebirth_action_1(
    tmp_path: Path, mosquitto: Any, sparkplug_host: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """From the request to the births nothing else is told: what has changed is in them."""
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        newest = NewestReads(DESCRIPTOR)
        newest.note(read(1))
        async with publishing(tmp_path, newest, mosquitto.port):
            await until(lambda: bool(host.of("DBIRTH")))
            host.command("NCMD", "Node Control/Rebirth", True)
            host.command("DCMD", "count", 0, device="meter")
            await until(lambda: "a command to meter is refused" in caplog.text)
            newest.note(read(2))
            await until(lambda: host.newest("meter")["count"] == 2)

    asyncio.run(run())
    assert [verb for verb, _ in host.verbs()][:4] == ["NBIRTH", "DBIRTH", "NBIRTH", "DBIRTH"]


def test_a_primary_host_that_is_back_at_once_is_told_everything_again(
    tmp_path: Path, mosquitto: Any, sparkplug_host: Any, until: Until
) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-offline, when both messages are read together."""
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        newest = NewestReads(DESCRIPTOR)
        newest.note(read(1))
        host.say("scada-1", online=True, time_ms=1)
        async with publishing(tmp_path, newest, mosquitto.port, primary_host_id="scada-1"):
            await until(lambda: bool(host.of("DBIRTH")))
            host.say("scada-1", online=False, time_ms=2)
            host.say("scada-1", online=True, time_ms=3)
            await until(lambda: len(host.of("DBIRTH")) == 2)

    asyncio.run(run())
    assert [(one.verb, one.number) for one in host.of("NBIRTH", "NDEATH")][:3] == [
        ("NBIRTH", 0),
        ("NDEATH", 0),
        ("NBIRTH", 1),
    ]


def test_an_error_of_ours_ends_the_session_and_not_the_lane(
    tmp_path: Path, mosquitto: Any, sparkplug_host: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """A read of a device that is not described: it cannot be, and if it is, the node says goodbye and comes again."""
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        newest = NewestReads(DESCRIPTOR)
        newest.note(read(1))
        async with publishing(tmp_path, newest, mosquitto.port):
            await until(lambda: bool(host.of("DBIRTH")))
            newest.note(read(5, device=9))
            await until(lambda: len(host.of("NBIRTH")) == 2)
        await until(lambda: len(host.of("NDEATH")) == 2)

    asyncio.run(run())
    assert [one.number for one in host.of("NBIRTH", "NDEATH")] == [0, 0, 1, 1]
    assert "an error that should not be" in caplog.text


def test_a_broker_that_refuses_the_edge_node_is_told_and_tried_again(
    tmp_path: Path, broker_of_version_5: Any, until: Until
) -> None:
    async def run() -> None:
        async with publishing(tmp_path, NewestReads(DESCRIPTOR), broker_of_version_5.port, version="3.1.1") as sessions:
            await until(lambda: sessions.fault not in (None, "not connected yet"))
            assert not sessions.born

    asyncio.run(run())


@pytest.fixture
def guarded_broker(tmp_path: Path, broker: Any) -> Iterator[Any]:
    """A nats-server that wants TLS and a password; ``certificate.pem`` beside it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scada")])
    now = datetime.datetime.now(datetime.UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(host, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (tmp_path / "guarded.conf").write_text(
        f"""
        server_name: guarded
        listen: "127.0.0.1:-1"
        jetstream {{ store_dir: "{tmp_path}/js" }}
        authorization {{ users: [ {{ user: "gw-01", password: "right" }} ] }}
        mqtt {{
            listen: "127.0.0.1:{port}"
            tls {{ cert_file: "{tmp_path}/certificate.pem", key_file: "{tmp_path}/key.pem" }}
        }}
        """
    )
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert program is not None
    server = type(broker)(port, [program, "-c", str(tmp_path / "guarded.conf")])
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"ca_file": "certificate.pem", "username": "gw-01", "password": "right"}, None),
        ({"ca_file": "certificate.pem", "username": "gw-01", "password": "wrong"}, "refuses the connection"),
        ({"username": "gw-01", "password": "right"}, "CERTIFICATE_VERIFY_FAILED"),
        ({"ca_file": "missing.pem", "username": "gw-01", "password": "right"}, "cannot be used as ca_file"),
    ],
)
def test_who_the_broker_is_and_who_the_gateway(
    tmp_path: Path, guarded_broker: Any, until: Until, given: dict[str, Any], fault: str | None
) -> None:
    async def run() -> None:
        url = f"mqtts://127.0.0.1:{guarded_broker.port}"
        broker = {"url": url, "group_id": "plant-3", "version": "3.1.1", **given}
        config = validated(SparkplugConfig, broker).placed_in(tmp_path)
        sessions = SparkplugSessions(config, "gw-01", tmp_path, NewestReads(DESCRIPTOR), lambda: 1)
        task = asyncio.create_task(sessions.run())
        await until(lambda: sessions.born or sessions.fault not in (None, "not connected yet"))
        assert sessions.born == (fault is None)
        assert fault is None or fault in str(sessions.fault)
        sessions.stop()
        await asyncio.wait_for(task, 30)

    asyncio.run(run())


def test_while_nobody_takes_them_reads_do_not_pile_up() -> None:
    newest = NewestReads(DESCRIPTOR)
    for value in range(10_000):
        newest.note(read(value))
    assert len(newest) == 1


def test_an_equal_descriptor_is_no_reason_for_a_birth() -> None:
    newest = NewestReads(DESCRIPTOR)
    newest.note(read(1))
    newest.follow(Descriptor("gw-01", "shopfloor-agent 1", "Asia/Shanghai", (METER,)))
    described, reads = newest.take()
    assert described is DESCRIPTOR
    assert reads == (read(1),)
    newest.note(read(2))
    newest.follow(Descriptor("gw-01", "shopfloor-agent 2", "Asia/Shanghai", (METER,)))
    assert newest.take()[1] == ()
