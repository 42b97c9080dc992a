"""How a gateway is, said to the server, to the next terminal and to the service manager."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent import supervision
from agent.config import load_config
from agent.devices import Answering, DeviceStates
from agent.errors import ConfigurationError, NotRunningError
from agent.health import RecentErrors
from agent.keyfile import write_key
from agent.status import answering, ask, data_directory_of
from wire.frame import STATUS_OK, STATUS_TIMEOUT
from wire.keys import SigningKey
from wire.topics import HEALTH_FILTER, health_topic

Until = Callable[..., Awaitable[None]]
AGENT_BUDGET = 64 * 2**20
REGISTERS = dict.fromkeys(range(0x0800, 0x0858), 5)


def write_config(tmp_path: Path, modbus_port: int, uplink: str = "") -> Path:
    path = tmp_path / "gateway.yaml"
    devices = ", ".join(f"{{id: meter-{unit}, model: acrel-adl400, unit: {unit}, interval: 200ms}}" for unit in (1, 2))
    path.write_text(
        f"gateway: gw-01\nkey_file: gw.key\ndata_directory: data\nflush: 1s\n{uplink}connections:\n"
        f"  - id: line\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {modbus_port}\n    timeout: 200ms\n"
        f"    devices: [{devices}]\n"
    )
    return path


def uplink_to(receiver: Any) -> str:
    return f"uplink: {{url: 'mqtt://127.0.0.1:{receiver.port}', server_key: '{receiver.key.public.text}'}}\n"


@contextmanager
def running(config: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "shopfloor", "agent", "run", str(config), *arguments],
        stderr=(config.parent / "log").open("wb"),
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def status(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shopfloor", "agent", "status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class HealthListener:
    """Whoever subscribes to the health of all gateways; ``documents`` as they came, with their retained flag."""

    def __init__(self, port: int) -> None:
        self.documents: list[tuple[dict[str, Any], bool]] = []
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe(HEALTH_FILTER, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        assert message.topic == health_topic("gw-01")
        self.documents.append((json.loads(message.payload), bool(message.retain)))

    def states(self) -> list[str]:
        return [document["state"] for document, _ in self.documents]

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_the_health_topic_follows_the_gateway_and_outlives_it(
    tmp_path: Path, modbus_site: Any, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """A fleet must see a gateway that was unplugged, without asking it: the broker says so for it."""

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS), 2: dict(REGISTERS)}) as site:
            path = write_config(tmp_path, site.port, uplink_to(receiver))
            write_key(load_config(path).key_file, gateway_key)
            listener = HealthListener(receiver.port)
            with running(path) as agent:
                await until(lambda: "ok" in listener.states())
                site.silent.add(2)
                await until(lambda: listener.states()[-1] == "degraded")
                assert listener.documents[-1][0]["devices"]["failing_ids"] == ["meter-2"]
                assert listener.documents[-1][0]["descriptor"] == receiver.records[1].hash.hex()
                site.silent.clear()
                await until(lambda: listener.states()[-1] == "ok")
                agent.kill()
                await until(lambda: listener.states()[-1] == "offline")
            late = HealthListener(receiver.port)
            await until(lambda: late.documents == [({"gateway": "gw-01", "state": "offline"}, True)])
            with running(path) as agent:
                await until(lambda: late.states()[-1] == "ok")
                text = path.read_text()
                path.write_text(text.replace(uplink_to(receiver), ""))
                await until(lambda: late.states()[-1] == "offline")
                path.write_text(text)
                await until(lambda: late.states()[-1] == "ok")
                agent.terminate()
                assert await asyncio.to_thread(agent.wait, 30) == 0
                await until(lambda: late.states()[-1] == "stopped")
            listener.stop()
            late.stop()

    asyncio.run(run())


def test_status_from_a_second_process(tmp_path: Path, modbus_site: Any, gateway_key: SigningKey) -> None:
    deep = tmp_path / ("a-data-directory-with-a-very-long-name-" * 4)
    deep.mkdir()

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS), 2: dict(REGISTERS)}) as site:
            path = write_config(deep, site.port)
            write_key(load_config(path).key_file, gateway_key)
            before = await asyncio.to_thread(status, path)
            assert before.returncode == 1
            assert "no agent runs with the data directory" in before.stderr
            with running(path) as agent:
                well = await status_until(path, lambda document: document["devices"]["ok"] == 2)
                assert well["last_seq"] >= 3
                assert well["acknowledged_seq"] == 0
                assert well["spool"]["unsent_records"] == well["last_seq"]
                assert [device["lag_ms"] < 60_000 for device in well["device_list"]] == [True, True]
                assert well["process"]["pid"] == agent.pid
                site.silent.add(2)
                ill = await status_until(path, lambda document: document["state"] == "degraded")
                assert ill["problems"] == ["does not answer: meter-2"]
                assert "meter-2: does not answer" in [error["text"] for error in ill["errors"]]
                told = await asyncio.to_thread(status, path)
                assert told.returncode == 1
                assert "meter-2  failing" in told.stdout
                assert "last fault: no answer within the time-out" in told.stdout
                path.write_text(path.read_text().replace("acrel-adl400", "acrel"))
                assert (await asyncio.to_thread(status, path, "--json")).returncode == 1
            killed = await asyncio.to_thread(status, path)
            assert killed.returncode == 1
            assert "no agent runs" in killed.stderr

    async def status_until(path: Path, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                done = await asyncio.to_thread(status, path, "--json")
                if done.returncode == 0 or done.stdout:
                    document: dict[str, Any] = json.loads(done.stdout)
                    assert done.returncode == (0 if document["state"] == "ok" else 1)
                    if condition(document):
                        return document
                await asyncio.sleep(0.1)

    asyncio.run(run())


def test_an_agent_with_all_of_this_stays_small(
    tmp_path: Path, modbus_site: Any, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """thingsboard-gateway#1445 "Memory usage remains high": 1 GB, then 6 GB, with three devices."""

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS), 2: dict(REGISTERS)}) as site:
            path = write_config(tmp_path, site.port, uplink_to(receiver))
            write_key(load_config(path).key_file, gateway_key)
            with running(path, "--log-format", "json") as agent:
                process = psutil.Process(agent.pid)
                await until(lambda: receiver.seq >= 3)
                for _ in range(5):
                    reached, text = receiver.seq, path.read_text()
                    path.write_text(text + "#\n")
                    agent.send_signal(1)
                    await until(lambda reached=reached: receiver.seq >= reached + 2)
                    await asyncio.to_thread(ask, tmp_path / "data")
                assert process.memory_info().rss < AGENT_BUDGET

    asyncio.run(run())


