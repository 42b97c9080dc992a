"""The agent as a real process: killed without warning, stopped politely, started twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from agent.config import load_config
from agent.keyfile import ensure_key, write_key
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.event import Event
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]
ADL400 = dict.fromkeys(range(0x0800, 0x0858), 5)
AGENT_BUDGET = 64 * 2**20


def write_config(tmp_path: Path, modbus_port: int, uplink: str = "", serial: str = "A1") -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        f"gateway: gw-01\nkey_file: gw.key\ndata_directory: data\nflush: 1s\n{uplink}connections:\n"
        f"  - id: line\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {modbus_port}\n"
        f"    devices: [{{id: meter-1, model: acrel-adl400, interval: 100ms, serial_number: {serial}}}]\n"
    )
    return path


def uplink_to(receiver: Any) -> str:
    return f"uplink: {{url: 'mqtt://127.0.0.1:{receiver.port}', server_key: '{receiver.key.public.text}'}}\n"


def shopfloor(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shopfloor", "agent", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def running(config: Path) -> Any:
    process = subprocess.Popen([sys.executable, "-m", "shopfloor", "agent", "run", str(config)], stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def events(records: list[Any]) -> list[str]:
    return [r.payload.body.name for r in records if isinstance(r.payload.body, Event)]


def test_the_chain_survives_kill_minus_nine_without_fork_or_loss(
    tmp_path: Path, modbus_site: Any, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """thingsboard-gateway#1507, telegraf#802: what was collected is gone after a crash. Made = committed, one chain."""

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            path = write_config(tmp_path, site.port, uplink_to(receiver))
            write_key(load_config(path).key_file, gateway_key)
            for round_ in range(4):
                with running(path) as agent:
                    reached = receiver.seq
                    await until(lambda reached=reached: receiver.seq >= reached + 3)
                    if round_ == 1:
                        receiver.mute = True
                        await asyncio.sleep(1.5)
                    if round_ == 3:
                        receiver.mute = False
                        agent.send_signal(signal.SIGTERM)
                        assert await asyncio.to_thread(agent.wait, 30) == 0
                    else:
                        os.kill(agent.pid, signal.SIGKILL)
                        await asyncio.to_thread(agent.wait, 30)
                if round_ == 1:
                    receiver.mute = False

        records = [receiver.records[seq] for seq in sorted(receiver.records)]
        result = verify_run([r.data for r in records], gateway_key.public, gateway="gw-01")
        assert result.faults == []
        assert [r.seq for r in records] == list(range(1, receiver.seq + 1))
        assert events(records) == ["start", "loss", "start", "loss", "start", "loss", "start", "stop"]
        for before, loss in itertools.pairwise(records):
            if isinstance(loss.payload.body, Event) and loss.payload.body.name == "loss":
                detail = loss.payload.body.detail
                assert detail["first_ms"] == before.payload.time_ms <= detail["last_ms"] <= loss.payload.time_ms
                assert "ended without a stop" in detail["reason"]
        assert sum(isinstance(r.payload.body, Descriptor) for r in records) == 1
        assert len({r.payload.boot_id for r in records}) == 4

    asyncio.run(run())


def test_a_clean_stop_writes_the_last_reads_and_says_so(tmp_path: Path, modbus_site: Any, until: Until) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            path = write_config(tmp_path, site.port)
            assert shopfloor("key", path).returncode == 0
            with running(path) as agent:
                await until(lambda: len(site.requests) >= 5)
                agent.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(agent.wait, 30) == 0
            asked = len(site.requests)
        records = read_spool(path)
        assert events(records) == ["start", "stop"]
        reads = sum(frame.n for r in records for frame in r.payload.frames)
        assert asked - 1 <= reads <= asked, "at most the read in progress is not on record"

    asyncio.run(run())


