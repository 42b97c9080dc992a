"""The enterprise lane from end to end: the agent as a process, real brokers, a host application that is not ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import load_config
from agent.keyfile import write_key
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]
ADL400 = dict.fromkeys(range(0x0800, 0x0858), 5)
ENERGY = 0x084C
"""Total active energy, two registers of 0.1 kWh."""


class Agent:
    """The agent as a process; ``log`` is where it writes."""

    def __init__(self, process: subprocess.Popen[bytes], config: Path, log: Path) -> None:
        self.process = process
        self.config = config
        self.log = log

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def session(self) -> int:
        """The number of the session that was begun last."""
        return int((self.config.parent / "data" / "sparkplug-bdseq").read_text())

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "shopfloor", "agent", "status", str(self.config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    async def ended(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        return await asyncio.to_thread(self.process.wait, 30)


@pytest.fixture
def gateway(tmp_path: Path, gateway_key: SigningKey) -> Callable[..., Path]:
    """Write a gateway file; every device is an acrel-adl400 on a line of its own, read five times a second."""

    def write(broker_port: int, modbus_ports: dict[str, int], *, uplink: str = "", **sparkplug: str) -> Path:
        path = tmp_path / "gateway.yaml"
        lane = {"url": f"mqtt://127.0.0.1:{broker_port}", "group_id": "plant-3", "interval": "100ms", **sparkplug}
        connections = [
            {
                "id": f"line-{name}",
                "protocol": "modbus-tcp",
                "host": "127.0.0.1",
                "port": port,
                "timeout": "500ms",
                "devices": [{"id": name, "model": "acrel-adl400", "interval": "200ms", "serial_number": name.upper()}],
            }
            for name, port in modbus_ports.items()
        ]
        # A JSON document is a YAML document.
        rest = json.dumps({"sparkplug": lane, "connections": connections})[1:-1]
        path.write_text(
            "{"
            + f'"gateway": "gw-01", "key_file": "gw.key", "data_directory": "data", "flush": "1s",{uplink} {rest}'
            + "}"
        )
        write_key(load_config(path).key_file, gateway_key) if not (tmp_path / "gw.key").exists() else None
        return path

    return write


@contextmanager
def running(config: Path) -> Iterator[Agent]:
    log = config.parent / f"log-{len(list(config.parent.glob('log-*')))}"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "shopfloor", "agent", "run", str(config)]
        process = subprocess.Popen(command, stderr=output, stdout=output)
    try:
        yield Agent(process, config, log)
    finally:
        process.kill()
        process.wait()


def gapless(host: Any) -> bool:
    """Whether the sequence of the births and what followed each of them has no gap."""
    expected = None
    for one in host.heard:
        if one.verb == "NDEATH":
            assert not one.payload.HasField("seq")
            expected = None
            continue
        expected = 0 if one.verb == "NBIRTH" else (-1 if expected is None else (expected + 1) % 256)
        if one.payload.seq != expected:
            return False
    return True


def test_a_whole_life(any_broker: Any, sparkplug_host: Any, modbus_site: Any, gateway: Any, until: Until) -> None:
    """Births, changes, rebirth, kill -9 with the will, the next session's number, refused commands, a clean end."""
    host = sparkplug_host(any_broker.server.port, version=any_broker.version)

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            config = gateway(any_broker.server.port, {"meter-1": site.port})
            with running(config) as agent:
                await until(lambda: bool(host.of("DBIRTH")))
                site.registers[1] |= {ENERGY: 1, ENERGY + 1: 0xE240}
                await until(lambda: host.newest("meter-1")["active_energy_import"] == 12345.6)
                host.command("NCMD", "Node Control/Rebirth", True)
                await until(lambda: len(host.of("DBIRTH")) == 2)
                assert host.of("DBIRTH")[1].values["active_energy_import"] == 12345.6
                host.command("DCMD", "active_energy_import", 0, device="meter-1")
                host.command("NCMD", "Node Control/Reboot", True)
                host.publish("spBv1.0/plant-3/NCMD/gw-01", b"\xff\xff")
                await until(lambda: agent.said.count("is refused: this gateway only reads") == 3)
                assert await agent.ended(signal.SIGKILL) == -signal.SIGKILL
            await until(lambda: len(host.of("NDEATH")) == 1)
            site.registers[1] |= {ENERGY + 1: 0xE241}
            with running(config) as agent:
                await until(lambda: len(host.of("DBIRTH")) == 3)
                assert await agent.ended(signal.SIGTERM) == 0
            await until(lambda: len(host.of("NDEATH")) == 2)
            assert {function for _, function, *_ in site.requests} == {3}, "nothing was written"

    asyncio.run(run())
    first, second = any_broker.connects - 1, 2 * any_broker.connects - 1
    assert [one.number for one in host.of("NBIRTH")] == [first, first, second]
    deaths = host.of("NDEATH")
    assert [one.number for one in deaths] == [first, second]
    assert all(not one.retain for one in host.heard)
    if any_broker.keeps_qos:
        assert {one.qos for one in host.of("NBIRTH", "DBIRTH", "DDATA")} == {0}
        assert {one.qos for one in deaths} == {1}
    assert gapless(host)
    assert host.of("DBIRTH")[2].values["active_energy_import"] == 12345.7
    kept = [verb for verb, _ in host.verbs() if verb != "DDATA"]
    assert kept == ["NBIRTH", "DBIRTH", "NBIRTH", "DBIRTH", "NDEATH", "NBIRTH", "DBIRTH", "NDEATH"]


