"""A factory to be disturbed: a device, a gateway, a broker, an ingestion service and a database, all real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from ingest.broker import EmbeddedBroker
from store.database import connect
from store.embedded import EmbeddedPostgres
from wire.keys import VerifyingKey

GATEWAY = "gw-kill"
FLUSH_S = 1


@contextlib.contextmanager
def modbus_meter() -> Iterator[int]:
    """A Modbus TCP device with every register of the pulse meter's model; yields its port."""
    ready, port, stop = threading.Event(), [0], threading.Event()

    async def serve() -> None:
        block = SimData(0, count=200, values=7, datatype=DataType.REGISTERS, readonly=True)
        server = ModbusTcpServer(SimDevice(0, block), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        port[0] = server.transport.sockets[0].getsockname()[1]
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.05)
        await server.shutdown()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield port[0]
    finally:
        stop.set()
        thread.join()


class Factory:
    """A gateway, a broker, an ingestion service and a database, each in processes of its own.

    ``database`` is the address of the one in use.
    """

    gateway = GATEWAY
    flush_s = FLUSH_S

    def __init__(self, directory: Path, device_port: int) -> None:
        self.directory = directory
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self.broker = EmbeddedBroker(directory / "broker")
        self.server_key = directory / "server.key"
        self.config = directory / "gateway.yaml"
        self.device_port = device_port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.postgres.start()
        self.database = self.postgres.url
        self.broker.start()
        self.start_ingest()
        wait_until(lambda: "server_key: " in self.log("ingest"), 30, lambda: self.log("ingest"))
        self.config.write_text(self.configuration(), encoding="utf-8")
        public = self.command("agent", "key", str(self.config), "--json")
        self.public_key = VerifyingKey.from_text(json.loads(public)["key"])
        self.command("ingest", "trust", GATEWAY, self.public_key.text, "--database", self.database)
        self.start_agent()

    def configuration(self) -> str:
        server_public = self.log("ingest").split("server_key: ")[1].split()[0]
        return f"""\
gateway: {GATEWAY}
key_file: gateway.key
data_directory: spool
flush: {FLUSH_S}s
spool_bytes: 64MiB
uplink: {{url: "{self.broker.url}", version: "3.1.1", server_key: "{server_public}"}}
connections:
  - id: cabinet
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {self.device_port}
    timeout: 1s
    devices:
      - {{id: meter-1, model: pulse-meter, interval: 100ms}}
"""

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "shopfloor", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def spawn(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "shopfloor", *arguments], stdout=log, stderr=log
            )

    def start_agent(self) -> None:
        self.spawn("agent", "agent", "run", str(self.config))

    def start_ingest(self) -> None:
        arguments = ["--database", self.database, "--broker", self.broker.url]
        self.spawn("ingest", "ingest", "run", *arguments, "--server-key", str(self.server_key))

    def kill(self, part: str) -> None:
        if part in self.processes:
            self.processes[part].kill()
            self.processes[part].wait()
        else:
            server = {"broker": self.broker, "database": self.postgres}[part]
            os.kill(server.pid, signal.SIGKILL)
            server.stop()

    def restart(self, part: str) -> None:
        {
            "agent": self.start_agent,
            "ingest": self.start_ingest,
            "broker": self.broker.start,
            "database": self.postgres.start,
        }[part]()

    def committed(self) -> int:
        with connect(self.database) as conn:
            row = conn.execute("SELECT count(*) FROM record WHERE gateway = %s", (GATEWAY,)).fetchone()
        return int(row[0]) if row else 0

    def made(self) -> int:
        """The last seq in the spool, read as an outsider."""
        path = self.directory / "spool" / "spool.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as spool:
            return int(spool.execute("SELECT max(seq) FROM record").fetchone()[0])

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace")[-4000:] if path.exists() else ""

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        self.broker.stop()
        self.postgres.stop()


def wait_until(condition: Callable[[], bool], seconds: float, message: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(0.1)


@pytest.fixture
def factory(tmp_path: Path) -> Iterator[Factory]:
    with modbus_meter() as port:
        factory = Factory(tmp_path, port)
        try:
            factory.start()
            yield factory
        finally:
            factory.stop()


@pytest.fixture
def meter_port() -> Iterator[int]:
    """The port of a Modbus TCP device."""
    with modbus_meter() as port:
        yield port


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], bool], float, Callable[[], str]], None]:
    """Waits for a condition; fails with a message when it does not come about in time."""
    return wait_until