def test_a_device_is_judged_by_all_its_reads_since_the_last_time() -> None:
    states = DeviceStates()

    def after(*statuses: int) -> Answering:
        for status in statuses:
            states.note(0, 1_000, status)
        states.settle()
        return states.of(0).answering

    assert after() is Answering.WAITING
    assert after(STATUS_OK, 2) is Answering.OK
    assert after() is Answering.OK
    assert after(STATUS_TIMEOUT, 2) is Answering.FAILING
    assert after() is Answering.FAILING
    assert after(STATUS_OK) is Answering.OK
    assert states.of(1).answering is Answering.WAITING


def test_recent_errors_are_few_and_what_is_repeated_is_counted() -> None:
    errors = RecentErrors(lambda: 7)
    logger = logging.Logger("agent.test")
    logger.addHandler(errors)
    for number in range(30):
        logger.warning("again")
        logger.error("error %d", number)
        logger.info("nothing")
    assert len(errors.entries) == 10
    assert errors.entries[-1] == {"time_ms": 7, "level": "error", "text": "error 29", "times": 1}
    assert next(entry["times"] for entry in errors.entries if entry["text"] == "again") == 30


def test_what_a_killed_agent_left_of_its_socket_is_in_nobodys_way(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "status.sock"))
    left.close()

    async def document() -> dict[str, Any]:
        return {"state": "ok"}

    async def run() -> dict[str, Any]:
        async with answering(tmp_path, document):
            assert (tmp_path / "status.sock").stat().st_mode & 0o077 == 0
            return await asyncio.to_thread(ask, tmp_path)

    assert asyncio.run(run()) == {"state": "ok"}
    with pytest.raises(NotRunningError):
        ask(tmp_path)


def test_an_agent_that_hangs_is_told_from_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.status._PATIENCE_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "status.sock"))
        deaf.listen()
        with pytest.raises(NotRunningError, match="runs but does not answer"):
            ask(tmp_path)


def test_the_status_finds_the_agent_of_a_file_under_repair(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("data_directory: data\nconnection: nonsense\n")
    assert data_directory_of(path) == tmp_path / "data"
    path.write_text("gateway: gw-01\n")
    with pytest.raises(ConfigurationError, match="data_directory: is missing"):
        data_directory_of(path)


@pytest.mark.parametrize("abstract", [True, False])
def test_the_service_manager_is_told_ready_alive_reloading_and_stopping(
    tmp_path: Path, modbus_site: Any, gateway_key: SigningKey, until: Until, abstract: bool
) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.setblocking(False)
    name = f"@shopfloor-test-{tmp_path.name}-{id(manager)}" if abstract else str(tmp_path / "notify")
    manager.bind(name.replace("@", "\0"))
    told: list[str] = []

    def hear() -> list[str]:
        try:
            while True:
                told.extend(manager.recv(4096).decode().splitlines())
        except BlockingIOError:
            return told

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS), 2: dict(REGISTERS)}) as site:
            path = write_config(tmp_path, site.port)
            write_key(load_config(path).key_file, gateway_key)
            with running(path, NOTIFY_SOCKET=name, WATCHDOG_USEC="200000") as agent:
                await until(lambda: "READY=1" in hear() and told.count("WATCHDOG=1") >= 3)
                await until(lambda: "STATUS=ok: all devices answer" in hear())
                agent.send_signal(1)
                await until(lambda: "RELOADING=1" in hear() and told.count("READY=1") == 2)
                agent.terminate()
                assert await asyncio.to_thread(agent.wait, 30) == 0
                assert "STOPPING=1" in hear()

    try:
        asyncio.run(run())
    finally:
        manager.close()


def test_without_a_service_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert not supervision.notify("READY=1")
    assert supervision.watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    assert supervision.watchdog_seconds() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert supervision.watchdog_seconds() is None
