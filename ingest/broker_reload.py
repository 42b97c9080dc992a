"""Keeps what a broker knows of its clients equal to what people have decided, while the broker runs.

Somebody who is revoked is put out: he cannot connect any more, and the connection that he has is ended.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from paho.mqtt.client import Client as MqttClient
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ingest.broker_access import (
    Client,
    gateway_clients,
    mosquitto_acl,
    mosquitto_configuration,
    mosquitto_password,
    mosquitto_probe,
    nats_account,
    nats_authorization,
    nats_mqtt,
    service_client,
)
from ingest.certificate_authority import SERVICE, CertificateAuthority, SiteFiles
from ingest.errors import BrokerError
from ingest.transaction import now_ms
from store.database import Connection
from store.enrolment import certificates, newest_decision

LOOK_SECONDS = 1.0
REFRESH_SECONDS = 3_600.0
"""How often certificates and revocation list are looked after, whether or not somebody has decided something."""

_ANSWER_SECONDS = 5.0
_PROBE_SECONDS = 0.2
_log = logging.getLogger(__name__)


class Broker(Protocol):
    """A broker that can be told who its clients are."""

    def admit(self, clients: Sequence[Client], revoked: Sequence[str]) -> None:
        """Let in ``clients`` and nobody else; end the connections of the gateways ``revoked``."""


class BrokerAccess:
    """Looks every second whether something was decided, and tells the broker; a context manager.

    :param broker: None for one that another process tells (``shopfloor ingest broker-config --watch``).
    :param refreshed: called when the server's certificate may be another one.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        authority: CertificateAuthority,
        broker: Broker | None,
        refreshed: Callable[[], None] = lambda: None,
    ) -> None:
        self._transaction = transaction
        self._authority = authority
        self._broker = broker
        self._refreshed = refreshed
        self._lock = threading.Lock()
        self._decision = -1
        self._refreshed_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-access", daemon=True)

    def apply(self) -> None:
        """Tell the broker now, when something was decided since it was told last.

        Raises `ShopfloorError` when the database or the broker's files cannot be reached; it was not told then.
        """
        with self._lock:
            with self._transaction() as conn:
                decision = newest_decision(conn)
                if decision == self._decision:
                    return
                issued = certificates(conn, at_ms=now_ms())
            revoked = [one for one in issued if one.revoked_ms is not None]
            self._authority.write_revocations([(int(one.serial, 16), one.revoked_ms or 0) for one in revoked])
            if self._broker is not None:
                clients = [service_client(self._authority.files), *gateway_clients(issued)]
                admitted = {client.name for client in clients}
                self._broker.admit(clients, sorted({one.gateway for one in revoked} - admitted))
            self._decision = decision

    def __enter__(self) -> Self:
        self.apply()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(2 * _ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                if time.monotonic() - self._refreshed_at > REFRESH_SECONDS:
                    self._refresh()
                self.apply()
            except Exception:
                # Whatever it is, it has not been told: the next attempt may find database and broker again.
                _log.exception("the broker is not told who may connect; trying again")

    def _refresh(self) -> None:
        """Renew what is due, and leave out what has expired: then its connection ends, too."""
        self._refreshed_at = time.monotonic()
        self._authority.refresh()
        self._refreshed()
        self._decision = -1


class NatsFiles:
    """Configuration of a nats-server that somebody else runs, in ``directory``; reloaded by the pid in ``pid_file``."""

    def __init__(
        self,
        directory: Path,
        files: SiteFiles,
        *,
        listen: str = "0.0.0.0:8883",
        nats_listen: str = "127.0.0.1:4222",
        pid_file: Path | None = None,
    ) -> None:
        self.directory = directory
        self._files = files
        self._listen = listen
        self._nats_listen = nats_listen
        self._pid_file = pid_file

    def admit(self, clients: Sequence[Client], revoked: Sequence[str]) -> None:  # noqa: ARG002 - a reload ends them
        """Write both files and have the server read them; it ends the connections of users that are no more."""
        configuration = (
            f'server_name: "shopfloor"\nlisten: "{self._nats_listen}"\ninclude "access.conf"\n'
            # Handshakes that fail are logged at the level of debug only.
            "debug: true\n"
            f'jetstream {{ store_dir: "{self.directory / "streams"}" }}\n'
            f"mqtt {{\n{nats_mqtt(self._files, self._listen)}}}\n"
        )
        changed = _write(self.directory / "nats-server.conf", configuration)
        if _write(self.directory / "access.conf", nats_authorization(clients)) or changed:
            hang_up(self._pid_file)


class NatsAccountFiles:
    """The account of one programme on nats-servers of somebody else: ``programme-<name>.conf`` in ``directory``."""

    def __init__(self, directory: Path, programme: str, *, pid_file: Path | None = None) -> None:
        self.directory = directory
        self._programme = programme
        self._pid_file = pid_file

    def admit(self, clients: Sequence[Client], revoked: Sequence[str]) -> None:  # noqa: ARG002 - a reload ends them
        """Write the file and have the server read it; it ends the connections of users that are no more."""
        account = nats_account(self._programme, clients)
        if _write(self.directory / f"programme-{self._programme}.conf", account):
            hang_up(self._pid_file)


class MosquittoFiles:
    """Configuration of a Mosquitto that somebody else runs, in ``directory``; reloaded by the pid in ``pid_file``."""

    def __init__(
        self,
        directory: Path,
        files: SiteFiles,
        *,
        host: str = "0.0.0.0",  # noqa: S104 - with TLS, and client certificates
        port: int = 8883,
        service_port: int = 1883,
        pid_file: Path | None = None,
    ) -> None:
        self.directory = directory
        self._files = files
        self._host = host
        self._port = port
        self._service_port = service_port
        self._pid_file = pid_file
        self._put_out: set[str] = set()

    @property
    def service_url(self) -> str:
        """The address for ingestion, with its password."""
        return f"mqtt://{SERVICE}:{self._password()}@127.0.0.1:{self._service_port}"

    def admit(self, clients: Sequence[Client], revoked: Sequence[str]) -> None:
        """Write the files, have the server read them, and end the connections of those who are revoked.

        Mosquitto does not end them by itself: it keeps what was let in before. It does when somebody else connects
        under the same client id (MQTT 5, 3.1.4-3), which on the TLS port nobody can but the gateway itself.
        """
        configuration = mosquitto_configuration(
            self._files, self.directory, host=self._host, port=self._port, service_port=self._service_port
        )
        acl = mosquitto_acl(clients)
        _write(self.directory / "mosquitto.conf", configuration)
        _write(self.directory / "acl", acl)
        password = self._password()
        if not (self.directory / "passwords").exists():
            _write(self.directory / "passwords", mosquitto_password(SERVICE, password))
        if self._pid_file is not None:
            self._have_read(mosquitto_probe(acl), password)
            for name in revoked:
                if name not in self._put_out:
                    # Whoever connects under a client id ends the connection that has it.
                    with self._connection(name, password):
                        self._put_out.add(name)

    def _have_read(self, probe: str, password: str) -> None:
        """Return when the files are in force."""
        hang_up(self._pid_file)
        deadline = time.monotonic() + _ANSWER_SECONDS
        with self._connection(f"{SERVICE}-access", password) as client:
            while not _may_write(client, probe):
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"Mosquitto on 127.0.0.1:{self._service_port} does not read its files; see its log"
                    )
                time.sleep(_PROBE_SECONDS)
                hang_up(self._pid_file)

    @contextmanager
    def _connection(self, client_id: str, password: str) -> Iterator[MqttClient]:
        connected = threading.Event()
        client = MqttClient(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, reconnect_on_failure=False
        )
        client.username_pw_set(SERVICE, password)
        client.on_connect = lambda *_: connected.set()
        try:
            client.connect("127.0.0.1", self._service_port)
            client.loop_start()
            if not connected.wait(_ANSWER_SECONDS):
                raise BrokerError(f"Mosquitto does not answer on 127.0.0.1:{self._service_port}")
            yield client
        except OSError as error:
            raise BrokerError(f"no Mosquitto runs on 127.0.0.1:{self._service_port}: {error}") from error
        finally:
            client.disconnect()
            client.loop_stop()

    def _password(self) -> str:
        path = self.directory / "service-password"
        if not path.exists():
            _write(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="ascii").strip()


def _may_write(client: MqttClient, topic: str) -> bool:
    """Tell whether the broker takes a message on ``topic``."""
    answered = threading.Event()
    refused: list[bool] = []

    def on_publish(_client: object, _data: object, _mid: int, reason: ReasonCode, _properties: object) -> None:
        refused.append(reason.is_failure)
        answered.set()

    client.on_publish = on_publish
    client.publish(topic, b"", qos=1)
    return answered.wait(_ANSWER_SECONDS) and not refused[0]


def hang_up(pid_file: Path | None) -> None:
    """Have the process whose number stands in ``pid_file`` read its files again (SIGHUP); nothing without a file.

    Raises `BrokerError` when there is no such process.
    """
    if pid_file is None:
        return
    try:
        os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise BrokerError(f"{pid_file}: no broker runs under the number in this file: {error}") from error


def _write(path: Path, text: str) -> bool:
    """Make ``text`` the content of the file; tell whether it was another."""
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    except OSError as error:
        raise BrokerError(f"{path}: cannot be written: {error}") from error
    return True
