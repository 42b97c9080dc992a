"""Encrypted uplinks against a real broker: who is trusted, and who is not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import shutil
import socket
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.clock import DrivenClock
from agent.config import UplinkConfig
from agent.errors import ConfigurationError
from agent.journal import Journal, JournalThread
from agent.tls import client_context
from agent.uplink import Uplink
from wire.document import validated
from wire.event import Event
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]


@dataclass
class Authority:
    """A certificate authority with its files in ``directory``."""

    directory: Path
    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._build(self.name, self.key, authority=True)
        self.path = self.directory / f"{self.name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *hosts: str) -> x509.Certificate:
        """Write ``name.pem`` and ``name.key`` of a certificate for ``hosts``, and return it."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._build(name, key, authority=False, hosts=hosts)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.directory / f"{name}.key").write_bytes(private)
        return certificate

    def _build(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool, hosts: tuple[str, ...] = ()
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if hosts:
            names = [_general_name(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass
class SecureSite:
    """A broker with an encrypted port and nothing else."""

    directory: Path
    authority: Authority
    certificate: x509.Certificate
    port: int

    def config(self, receiver: Any, **further: Any) -> UplinkConfig:
        broker = {"url": f"mqtts://127.0.0.1:{self.port}", "version": "3.1.1", "ca_file": self.authority.path}
        return validated(UplinkConfig, broker | {"server_key": receiver.key.public.text} | further)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, broker: Any, request: pytest.FixtureRequest) -> Iterator[SecureSite]:
    """A nats-server with MQTT over TLS; by parameter for which host, and whether it asks gateways for certificates."""
    host, ask = getattr(request, "param", ("127.0.0.1", False))
    directory = tmp_path / "secure"
    directory.mkdir()
    authority = Authority(directory, "authority")
    certificate = authority.issue("broker", host)
    port = _free_port()
    verify = f'ca_file: "{authority.path}", verify: true' if ask else ""
    (directory / "nats.conf").write_text(
        textwrap.dedent(f"""
            server_name: secure
            listen: "127.0.0.1:-1"
            jetstream {{ store_dir: "{directory}/js" }}
            mqtt {{
                listen: "127.0.0.1:{port}"
                tls {{ cert_file: "{directory}/broker.pem", key_file: "{directory}/broker.key", {verify} }}
            }}
        """)
    )
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    assert program is not None
    server = type(broker)(port, [program, "-c", str(directory / "nats.conf")])
    server.start()
    yield SecureSite(directory, authority, certificate, port)
    server.kill()


async def outcome(directory: Path, key: SigningKey, config: UplinkConfig, until: Until) -> str | None:
    """Start an uplink; return what is wrong with it, ``None`` when it is connected."""
    journal = JournalThread(Journal(directory, "gw-01", key, 2**23, DrivenClock(1_751_299_200_000)))
    uplink = Uplink(config, "gw-01", journal, last_reconnect_ms=500)
    task = asyncio.create_task(uplink.run())
    try:
        await journal.append(Event("start"))
        await until(lambda: uplink.fault != "not connected yet")
        return uplink.fault
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


def test_records_and_acknowledgements_travel_encrypted_to_the_broker_that_is_pinned(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until
) -> None:
    async def run() -> None:
        key = SigningKey.generate()
        server = type(receiver)(site.port, "gw-01", key.public)
        server._client.tls_set(str(site.authority.path))
        server.start()
        digest = site.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        config = site.config(server, certificate_sha256=digest)
        journal = JournalThread(Journal(tmp_path / "spool", "gw-01", key, 2**23, DrivenClock(1_751_299_200_000)))
        uplink = Uplink(config, "gw-01", journal)
        task = asyncio.create_task(uplink.run())
        try:
            for _ in range(20):
                await journal.append(Event("start"))
            uplink.notify()
            await until(lambda: journal.state.acknowledged == server.seq == 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            journal.close()
            server.stop()

    asyncio.run(run())


def test_a_certificate_of_another_authority_is_refused(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until
) -> None:
    config = site.config(receiver, ca_file=Authority(tmp_path, "other").path)
    fault = asyncio.run(outcome(tmp_path / "spool", SigningKey.generate(), config, until))
    assert fault is not None
    assert "certificate verify failed" in fault


def test_without_an_authority_of_its_own_only_those_of_the_system_are_trusted(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until
) -> None:
    fault = asyncio.run(outcome(tmp_path / "spool", SigningKey.generate(), site.config(receiver, ca_file=None), until))
    assert fault is not None
    assert "certificate verify failed" in fault


@pytest.mark.parametrize("site", [("broker.example", False)], indirect=True)
def test_a_certificate_for_another_host_is_refused(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until
) -> None:
    fault = asyncio.run(outcome(tmp_path / "spool", SigningKey.generate(), site.config(receiver), until))
    assert fault is not None
    assert "IP address mismatch" in fault


def test_another_certificate_of_the_right_authority_is_not_the_pinned_one(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until
) -> None:
    other = site.authority.issue("second", "127.0.0.1").fingerprint(hashes.SHA256()).hex()
    config = site.config(receiver, certificate_sha256=other, username="gw-01", password="never sent")
    fault = asyncio.run(outcome(tmp_path / "spool", SigningKey.generate(), config, until))
    assert fault is not None
    assert f"pinned is {other}" in fault


@pytest.mark.parametrize("site", [("127.0.0.1", True)], indirect=True)
@pytest.mark.parametrize("shown", [True, False])
def test_a_broker_that_asks_for_a_certificate_is_shown_one(
    tmp_path: Path, site: SecureSite, receiver: Any, until: Until, shown: bool
) -> None:
    site.authority.issue("gateway", "gw-01.example")
    mine = {"client_certificate": site.directory / "gateway.pem", "client_key": site.directory / "gateway.key"}
    config = site.config(receiver, **(mine if shown else {}))
    fault = asyncio.run(outcome(tmp_path / "spool", SigningKey.generate(), config, until))
    assert (fault is None) is shown


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    server_key = SigningKey.generate().public.text
    config = UplinkConfig(url="mqtts://h", server_key=server_key, ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"ca\.pem: cannot be used as ca_file"):
        client_context(config)
    config = UplinkConfig(
        url="mqtts://h", server_key=server_key, client_certificate=tmp_path / "ca.pem", client_key=tmp_path / "absent"
    )
    with pytest.raises(ConfigurationError, match="client certificate and key"):
        client_context(config)
    assert config.port == 8883