def test_a_device_that_dies_and_comes_back(
    mosquitto: Any, sparkplug_host: Any, modbus_site: Any, gateway: Any, until: Until
) -> None:
    """tck-id-operational-behavior-device-ddeath; the other device tells on, the sequence has no gap."""
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as one, modbus_site({1: dict(ADL400)}) as other:
            with running(gateway(mosquitto.port, {"meter-1": one.port, "meter-2": other.port})):
                await until(lambda: len(host.of("DBIRTH")) == 2)
                one.silent.add(1)
                await until(lambda: ("DDEATH", "meter-1") in host.verbs())
                other.registers[1][ENERGY + 1] = 77
                await until(lambda: host.newest("meter-2")["active_energy_import"] == (5 * 65536 + 77) * 0.1)
                one.silent.clear()
                await until(lambda: host.verbs().count(("DBIRTH", "meter-1")) == 2)

    asyncio.run(run())
    assert gapless(host)
    assert ("DDEATH", "meter-2") not in host.verbs()


def test_message_flow_edge_node_birth_publish_phid_wait_and_offline(
    mosquitto: Any, sparkplug_host: Any, modbus_site: Any, gateway: Any, until: Until
) -> None:
    """Nothing is told before the primary host is there nor after it has left; an older word is not heeded."""
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            config = gateway(mosquitto.port, {"meter-1": site.port}, primary_host_id="scada-1")
            with running(config) as agent:
                await until(lambda: "connected to the broker, session 0" in agent.said)
                host.say("scada-2", online=True)
                host.publish("spBv1.0/STATE/scada-1", b"ONLINE", qos=1)
                host.say("scada-1", online=False, time_ms=1_000)
                await until(lambda: len(site.requests) > 3)
                assert host.heard == []
                assert (await asyncio.to_thread(agent.status))["sparkplug"]["state"] == "waiting for its primary host"
                host.say("scada-1", online=True, time_ms=2_000)
                await until(lambda: bool(host.of("DBIRTH")))
                assert (await asyncio.to_thread(agent.status))["sparkplug"] == {"state": "online", "fault": None}
                host.say("scada-1", online=False, time_ms=1_999)
                site.registers[1][ENERGY + 1] = 77
                await until(lambda: bool(host.of("DDATA")))
                assert host.of("NDEATH") == [], "an older word is not heeded"
                host.say("scada-1", online=False, time_ms=2_000)
                await until(lambda: bool(host.of("NDEATH")))
                await until(lambda: agent.session == 1)
                told = len(host.heard)
                site.registers[1][ENERGY + 1] = 78
                asked = len(site.requests)
                await until(lambda: len(site.requests) > asked + 5)
                assert len(host.heard) == told
                host.say("scada-1", online=True, time_ms=3_000)
                await until(lambda: len(host.of("DBIRTH")) == 2)

    asyncio.run(run())
    assert [one.number for one in host.of("NBIRTH")] == [0, 1]
    assert [one.number for one in host.of("NDEATH")][:1] == [0]
    assert host.of("DBIRTH")[1].values["active_energy_import"] == (5 * 65536 + 78) * 0.1
    assert gapless(host)


