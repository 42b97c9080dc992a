"""``shopfloor serve``: one command runs a site, starts again what dies, and leaves in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.broker import EmbeddedBroker
from shopfloor.main import main
from shopfloor.supervision import Supervisor
from store.database import connect
from wire.errors import ShopfloorError

GATEWAY = "gw-serve"


class Site:
    """A site of its own in a folder, and one gateway that sends to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "shopfloor", "serve", "--embedded", str(folder / "site")),
                    *("--port", "0", "--mqtt-port", "0", "--json", "--log-format", "json"),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.started: dict[str, Any] = json.loads(line)
        self.agent: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "shopfloor", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def start_gateway(self, device_port: int) -> None:
        config = self.folder / "gateway.yaml"
        config.write_text(
            f"""\
gateway: {GATEWAY}
key_file: gateway.key
data_directory: spool
flush: 1s
spool_bytes: 64MiB
uplink: {{url: "{self.started["broker"]}", version: "3.1.1", server_key: "{self.started["server_key"]}"}}
connections:
  - id: cabinet
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {device_port}
    timeout: 1s
    devices:
      - {{id: meter-1, model: pulse-meter, interval: 100ms}}
""",
            encoding="utf-8",
        )
        key = self.command("agent", "key", str(config), "--json")["key"]
        self.command("ingest", "trust", GATEWAY, key, "--embedded", str(self.folder / "site"), "--json")
        with (self.folder / "agent.log").open("wb") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "shopfloor", "agent", "run", str(config)], stdout=log, stderr=log
            )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.started['dashboards']}{path}", timeout=5) as answer:  # noqa: S310 - ours
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def figure(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.get("/metrics")[1])
        found = [one.value for family in families for one in family.samples if (one.name, one.labels) == (name, labels)]
        return found[0] if found else 0.0

    def stored(self) -> float:
        return self.figure("shopfloor_ingest_records_total", outcome="stored")

    def processes(self) -> dict[str, psutil.Process]:
        """The processes that a site consists of, by what they are."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words, program = process.cmdline(), process.name()
            except psutil.NoSuchProcess:
                continue
            # Not the guards, whose command line ends with that of the server that they guard.
            if "ingest" in words:
                found["ingestion-1"] = process
            elif "dashboards" in words:
                found["pages"] = process
            elif program == "nats-server":
                found["broker"] = process
            elif program == "postgres" and "-D" in words:
                found["database"] = process
        return found

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    try:
        yield site
    finally:
        site.stop()


def test_a_site_runs_restarts_what_dies_and_leaves_in_order(
    site: Site, meter_port: int, wait_until: Callable[..., None]
) -> None:
    def logs() -> str:
        agent = site.folder / "agent.log"
        return site.log.read_text()[-6000:] + (agent.read_text()[-2000:] if agent.exists() else "")

    assert site.get("/readyz") == (200, '{"database":true,"ingestion":true}')
    assert site.get("/")[0] == 200
    site.start_gateway(meter_port)
    wait_until(lambda: site.stored() >= 3, 30, logs)
    everything = site.processes()
    assert set(everything) == {"database", "broker", "ingestion-1", "pages"}
    for name in everything:
        os.kill(site.processes()[name].pid, signal.SIGKILL)
        wait_until(lambda name=name: site.processes().get(name, everything[name]).pid != everything[name].pid, 30, logs)
        wait_until(lambda: site.get("/readyz")[0] == 200, 60, logs)
        before = site.stored()
        wait_until(lambda before=before: site.stored() >= before + 2, 60, logs)
    assert site.figure("shopfloor_gateways") == 1
    assert site.figure("shopfloor_ingest_connected") == 1
    assert site.figure("shopfloor_broker_up") == 1
    assert site.figure("shopfloor_broker_stream_messages", stream="$MQTT_msgs") >= 0

    assert site.agent
    site.agent.terminate()
    assert site.agent.wait(30) == 0, (site.folder / "agent.log").read_text()
    tree = psutil.Process(site.process.pid).children(recursive=True)
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(60) == 0, logs()
    assert site.process.stdout
    restarts = json.loads(site.process.stdout.read())["restarts"]
    assert {name: count >= 1 for name, count in restarts.items()} == dict.fromkeys(everything, True)
    assert not [process for process in tree if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    lines = [json.loads(line) for line in site.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))

    embedded = str(site.folder / "site")
    assert main(["rebuild", "--embedded", embedded]) == 0
    assert main(["rebuild", "--check", "--embedded", embedded]) == 0


class _Dying:
    """A service that dies a number of times, and cannot be started a number of times."""

    def __init__(self, deaths: int, refusals: int = 0) -> None:
        self.deaths = deaths
        self.refusals = refusals
        self.starts: list[float] = []
        self.stops = 0

    @property
    def running(self) -> bool:
        return len(self.starts) > self.deaths

    def start(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ShopfloorError("not yet")
        self.starts.append(time.monotonic())

    def stop(self) -> None:
        self.stops += 1


def test_no_child_has_a_password_on_its_command_line(tmp_path: Path, postgres_server: str) -> None:
    """What is on a command line, everybody on the machine can read."""
    secret = "no-one-else-reads-this"
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE ROLE site LOGIN SUPERUSER PASSWORD '{secret}'")
        server.execute("CREATE DATABASE site OWNER site")
    parts = urlsplit(postgres_server)
    address = f"site:{secret}@{parts.netloc.rpartition('@')[2]}"
    database = urlunsplit(parts._replace(netloc=address, path="/site"))
    log = tmp_path / "serve.log"
    with EmbeddedBroker(tmp_path / "broker") as broker, log.open("wb") as errors:
        serve = [
            sys.executable,
            "-m",
            "shopfloor",
            "serve",
            "--server-key",
            str(tmp_path / "key"),
            "--port",
            "0",
            "--json",
        ]
        process = subprocess.Popen(
            serve,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={
                **os.environ,
                "SHOPFLOOR_DATABASE": database,
                "SHOPFLOOR_BROKER": broker.url.replace("//", f"//site:{secret}@"),
            },
        )
        try:
            assert process.stdout
            started = json.loads(process.stdout.readline() or log.read_text())
            lines = [psutil.Process(pid).cmdline() for pid in started["processes"].values()]
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert process.returncode == 0, log.read_text()
    assert len(lines) == 2
    assert secret not in json.dumps([lines, started])


def test_what_dies_at_once_is_started_again_later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shopfloor.supervision.FIRST_DELAY_S", 0.02)
    monkeypatch.setattr("shopfloor.supervision._LOOK_S", 0.005)
    service, stopping, supervisor = _Dying(deaths=3, refusals=1), threading.Event(), Supervisor()
    ended: list[str] = []
    supervisor.watch("dying", service, lambda: ended.append("dying"))
    thread = threading.Thread(target=supervisor.run, args=(stopping,))
    thread.start()
    deadline = time.monotonic() + 20
    while not service.running and time.monotonic() < deadline:
        time.sleep(0.01)
    stopping.set()
    thread.join()
    assert supervisor.restarts == {"dying": 5}, "one of them was refused"
    assert ended == ["dying"] * 5
    assert service.stops == 5, "each start cleans up behind the one before"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--database", "postgresql:///x"], "--broker and --server-key"),
        (["--embedded", "{folder}", "--workers", "2"], "serves one ingestion process"),
        (["--embedded", "{folder}", "--host", "192.0.2.1"], "--tls-cert"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    assert main(["serve", *(argument.format(folder=folder) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()
