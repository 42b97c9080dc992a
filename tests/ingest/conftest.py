"""Chains of records as gateways make them, and the servers that ingestion needs."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from iotcore import Broker
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.nats_cluster import FILES as CLUSTER_FILES
from bench.nats_cluster import PASSWORDS as CLUSTER_PASSWORDS
from bench.nats_cluster import NatsCluster
from ingest.broker import EmbeddedBroker, find_nats_server
from ingest.broker_reload import MosquittoFiles, NatsAccountFiles
from ingest.certificate_authority import CertificateAuthority, service_context
from ingest.enrolment import ENROLMENT_REFUSED, approve, issue_code, revoke
from ingest.enrolment_http import Site
from ingest.gate import Gate
from ingest.holes import tell_holes
from ingest.service import IngestService
from store.database import connect, pool
from store.incidents import list_incidents
from store.quarantine import quarantine_count, quarantine_reasons
from store.records import read_head, read_records
from wire.chain import ChainWriter, verify_run
from wire.descriptor import Descriptor, Device, Series
from wire.enrolment import REQUEST_PATH, STATUS_PATH, EnrolmentCode, enrolment_statement, status_statement
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

_numbers = itertools.count(1)


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
        if parts.username:
            self._client.username_pw_set(parts.username, parts.password)
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
def nats_cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """A running cluster of three servers."""
    with NatsCluster(tmp_path / "nats").running() as cluster:
        yield cluster


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


class IngestProcess:
    """``shopfloor ingest run`` as a process of its own, which can be killed and started again."""

    def __init__(self, database_url: str, broker_url: str, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._command = [
            *(sys.executable, "-m", "shopfloor", "ingest", "run", "--json", "--database", database_url),
            *("--broker", broker_url, "--server-key", str(directory / "server.key"), *options),
        ]
        self._log = directory / f"ingest-{next(_numbers)}.log"
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
def new_ingest() -> Iterator[Callable[..., IngestProcess]]:
    """Starts processes of ingestion that do not outlive the test."""
    started: list[IngestProcess] = []

    def start(*arguments: Any) -> IngestProcess:
        started.append(IngestProcess(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.cleanup()


@pytest.fixture
def stored_once() -> Callable[[str, Gateway], None]:
    """Fails unless a database has each record that a gateway has made once, byte for byte, in one intact chain, and
    nothing odd or refused beside them."""

    def check(database_url: str, gateway: Gateway) -> None:
        with pool(database_url, 1) as connections:
            tell_holes(connections, patience_ms=0)
        with connect(database_url) as conn:
            stored = [record.data for record in read_records(conn, gateway.id)]
            head = read_head(conn, gateway.id)
            assert list_incidents(conn, gateway.id) == []
            assert quarantine_count(conn) == 0
        assert stored == [record.data for record in gateway.records]
        run = verify_run(stored, gateway.key.public, gateway=gateway.id)
        assert run.faults == []
        assert (head.seq, head.hash) == (run.seq, run.hash)

    return check


@pytest.fixture
def gateway() -> Gateway:
    """A gateway that has made nothing yet."""
    return Gateway()


@pytest.fixture(scope="session")
def made_once() -> list[Record]:
    """The first twenty records of a gateway, for tests that only read them."""
    return Gateway().make(20)


@pytest.fixture(scope="session")
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


AUTHORITY_PASSPHRASE = b"only for tests, not secret"


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Return what ``condition`` returns as soon as that is true; fail after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.05)
    return found


class EnrollingGateway(Gateway):
    """A gateway with a TLS key, which speaks to the enrolment server in its own words."""

    def __init__(self, id_: str, directory: Path) -> None:
        super().__init__(id_)
        self.tls_key = ec.generate_private_key(ec.SECP256R1())
        self.key_file = directory / f"{id_}-{next(_numbers)}.key"
        self.certificate_file = self.key_file.with_suffix(".pem")
        self.key_file.write_bytes(
            self.tls_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.csr = self.signing_request(id_)

    def signing_request(self, name: str, *hosts: str) -> bytes:
        """Return a signing request (DER) that states ``name`` and ``hosts``."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.tls_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def asking(self, code: EnrolmentCode, csr: bytes | None = None) -> dict[str, Any]:
        """Return the request with which it asks to be enrolled."""
        csr = self.csr if csr is None else csr
        return {
            "code": code.text,
            "request": base64.b64encode(csr).decode(),
            "evidence_key": self.key.public.text,
            "proof": base64.b64encode(self.key.sign(enrolment_statement(code.gateway, code.id, csr))).decode(),
        }

    def question(self) -> dict[str, Any]:
        """Return the request with which it asks how it stands."""
        at_ms = time.time_ns() // 1_000_000
        proof = self.key.sign(status_statement(self.id, at_ms))
        return {
            "gateway": self.id,
            "evidence_key": self.key.public.text,
            "at_ms": at_ms,
            "proof": base64.b64encode(proof).decode(),
        }

    def renewal(self) -> dict[str, Any]:
        """Return the request with which it asks for another certificate."""
        return {"request": base64.b64encode(self.csr).decode()}

    @property
    def pair(self) -> tuple[Path, Path]:
        """The files of its certificate and key."""
        return self.certificate_file, self.key_file