def test_a_changed_configuration_is_visible_in_the_chain(tmp_path: Path, modbus_site: Any, until: Until) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            for serial in ("A1", "A1", "B2"):
                path = write_config(tmp_path, site.port, serial=serial)
                shopfloor("key", path)
                with running(path) as agent:
                    asked = len(site.requests)
                    await until(lambda asked=asked: len(site.requests) > asked)
                    agent.terminate()
                    assert await asyncio.to_thread(agent.wait, 30) == 0
        records = read_spool(path)
        names = ["start", "stop", "start", "stop", "configuration", "meter_replaced", "start", "stop"]
        assert events(records) == names
        change = next(
            r for r in records if isinstance(r.payload.body, Event) and r.payload.body.name == "configuration"
        )
        assert change.payload.body.detail == {"reason": "changed: meter-1"}
        descriptors = [r for r in records if isinstance(r.payload.body, Descriptor)]
        assert [d.payload.body.devices[0].serial_number for d in descriptors] == ["A1", "B2"]
        assert records[-1].payload.descriptor == descriptors[1].hash

    asyncio.run(run())


def test_a_second_agent_on_the_same_data_is_refused_with_a_message(
    tmp_path: Path, modbus_site: Any, until: Until
) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            path = write_config(tmp_path, site.port)
            shopfloor("key", path)
            with running(path):
                await until(lambda: len(site.requests) >= 1)
                second = await asyncio.to_thread(shopfloor, "run", path)
        assert second.returncode == 3
        assert "another agent is running" in second.stderr
        assert "Traceback" not in second.stderr

    asyncio.run(run())


def test_the_agent_is_small(tmp_path: Path, modbus_site: Any, receiver: Any, until: Until) -> None:
    """thingsboard-gateway#2028: 189 MB; the gateways this runs on have 256 MB in all."""

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            path = write_config(tmp_path, site.port, uplink_to(receiver))
            shopfloor("key", path)
            with running(path) as agent:
                await until(lambda: len(site.requests) >= 20)
                assert psutil.Process(agent.pid).memory_info().rss < AGENT_BUDGET

    receiver.deaf = True
    asyncio.run(run())


def test_check_shows_the_plan_and_reads_real_values(tmp_path: Path, modbus_site: Any) -> None:
    async def run() -> tuple[Any, Any]:
        async with modbus_site({1: dict(ADL400) | {0x084C: 1, 0x084D: 0xE240}}) as site:
            path = write_config(tmp_path, site.port)
            good = await asyncio.to_thread(shopfloor, "check", path, "--read", "--json")
            site.silent.add(1)
            path.write_text(path.read_text().replace("    port:", "    timeout: 200ms\n    port:"))
            return good, await asyncio.to_thread(shopfloor, "check", path, "--read")

    good, bad = asyncio.run(run())
    assert good.returncode == 0, good.stderr
    document = json.loads(good.stdout)
    assert document["devices"][0]["requests"] == [{"function": 3, "address": 0x0800, "count": 88}]
    assert document["reads"][0]["values"]["active_energy_import"] == {"value": 12345.6, "unit": "kWh"}
    assert 1_000_000 < document["bytes_a_day"] < 100_000_000
    assert bad.returncode == 1
    assert "no answer within the time-out" in bad.stdout


def test_a_mistake_in_the_file_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    path = write_config(tmp_path, 502)
    path.write_text(path.read_text().replace("adl400", "adl40"))
    result = shopfloor("check", path)
    assert result.returncode == 2
    assert (
        f"{path}:10: connections[0].devices[0].model: no such device model; did you mean 'acrel-adl400'?"
        in result.stderr
    )
    assert "Traceback" not in result.stderr


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = write_config(tmp_path, 502)
    first, second = shopfloor("key", path), shopfloor("key", path, "--json")
    assert first.returncode == second.returncode == 0
    shown = json.loads(second.stdout)
    assert shown["key"] in first.stdout
    assert shown["fingerprint"] in first.stdout
    key_file = tmp_path / "gw.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    seed = key_file.read_text().strip().removeprefix("ed25519-private:")
    assert seed not in first.stdout + second.stdout
    key_file.chmod(0o644)
    assert "chmod 600" in shopfloor("run", path).stderr


def read_spool(path: Path) -> list[Any]:
    from agent.spool import Spool  # noqa: PLC0415
    from wire.record import open_record  # noqa: PLC0415

    config = load_config(path)
    key = ensure_key(config.key_file)
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    try:
        messages = spool.outgoing(0, 10**6, 2**30)
        assert isinstance(messages, list)
        return [open_record(message.data, key.public) for message in messages]
    finally:
        spool.close()
