"""Who may connect to the broker and speak on which topics: configuration for nats-server and for Mosquitto.

A gateway is known to the broker by its client certificate, never by what it says of itself. It may write its own record
and health topics and read its own acknowledgements; ingestion may read all records and write all acknowledgements;
nobody else may do anything. Text in, text out: `ingest.broker_reload` writes it and has brokers read it.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ingest.certificate_authority import SERVICE, SiteFiles, client_identity
from store.enrolment import IssuedCertificate
from wire.topics import HEALTH_FILTER, RECORD_FILTER, ack_topic, health_topic, record_topic

_ACK_FILTER = "shopfloor/v1/+/ack"
_NATS_DELIVERY = "$MQTT.sub.>"
"""Where nats-server delivers QoS 1 messages to an MQTT subscription; no client can name it in one of its own."""

_PROBE = "shopfloor/access/"
_PBKDF2_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class Client:
    """One client of the broker: ``identity`` as in its certificate, ``name`` of the gateway, or of ingestion."""

    identity: str
    name: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]


def gateway_clients(issued: Iterable[IssuedCertificate]) -> list[Client]:
    """Return the clients that may connect: those of certificates that are not revoked."""
    clients = []
    for one in issued:
        if one.revoked_ms is None:
            identity = client_identity(x509.load_der_x509_certificate(one.data))
            writes = (record_topic(one.gateway), health_topic(one.gateway))
            clients.append(Client(identity, one.gateway, writes, (ack_topic(one.gateway),)))
    return clients


def service_client(files: SiteFiles) -> Client:
    """Return ingestion as a client of the broker, by the certificate that it has now."""
    certificate = x509.load_pem_x509_certificate(files.service.read_bytes())
    return Client(client_identity(certificate), SERVICE, (_ACK_FILTER,), (RECORD_FILTER, HEALTH_FILTER))


def nats_authorization(clients: Iterable[Client]) -> str:
    """Return the ``authorization`` block of nats-server: one user a certificate, MQTT only.

    Needs ``verify_and_map`` in the ``tls`` block of ``mqtt``: the user is the URI in the client's certificate.
    """
    return f"authorization {{\n  users: [\n{_nats_users(clients)}  ]\n}}\n"


def nats_account(programme: str, clients: Iterable[Client]) -> str:
    """Return the account of one programme on servers that several share (``deploy/compose/cluster/accounts.conf``).

    Its gateways come with MQTT and a certificate, its workers with the password that the server finds in the variable
    ``PROGRAMME_<NAME>_INGEST_PASSWORD``.
    """
    variable = f"PROGRAMME_{programme.upper().replace('-', '_')}_INGEST_PASSWORD"
    worker = f"user: {_quoted(f'ingest-{programme}')}, password: ${variable}, allowed_connection_types: [STANDARD]"
    return f"jetstream: enabled\nusers: [\n{_nats_users(clients)}    {{ {worker} }}\n]\n"


def _nats_users(clients: Iterable[Client]) -> str:
    return "".join(
        f"    {{ user: {_quoted(client.identity)}, allowed_connection_types: [MQTT], permissions: {{\n"
        f"      publish: {{ allow: [{_subjects(client.writes)}] }}\n"
        f"      subscribe: {{ allow: [{_subjects(client.reads)}, {_quoted(_NATS_DELIVERY)}] }}\n"
        "    } }\n"
        for client in clients
    )


def nats_mqtt(files: SiteFiles, listen: str) -> str:
    """Return what the ``mqtt`` block of nats-server needs to know its clients by their certificates."""
    return (
        f"  listen: {_quoted(listen)}\n"
        "  tls {\n"
        f"    cert_file: {_quoted(str(files.server))}\n"
        f"    key_file: {_quoted(str(files.server_key))}\n"
        f"    ca_file: {_quoted(str(files.authority))}\n"
        "    verify_and_map: true\n"
        "    timeout: 5\n"
        "  }\n"
    )


def mosquitto_acl(clients: Iterable[Client]) -> str:
    """Return the ``acl_file`` of Mosquitto: lines for each client, whose user name is the name in its certificate.

    See `mosquitto_probe` for the last line.
    """
    lines: list[str] = []
    for client in {client.name: client for client in clients}.values():
        lines.append(f"user {client.name}")
        lines += [f"topic write {topic}" for topic in client.writes]
        lines += [f"topic read {topic}" for topic in client.reads]
        lines.append("")
    text = "\n".join(lines)
    return f"{text}user {SERVICE}\ntopic write {mosquitto_probe(text)}\n"


def mosquitto_probe(acl: str) -> str:
    """Return a topic that ingestion may write to when exactly this ``acl`` is in force; its last lines do not count.

    Mosquitto says nothing when it has read its files, and forgets a signal that comes while it reads.
    """
    known = acl.partition(f"user {SERVICE}\ntopic write {_PROBE}")[0]
    return f"{_PROBE}{hashlib.sha256(known.encode()).hexdigest()[:32]}"


def mosquitto_configuration(files: SiteFiles, directory: Path, *, host: str, port: int, service_port: int) -> str:
    """Return a whole ``mosquitto.conf``: TLS for gateways, and a port on loopback for ingestion, by password.

    The client id of a gateway is the name in its certificate: nobody can end or take over the session of another.
    """
    return f"""\
# Written by shopfloor; who may connect is in the files beside it. Have Mosquitto read them again with SIGHUP.
per_listener_settings false
allow_anonymous false
acl_file {directory / "acl"}
password_file {directory / "passwords"}
max_packet_size 1048576
max_queued_messages 10000
persistence true
persistence_location {directory}/

listener {port} {host}
cafile {files.authority}
certfile {files.server}
keyfile {files.server_key}
crlfile {files.revocations}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
tls_version tlsv1.2

listener {service_port} 127.0.0.1
"""


def mosquitto_password(name: str, password: str) -> str:
    """Return a line of Mosquitto's ``password_file``: PBKDF2-HMAC-SHA512 (mosquitto_passwd(1), type 7)."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PBKDF2_ROUNDS)
    encoded = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"{name}:$7${_PBKDF2_ROUNDS}${encoded[0]}${encoded[1]}\n"


def _subjects(filters: Iterable[str]) -> str:
    """Return MQTT topic filters as subjects of NATS; ours have neither dots nor blanks in their levels."""
    return ", ".join(_quoted(one.replace("/", ".").replace("+", "*")) for one in filters)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