class TlsPeer:
    """An MQTT client, gateway or attacker, that notes all that happens to it."""

    def __init__(
        self,
        port: int,
        authority: Path,
        shown: tuple[Path, Path] | None,
        *,
        client_id: str = "",
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
    ) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._changed = threading.Condition()
        v5 = version is MQTTProtocolVersion.MQTTv5
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=version,
            clean_session=None if v5 else True,
            reconnect_on_failure=False,
        )
        self._client.tls_set(str(authority), *(map(str, shown) if shown else (None, None)))
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._note("connected", str(reason))
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: self._note("ended", str(reason))
        self._client.on_subscribe = lambda _c, _u, mid, reasons, _p: self._note("subscribed", mid, str(reasons[0]))
        self._client.on_publish = lambda _c, _u, mid, reason, _p: self._note("published", mid, str(reason))
        self._client.on_message = lambda _c, _u, message: self._note("message", message.topic, bytes(message.payload))
        try:
            self._client.connect("127.0.0.1", port, 10)
            self._client.loop_start()
        except OSError as error:
            self._note("ended", str(error))
        self.await_event("connected", "ended")

    @property
    def let_in(self) -> bool:
        """Whether the broker took the connection and has not ended it."""
        return ("connected", "Success") in self.events and not any(event[0] == "ended" for event in self.events)

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        """Topics and contents of what it has received."""
        return [(event[1], event[2]) for event in self.events if event[0] == "message"]

    def publish(self, topic: str, data: bytes) -> str:
        """Publish, and return what the broker said."""
        mid = self._client.publish(topic, data, qos=1).mid
        return str(self.await_event("published", "ended", mid=mid)[-1])

    def subscribe(self, topic: str) -> str:
        """Subscribe, and return what the broker said."""
        _, mid = self._client.subscribe(topic, qos=1)
        return str(self.await_event("subscribed", "ended", mid=mid)[-1])

    def await_event(self, *kinds: str, mid: int | None = None, timeout_s: float = 20.0) -> tuple[Any, ...]:
        """Return the first event of one of ``kinds``; with ``mid``, of that message, or the end of the connection."""

        def found() -> tuple[Any, ...] | None:
            return next(
                (e for e in self.events if e[0] in kinds and (mid is None or e[0] == "ended" or e[1] == mid)), None
            )

        with self._changed:
            assert self._changed.wait_for(found, timeout_s), f"none of {kinds} came: {self.events}"
            event = found()
        assert event is not None
        return event

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, *event: Any) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()


