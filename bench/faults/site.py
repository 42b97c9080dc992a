"""What the campaign is run against: three gateways, a broker, two ingestion workers and a database, all real processes.

Every connection goes through a link of `bench.faults.network`. The first gateway has its spool on a small file system
of its own, the second one a clock that can be set (libfaketime).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, quote, urlsplit

from agent.head_file import HeadFile
from agent.keyfile import load_key
from bench.faults.network import Link, Network
from bench.faults.plan import Kind
from bench.process import family
from ingest.broker import EmbeddedBroker
from ingest.server_key import load_server_key
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.gateways import add_gateway
from store.migrations import migrate
from wire.keys import SigningKey

GATEWAYS = ("gw-01", "gw-02", "gw-03")
WORKERS = ("ingest-1", "ingest-2")
DEVICES_EACH = 2
INTERVAL_MS = 200
FLUSH_S = 2
DISK_MB = 8
LONGEST_STEP_S = 3600.0

_MODEL = "generic-modbus-plc"
_STOP_S = 40.0


class Site:
    """The parts by name, and the links between them."""

    def __init__(self, directory: Path, network: Network, device_ports: Sequence[int]) -> None:
        self.directory = directory
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self.broker = EmbeddedBroker(directory / "broker")
        self.server_key = load_server_key(directory / "server.key")
        self.links: dict[str, Link] = {}
        self.missing: dict[str, str] = {}
        self._network = network
        self._device_ports = device_ports
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, TextIO] = {}
        self._faketime = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
        self._mounted: Path | None = None

    def start(self) -> None:
        """Start everything; what this machine does not allow is named in ``missing``."""
        self.postgres.start()
        self.broker.start()
        (self.directory / "sockets").mkdir()
        (self.directory / "sockets").chmod(0o777)
        for worker in WORKERS:
            self.links[f"{worker} to broker"] = self._network.link(self.broker.mqtt_port)
            self.links[f"{worker} to database"] = self._database_link(worker)
        with connect(self.postgres.url) as conn:
            migrate(conn)
            for gateway in GATEWAYS:
                self._install(gateway)
                add_gateway(conn, gateway, self._key(gateway).public.raw)
        if self._faketime is None:
            self.missing["clock step"] = "libfaketime is not installed (Debian package faketime)"
        for name in (*WORKERS, *GATEWAYS):
            self.start_part(name)

    def possible(self) -> list[tuple[Kind, str]]:
        """Return every kind of fault with every target that it can have here."""
        parts = [*GATEWAYS, *WORKERS, "broker", "database"]
        found: list[tuple[Kind, str]] = [(kind, part) for kind in ("kill", "pause") for part in parts]
        found += [(kind, link) for kind in ("cut", "stall", "delay") for link in self.links]
        found += [("spoil", link) for link in self.links if link.endswith("to broker")]
        found += [(kind, "records") for kind in ("duplicate", "reorder", "corrupt") for _ in range(2)]
        found += [] if "full disk" in self.missing else [("full disk", GATEWAYS[0])] * 2
        found += [] if "clock step" in self.missing else [("clock step", GATEWAYS[1])] * 2
        return found

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part; none when it is not there."""
        if part == "broker":
            return [self.broker.pid]
        if part == "database":
            return family(self.postgres.pid)
        process = self._processes[part]
        return [process.pid] if process.poll() is None else []

    def kill(self, part: str) -> None:
        """``kill -9``."""
        if part in ("broker", "database"):
            server = self.broker if part == "broker" else self.postgres
            os.kill(server.pid, signal.SIGKILL)
            server.stop()
            return
        self._processes[part].kill()
        self._processes[part].wait()

    def start_part(self, part: str) -> None:
        """Start a part that is not running."""
        if part == "broker":
            self.broker.start()
        elif part == "database":
            self.postgres.start()
        elif part in WORKERS:
            self._run(part, "ingest", "run", "--client-id", part, *self._worker_arguments(part))
        else:
            self._run(part, "agent", "run", str(self._gateway_file(part)), environment=self._clock_of(part))

    def ended(self) -> list[str]:
        """Return the gateways and workers that have ended by themselves."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def last_words(self, name: str) -> str:
        """Return the last line of a part's log."""
        lines = (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    def chain_seq(self, gateway: str) -> int:
        """Return how far the gateway's chain has come, from its head file."""
        place = self._data_directory(gateway) / "head"
        known = HeadFile(place, gateway, self._key(gateway).public.key_id).read()
        return 0 if known is None else known.state.seq

    def fill_disk(self) -> None:
        """Let others fill the file system of the first gateway to the last byte."""
        with contextlib.suppress(OSError), self._ballast().open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def free_disk(self) -> None:
        """Take away what `fill_disk` made."""
        self._ballast().unlink(missing_ok=True)

    def set_clock(self, seconds: float) -> None:
        """Set the clock of the second gateway to this much beside the truth."""
        place = self._clock_file()
        unfinished = place.with_suffix(".new")
        unfinished.write_text(f"{seconds:+.3f}\n", encoding="ascii")
        unfinished.rename(place)

    def terminate(self, names: Sequence[str]) -> dict[str, int]:
        """Ask gateways or workers to stop, and wait; their exit codes."""
        for name in names:
            self._processes[name].terminate()
        return {name: self._processes[name].wait(_STOP_S) for name in names}

    def stop(self) -> None:
        """End what is left, in any state."""
        for name in self._processes:
            for pid in self.pids(name):
                os.kill(pid, signal.SIGKILL)
            self._processes[name].wait()
        for server in (self.broker, self.postgres):
            with contextlib.suppress(Exception):
                for pid in family(server.pid):
                    os.kill(pid, signal.SIGCONT)
            server.stop()
        for log in self._logs.values():
            log.close()
        if self._mounted is not None:
            subprocess.run(["umount", str(self._mounted)], check=True)

    def _run(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        if name not in self._logs:
            self._logs[name] = (self.directory / f"{name}.log").open("a", encoding="utf-8")
        log = self._logs[name]
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "shopfloor", *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | (environment or {}),
        )

    def _worker_arguments(self, worker: str) -> list[str]:
        broker = f"mqtt://127.0.0.1:{self.links[f'{worker} to broker'].port}"
        database = f"postgresql://{urlsplit(self.postgres.url).username}@/{urlsplit(self.postgres.url).path[1:]}"
        place = quote(str(self.directory / "sockets" / worker), safe="")
        return [
            *("--broker", broker, "--database", f"{database}?host={place}&port=5432"),
            *("--server-key", str(self.directory / "server.key")),
        ]

    def _database_link(self, worker: str) -> Link:
        query = parse_qs(urlsplit(self.postgres.url).query)
        name = f".s.PGSQL.{query['port'][0]}"
        place = self.directory / "sockets" / worker
        place.mkdir()
        return self._network.socket_link(Path(query["host"][0]) / name, place / ".s.PGSQL.5432")

    def _install(self, gateway: str) -> None:
        number = GATEWAYS.index(gateway)
        home = self.directory / gateway
        home.mkdir()
        if number == 0:
            self._mount(self._data_directory(gateway))
        if number == 1:
            self.set_clock(0.0)
        self.links[f"{gateway} to broker"] = self._network.link(self.broker.mqtt_port)
        connections = []
        for index, port in enumerate(self._device_ports[number * DEVICES_EACH : (number + 1) * DEVICES_EACH]):
            link = self.links[f"{gateway} to device {index}"] = self._network.link(port)
            series = {
                "quantity": "answers",
                "unit": "1",
                "kind": "gauge",
                "function": 3,
                "address": 0,
                "type": "uint64",
            }
            device = {"id": f"device-{index}", "model": _MODEL, "interval": f"{INTERVAL_MS}ms", "series": []}
            connections.append(
                {
                    "id": f"line-{index}",
                    "protocol": "modbus-tcp",
                    "host": "127.0.0.1",
                    "port": link.port,
                    "timeout": "1s",
                    "devices": [device | {"extra_series": {"number": series}}],
                }
            )
        uplink = {
            "url": f"mqtt://127.0.0.1:{self.links[f'{gateway} to broker'].port}",
            "server_key": self.server_key.public.text,
            "version": "3.1.1",
        }
        document = {
            "gateway": gateway,
            "key_file": "gateway.key",
            "data_directory": "data",
            "flush": f"{FLUSH_S}s",
            "spool_bytes": f"{DISK_MB // 2 if number == 0 else 64}MiB",
            "uplink": uplink,
            "connections": connections,
        }
        # JSON is YAML.
        self._gateway_file(gateway).write_text(json.dumps(document), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "shopfloor", "agent", "key", str(self._gateway_file(gateway))],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def _mount(self, place: Path) -> None:
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            self.missing["full disk"] = f"no small file system can be mounted here: {done.stderr.strip()}"
        else:
            self._mounted = place

    def _gateway_file(self, gateway: str) -> Path:
        return self.directory / gateway / "gateway.yaml"

    def _data_directory(self, gateway: str) -> Path:
        return self.directory / gateway / "data"

    def _key(self, gateway: str) -> SigningKey:
        return load_key(self.directory / gateway / "gateway.key")

    def _ballast(self) -> Path:
        return self._data_directory(GATEWAYS[0]) / "others"

    def _clock_file(self) -> Path:
        return self.directory / GATEWAYS[1] / "clock"

    def _clock_of(self, gateway: str) -> dict[str, str]:
        if self._faketime is None or gateway != GATEWAYS[1]:
            return {}
        return {
            "LD_PRELOAD": self._faketime,
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file()),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
