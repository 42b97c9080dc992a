"""A broker that somebody else runs is told who may connect, by files and a signal, while it runs."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ingest.broker import find_nats_server
from ingest.broker_access import (
    Client,
    client_identity,
    gateway_clients,
    mosquitto_acl,
    mosquitto_probe,
    service_client,
)
from ingest.broker_reload import NatsFiles, hang_up
from ingest.certificate_authority import CertificateAuthority, serial_text
from ingest.errors import BrokerError
from store.enrolment import IssuedCertificate


def issue(authority: CertificateAuthority, gateway: Any) -> IssuedCertificate:
    """Give ``gateway`` a certificate."""
    certificate = authority.issue(gateway.id, x509.load_der_x509_csr(gateway.csr))
    gateway.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    data = certificate.public_bytes(serialization.Encoding.DER)
    return IssuedCertificate(serial_text(certificate), gateway.id, data, 0, 2**40, None)


@pytest.fixture
def nats(tmp_path: Path, authority: CertificateAuthority) -> Iterator[tuple[NatsFiles, int]]:
    """A nats-server on files of `NatsFiles`, and its port for gateways."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pid_file, directory = tmp_path / "nats.pid", tmp_path / "nats"
    listening = {"listen": f"127.0.0.1:{port}", "nats_listen": "127.0.0.1:-1"}
    NatsFiles(directory, authority.files, **listening).admit([service_client(authority.files)], [])
    server = subprocess.Popen(
        [find_nats_server(), "-c", directory / "nats-server.conf", "-l", tmp_path / "nats.log", "-P", pid_file]
    )
    try:
        deadline = time.monotonic() + 30
        while "Server is ready" not in ((tmp_path / "nats.log").read_text() if pid_file.exists() else ""):
            assert time.monotonic() < deadline, "nats-server did not start"
            time.sleep(0.05)
        yield NatsFiles(directory, authority.files, pid_file=pid_file, **listening), port
    finally:
        server.terminate()
        server.wait(20)


def test_a_running_nats_server_lets_in_whom_it_is_told_and_puts_out_the_others(
    nats: tuple[NatsFiles, int],
    authority: CertificateAuthority,
    new_enrolling_gateway: Callable[..., Any],
    new_peer: Callable[..., Any],
) -> None:
    files, port = nats
    service = service_client(authority.files)
    first, second = new_enrolling_gateway("gw-01"), new_enrolling_gateway("gw-02")
    issued = [issue(authority, one) for one in (first, second)]
    assert not new_peer(port, authority.files.authority, first.pair).let_in
    files.admit([service, *gateway_clients(issued)], [])
    peers = []
    deadline = time.monotonic() + 20
    for gateway in (first, second):
        peer = new_peer(port, authority.files.authority, gateway.pair)
        while not peer.let_in:
            assert time.monotonic() < deadline, peer.events
            peer = new_peer(port, authority.files.authority, gateway.pair)
        peers.append(peer)
    files.admit([service, *gateway_clients(issued[1:])], ["gw-01"])
    peers[0].await_event("ended")
    assert peers[1].let_in


def test_a_broker_that_does_not_run_is_named(tmp_path: Path) -> None:
    hang_up(None)
    for content in (None, "", "999999999"):
        if content is not None:
            (tmp_path / "pid").write_text(content)
        with pytest.raises(BrokerError, match="no broker runs"):
            hang_up(tmp_path / "pid")


def test_only_certificates_that_are_not_revoked_let_in(
    authority: CertificateAuthority, new_enrolling_gateway: Callable[..., Any]
) -> None:
    gateway = new_enrolling_gateway("gw-01")
    old, new = issue(authority, gateway), issue(authority, gateway)
    revoked = IssuedCertificate(old.serial, "gw-01", old.data, 0, 2**40, 5)
    assert [client.identity for client in gateway_clients([revoked, new])] == [
        client_identity(x509.load_der_x509_certificate(new.data))
    ]


def test_the_probe_of_mosquitto_stands_for_exactly_one_list() -> None:
    def client(name: str) -> Client:
        return Client(f"urn:{name}", name, (f"{name}/out",), (f"{name}/in",))

    lists = [mosquitto_acl([]), mosquitto_acl([client("a")]), mosquitto_acl([client("a"), client("b")])]
    assert len({mosquitto_probe(text) for text in lists}) == 3
    for text in lists:
        assert text.endswith(f"topic write {mosquitto_probe(text)}\n")
    twice = mosquitto_acl([client("a"), client("a")])
    assert twice == lists[1], "two certificates of one gateway are one user"