@dataclass
class SecureSite:
    """A server as a city runs it: authority, broker with TLS, enrolment, ingestion; and what tests do to it."""

    directory: Path
    database_url: str
    authority: CertificateAuthority
    gate: Gate
    service: IngestService
    server_key: SigningKey
    mqtt_port: int
    broker_log: Path
    peers: list[TlsPeer]

    def code(self, gateway: str) -> EnrolmentCode:
        """Make a code, as the operator does."""
        with connect(self.database_url) as conn:
            return issue_code(conn, gateway, self.authority.fingerprint, time.time_ns() // 1_000_000, "operator")

    def gateway(self, id_: str) -> EnrollingGateway:
        """A gateway that is not enrolled."""
        return EnrollingGateway(id_, self.directory)

    def enrolled(self, id_: str) -> EnrollingGateway:
        """A gateway that has gone the whole way in."""
        gateway = self.gateway(id_)
        status, answer = self.post(REQUEST_PATH, gateway.asking(self.code(id_)))
        assert status == 202, answer
        with connect(self.database_url) as conn:
            approve(conn, answer["enrolment"], answer["fingerprint"], "operator", time.time_ns() // 1_000_000)
        status, answer = self.post(STATUS_PATH, gateway.question())
        assert (status, answer["state"]) == (200, "approved"), answer
        gateway.certificate_file.write_text(answer["certificate"], encoding="ascii")
        return gateway

    def post(self, path: str, document: Any, shown: tuple[Path, Path] | None = None) -> tuple[int, dict[str, Any]]:
        """Post JSON (or bytes as they are) to the enrolment server; return status and answer."""
        context = ssl.create_default_context(cafile=str(self.authority.files.authority))
        if shown is not None:
            context.load_cert_chain(*shown)
        connection = http.client.HTTPSConnection("127.0.0.1", self.gate.port, context=context, timeout=30)
        try:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            connection.request("POST", path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def peer(self, shown: tuple[Path, Path] | None, **options: Any) -> TlsPeer:
        """Connect to the broker, showing a certificate or none."""
        self.peers.append(TlsPeer(self.mqtt_port, self.authority.files.authority, shown, **options))
        return self.peers[-1]

    def revoke(self, gateway: str) -> None:
        """Revoke a gateway, as the operator does from another process."""
        with connect(self.database_url) as conn:
            revoke(conn, gateway, "stolen", "operator", time.time_ns() // 1_000_000)

    def refusals(self, gateway: str | None = None) -> list[str]:
        """Reasons of the refusals that are on record as incidents, the first one first."""
        with connect(self.database_url) as conn:
            found = list_incidents(conn, gateway, 1000)
        return [one.detail["reason"] for one in reversed(found) if one.kind == ENROLMENT_REFUSED]

    def quarantined(self) -> dict[str, int]:
        """How many messages are in quarantine, by reason."""
        with connect(self.database_url) as conn:
            return quarantine_reasons(conn)

    def incident_kinds(self, gateway: str) -> list[str]:
        """Kinds of the incidents of a gateway, the first one first."""
        with connect(self.database_url) as conn:
            return [one.kind for one in reversed(list_incidents(conn, gateway, 1000))]

    def await_log(self, text: str) -> None:
        """Wait until the broker's log has ``text``."""
        wait_for(lambda: text in self.broker_log.read_text(errors="replace"), f"'{text}' in {self.broker_log}")


def _find_mosquitto() -> str:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        assert not os.environ.get("CI"), "mosquitto is not installed: apt-get install mosquitto"
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    return program


@pytest.fixture
def open_mosquitto(tmp_path: Path) -> Iterator[str]:
    """The address of a mosquitto that lets everybody in."""
    program = _find_mosquitto()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration, log = tmp_path / "open-mosquitto.conf", tmp_path / "open-mosquitto.log"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n")
    with log.open("w") as output:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=output, stderr=output)
    try:
        wait_for(lambda: "mosquitto version" in log.read_text() and "running" in log.read_text(), "mosquitto")
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class Mosquitto:
    """A real mosquitto on files that `MosquittoFiles` writes."""

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        program = _find_mosquitto()
        self.log = directory / "mosquitto.log"
        self.pid_file = directory / "mosquitto.pid"
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self.port, service_port = first.getsockname()[1], second.getsockname()[1]
        self.files = MosquittoFiles(
            directory / "mosquitto", authority.files, host="127.0.0.1", port=self.port, service_port=service_port
        )
        self.files.admit([], [])
        # Started by root, mosquitto gives that up, and could not read the keys of whoever runs the tests.
        own = directory / "as-this-user.conf"
        own.write_text(f"user root\npid_file {self.pid_file}\ninclude_dir {self.files.directory}\n", encoding="utf-8")
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen([program, "-v", "-c", str(own)], stdout=log, stderr=log)
        wait_for(self.pid_file.exists, "mosquitto")
        self.files = MosquittoFiles(
            directory / "mosquitto",
            authority.files,
            host="127.0.0.1",
            port=self.port,
            service_port=service_port,
            pid_file=self.pid_file,
        )

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


class AccountServer:
    """A nats-server that programmes share, each in an account, with the files that `NatsAccountFiles` writes."""

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        directory.mkdir()
        self.log = directory / "nats-server.log"
        pid_file = directory / "pid"
        with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
            self.port, port = first.getsockname()[1], second.getsockname()[1]
        self.url = f"nats://ingest-a:secret-a@127.0.0.1:{port}"
        configuration = directory / "nats-server.conf"
        configuration.write_text(
            f'server_name: "n1"\nlisten: "127.0.0.1:{port}"\npid_file: "{pid_file}"\ndebug: true\n'
            f'jetstream {{ store_dir: "{directory / "streams"}" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{self.port}", include "mqtt-tls-enrolled.conf" }}\n'
            'include "accounts.conf"\n'
        )
        for file in ("accounts.conf", "mqtt-tls-enrolled.conf", "programme-b.conf"):
            shutil.copy(CLUSTER_FILES / file, directory)
        NatsAccountFiles(directory, "a").admit([], [])
        environment = {
            **os.environ,
            **CLUSTER_PASSWORDS,
            "PROGRAMME_A_INGEST_PASSWORD": "secret-a",
            "NATS_CERTIFICATE": str(authority.files.server),
            "NATS_CERTIFICATE_KEY": str(authority.files.server_key),
            "NATS_AUTHORITY": str(authority.files.authority),
        }
        with self.log.open("w", encoding="utf-8") as log:
            command = [str(find_nats_server()), "--config", str(configuration)]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: "Server is ready" in self.log.read_text(encoding="utf-8"), "nats-server")
        self.files = NatsAccountFiles(directory, "a", pid_file=pid_file)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def new_enrolling_gateway(tmp_path: Path) -> Callable[[str], EnrollingGateway]:
    """Makes gateways by id that have a TLS key and no certificate."""
    return lambda id_: EnrollingGateway(id_, tmp_path)


@pytest.fixture
def new_peer() -> Iterator[Callable[..., TlsPeer]]:
    """Makes MQTT clients that leave the broker at the end of the test."""
    made: list[TlsPeer] = []

    def make(*arguments: Any, **options: Any) -> TlsPeer:
        made.append(TlsPeer(*arguments, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.close()


@pytest.fixture(scope="session")
def authority_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an authority; its key is slow to encrypt."""
    directory = tmp_path_factory.mktemp("authority")
    CertificateAuthority.open_or_create(directory, AUTHORITY_PASSPHRASE)
    return directory


@pytest.fixture
def authority(authority_made_once: Path, tmp_path: Path) -> CertificateAuthority:
    """An authority of its own for a test."""
    shutil.copytree(authority_made_once, tmp_path / "authority")
    return CertificateAuthority.open_or_create(tmp_path / "authority", AUTHORITY_PASSPHRASE)


@pytest.fixture
def site(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, authority: CertificateAuthority
) -> Iterator[SecureSite]:
    """A whole site; by parameter with the embedded nats-server (default) or with mosquitto."""
    server_key = SigningKey.generate()
    with contextlib.ExitStack() as stack:
        told: EmbeddedBroker | MosquittoFiles | NatsAccountFiles
        if getattr(request, "param", "nats") == "mosquitto":
            mosquitto = Mosquitto(tmp_path, authority)
            stack.callback(mosquitto.stop)
            told, port, log = mosquitto.files, mosquitto.port, mosquitto.log
            url, context = mosquitto.files.service_url, None
        elif getattr(request, "param", "nats") == "nats-account":
            account = AccountServer(tmp_path / "nats", authority)
            stack.callback(account.stop)
            told, port, log, url, context = account.files, account.port, account.log, account.url, None
        else:
            broker = stack.enter_context(EmbeddedBroker(tmp_path / "broker", site=authority.files))
            told, port, log = broker, broker.mqtt_port, broker.data_directory / "nats-server.log"
            url, context = broker.url, lambda: service_context(authority.files)
        gate_site = Site(server_key.public.text, f"mqtts://127.0.0.1:{port}")
        gate = stack.enter_context(Gate(database_url, authority, told, gate_site))
        service = stack.enter_context(IngestService(database_url, url, server_key, tls_context=context))
        wait_for(lambda: service.stats().connected, "ingestion at the broker")
        made = SecureSite(tmp_path, database_url, authority, gate, service, server_key, port, log, [])
        yield made
        for peer in made.peers:
            peer.close()