def test_a_new_configuration_is_a_new_birth(
    mosquitto: Any, sparkplug_host: Any, modbus_site: Any, gateway: Any, until: Until
) -> None:
    host = sparkplug_host(mosquitto.port)

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as one, modbus_site({1: dict(ADL400)}) as other:
            config = gateway(mosquitto.port, {"meter-1": one.port})
            with running(config) as agent:
                await until(lambda: bool(host.of("DBIRTH")))
                gateway(mosquitto.port, {"meter-0": other.port, "meter-1": one.port})
                os.kill(agent.process.pid, signal.SIGHUP)
                await until(lambda: ("DBIRTH", "meter-0") in host.verbs())
                await until(lambda: host.verbs().count(("DBIRTH", "meter-1")) == 2)
                one.registers[1][ENERGY + 1] = 77
                await until(lambda: host.newest("meter-1")["active_energy_import"] == (5 * 65536 + 77) * 0.1)
                assert [one.number for one in host.of("NBIRTH")] == [0, 0], "in the same session"
                gateway(mosquitto.port, {"meter-0": other.port, "meter-1": one.port}, edge_node_id="press-shop")
                os.kill(agent.process.pid, signal.SIGHUP)
                await until(lambda: bool(host.of("NDEATH")) and host.verbs()[-1][0] != "NDEATH")

    asyncio.run(run())
    assert [one.number for one in host.of("NBIRTH")] == [0, 0, 1]


def test_a_broker_that_is_away_costs_the_records_nothing(  # noqa: PLR0917 - fixtures
    mosquitto: Any,
    receiver: Any,
    sparkplug_host: Any,
    modbus_site: Any,
    gateway: Any,
    until: Until,
) -> None:
    """Dead from the start, then there, killed, and there again: records go on, the session's number goes on."""
    mosquitto.kill()

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            uplink = json.dumps({"url": f"mqtt://127.0.0.1:{receiver.port}", "server_key": receiver.key.public.text})
            config = gateway(mosquitto.port, {"meter-1": site.port}, uplink=f'"uplink": {uplink},')
            with running(config) as agent:
                await until(lambda: receiver.seq > 3)
                status = await asyncio.to_thread(agent.status)
                assert status["state"] == "ok", "the evidence has no part in it"
                assert status["sparkplug"]["state"] == "offline"
                assert "Connection refused" in status["sparkplug"]["fault"]
                await asyncio.to_thread(mosquitto.start)
                host = await asyncio.to_thread(sparkplug_host, mosquitto.port)
                await until(lambda: bool(host.of("DBIRTH")))
                await asyncio.to_thread(mosquitto.kill)
                reached = receiver.seq
                await until(lambda: receiver.seq > reached + 2)
                await asyncio.to_thread(mosquitto.start)
                await until(lambda: len(host.of("NBIRTH")) == 2, 60)
                assert await agent.ended(signal.SIGTERM) == 0
            assert [one.number for one in host.of("NBIRTH")] == [0, 1], "a broker that was not there saw no number"

    asyncio.run(run())
    assert sorted(receiver.records) == list(range(1, receiver.seq + 1))


def test_without_the_section_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    program = "import agent.runtime, sys; sys.exit(any(name.startswith('agent.sparkplug_') and name != "
    program += "'agent.sparkplug_lane' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
