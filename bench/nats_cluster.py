"""Three NATS servers on this machine, configured by ``deploy/compose/cluster``, to be measured, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from ingest.broker import find_nats_server

FILES = Path(__file__).parents[1] / "deploy" / "compose" / "cluster"
PASSWORDS = {
    f"PROGRAMME_{programme}_{who}_PASSWORD": f"{who}-{programme}".lower()
    for programme in "AB"
    for who in ("GATEWAY", "INGEST")
}


class NatsNode:
    """A server of a cluster, as ``deploy/compose/cluster`` configures it, that can be killed and started again."""

    def __init__(
        self, name: str, directory: Path, ports: dict[str, int], routes: list[int], *, open_to_all: bool
    ) -> None:
        self.name = name
        self._open_to_all = open_to_all
        self.ports = ports
        self._directory = directory
        self._environment = {
            **os.environ,
            **PASSWORDS,
            "NATS_NAME": name,
            "NATS_LISTEN": f"127.0.0.1:{ports['client']}",
            "NATS_MONITOR": f"127.0.0.1:{ports['monitor']}",
            "NATS_CLUSTER": f"127.0.0.1:{ports['cluster']}",
            "NATS_MQTT": f"127.0.0.1:{ports['mqtt']}",
            "NATS_ROUTES": json.dumps([f"nats://127.0.0.1:{port}" for port in routes]),
            "NATS_STORE": str(directory / "streams"),
            "NATS_STORE_BYTES": "6G",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; it joins the others by itself. On loopback gateways need no TLS."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for file in FILES.glob("*.conf"):
            shutil.copy(file, self._directory)
        (self._directory / "mqtt-tls.conf").write_text("")
        if self._open_to_all:
            (self._directory / "accounts.conf").write_text("")
        configuration = self._directory / "nats-server.conf"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_nats_server()), "--config", str(configuration)], env=self._environment, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """The process id of a server that was started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def monitor(self, question: str) -> dict[str, Any]:
        """What the server says of itself (``/jsz`` and the like); `OSError` when it does not answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['monitor']}/{question}", timeout=5) as answer:
            said: dict[str, Any] = json.load(answer)
        return said


class NatsCluster:
    """Three servers on 127.0.0.1 with the accounts of ``deploy/compose/cluster``, or without any."""

    def __init__(self, directory: Path, *, open_to_all: bool = False) -> None:
        with contextlib.ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(12)]
            numbers = [one.getsockname()[1] for one in free]
        kinds = ("client", "monitor", "cluster", "mqtt")
        ports = [dict(zip(kinds, numbers[4 * n : 4 * n + 4], strict=True)) for n in range(3)]
        routes = [one["cluster"] for one in ports]
        self.nodes = [
            NatsNode(f"n{n + 1}", directory / f"n{n + 1}", ports[n], routes, open_to_all=open_to_all) for n in range(3)
        ]
        self._open_to_all = open_to_all

    def url(self, programme: str = "a") -> str:
        """The address for the workers of a programme."""
        hosts = ",".join(f"127.0.0.1:{node.ports['client']}" for node in self.nodes)
        if self._open_to_all:
            return f"nats://{hosts}"
        return f"nats://ingest-{programme}:{PASSWORDS[f'PROGRAMME_{programme.upper()}_INGEST_PASSWORD']}@{hosts}"

    def mqtt_url(self, number: int, programme: str = "a") -> str:
        """The address for a gateway of a programme; ``number`` chooses the server."""
        password = PASSWORDS[f"PROGRAMME_{programme.upper()}_GATEWAY_PASSWORD"]
        return f"mqtt://gateway-{programme}:{password}@127.0.0.1:{self.nodes[number % 3].ports['mqtt']}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Start all servers, and kill them at the end."""
        try:
            for node in self.nodes:
                node.start()
            self.wait_ready()
            yield self
        finally:
            for node in self.nodes:
                node.kill()

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until all servers follow one leader."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(OSError):
                metas = [node.monitor("jsz").get("meta_cluster", {}) for node in self.nodes]
                if all(meta.get("leader") and meta.get("cluster_size") == 3 for meta in metas):
                    return
            assert time.monotonic() < deadline, f"no leader within {timeout_s} s"
            time.sleep(0.1)

    def leaders(self, account: str) -> dict[str, NatsNode]:
        """The servers that lead: the cluster itself (``meta``), and each stream of an account and its consumers."""
        by_name = {node.name: node for node in self.nodes}
        led: dict[str, NatsNode] = {}
        for node in self.nodes:
            try:
                said = node.monitor("jsz?accounts=true&streams=true&consumers=true")
            except OSError:
                continue
            names = {"meta": said.get("meta_cluster", {}).get("leader")}
            for one in said.get("account_details", []):
                if one["name"] != account:
                    continue
                for stream in one.get("stream_detail", []):
                    names[stream["name"]] = stream.get("cluster", {}).get("leader")
                    for consumer in stream.get("consumer_detail", []) or []:
                        names[f"{stream['name']}/{consumer['name']}"] = consumer.get("cluster", {}).get("leader")
            led.update({what: by_name[name] for what, name in names.items() if name in by_name})
        return led
