"""The agent as a process of its own, at the work of a real gateway: processor time, punctuality, memory, start.

Ten Modbus TCP devices of 100 values each are read every second, by the agent and, at the same time, by a bare loop of
asyncio and pymodbus that makes the same requests and drops the answers. The agent signs, spools, sends and is
acknowledged by a real server. Devices, server and bare loop are processes of their own. Start-up is left out of the
processor times, and the process that reads the gateway file for the agent has ended when its memory is measured. Then
the agent is started once more, with an OPC UA server in place of the devices.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.errors import NotRunningError
from agent.export import export_records
from agent.keyfile import ensure_key
from agent.status import ask
from bench.modbus import FLOAT_ADDRESS, FLOATS, INTEGER_ADDRESS, INTEGERS, modbus_devices
from bench.opc_ua import NODES, opc_ua_server
from bench.process import processor_seconds, resident_mb
from bench.server import server
from wire.record import open_record
from wire.record_file import read_records

LIMITS = {"cpu_ratio": 2.0, "late_max_ms": 1_000.0, "rss_mb": 52.0, "rss_opcua_mb": 78.0, "first_record_s": 2.0}

UNIT = Path(__file__).parents[1] / "deploy" / "systemd" / "shopfloor-agent.service"
GATEWAY = "bench-01"
DEVICES = 10
PERIOD_MS = 1_000
WARM_UP_S = 15.0
STEADY_S = 60.0
OPC_UA_S = 25.0
_PATIENCE_S = 30.0
_CLOSED_PORT = 9
"""Discard (RFC 863), which nobody serves any more."""


def measure() -> dict[str, float]:
    """Return the figures of both runs; MB are MiB of resident memory at the end of a run."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        ports = stack.enter_context(modbus_devices(DEVICES))
        uplink = stack.enter_context(server(directory, {GATEWAY: ensure_key(directory / "bench.key").public}))
        bare = stack.enter_context(bare_loop(ports))
        with running_agent(directory, modbus_connections(ports), uplink) as (agent, first_record_s):
            time.sleep(WARM_UP_S)
            before, bare_before = processor_seconds(agent.pid), processor_seconds(bare.pid)
            time.sleep(STEADY_S)
            spent, bare_spent = processor_seconds(agent.pid) - before, processor_seconds(bare.pid) - bare_before
            resident = resident_mb(agent.pid)
        figures["cpu_s"], figures["bare_cpu_s"], figures["cpu_ratio"] = spent, bare_spent, spent / bare_spent
        figures["cpu_ms_per_read"] = spent * PERIOD_MS / (STEADY_S * DEVICES)
        figures["late_max_ms"] = latest_ms(directory)
        figures["rss_mb"], figures["first_record_s"] = resident, first_record_s
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        url = stack.enter_context(opc_ua_server())
        uplink = stack.enter_context(server(directory, {GATEWAY: ensure_key(directory / "bench.key").public}))
        with running_agent(directory, [_opc_ua_connection(url)], uplink) as (agent, _):
            time.sleep(OPC_UA_S)
            figures["rss_opcua_mb"] = resident_mb(agent.pid)
            if (answer := ask(directory / "spool"))["devices"]["ok"] != 1:
                raise RuntimeError(f"the OPC UA device was not read: {answer['problems']}")
    return figures


@contextlib.contextmanager
def bare_loop(ports: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Read the devices without an agent while the block lasts."""
    process = subprocess.Popen([sys.executable, "-m", "bench.bare_loop", *map(str, ports)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_agent(
    directory: Path, connections: Sequence[dict[str, Any]], uplink: dict[str, Any]
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run ``shopfloor agent run`` in ``directory`` while the block lasts, in the environment of the systemd unit.

    Yields the process, and the seconds from its start to the first record on disk, as the agent itself tells. A run
    before it, with a chain of its own and no server, leaves everything that is imported compiled, as an installation
    does: an agent that has to compile takes more memory and starts later.
    """
    with tempfile.TemporaryDirectory() as compiled:
        environment = _environment(Path(compiled))
        nowhere = {**uplink, "url": f"mqtt://127.0.0.1:{_CLOSED_PORT}"}
        with _started(directory, "warm-up", connections, nowhere, environment) as (first, _):
            _until_all_answer(directory / "warm-up", len(connections))
            first.kill()
        with _started(directory, "spool", connections, uplink, environment) as running:
            yield running


@contextlib.contextmanager
def _started(
    directory: Path,
    data: str,
    connections: Sequence[dict[str, Any]],
    uplink: dict[str, Any],
    environment: dict[str, str],
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    config = directory / f"{data}.yaml"
    document = {
        "gateway": GATEWAY,
        "key_file": "bench.key",
        "data_directory": data,
        "spool_bytes": "64MiB",
        "uplink": uplink,
        "connections": list(connections),
    }
    config.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    log = directory / f"{data}.log"
    with log.open("wb") as said:
        began = time.monotonic()
        command = [sys.executable, "-m", "shopfloor", "agent", "run", str(config)]
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        while not _last_seq(directory / data):
            if process.poll() is not None or time.monotonic() - began > _PATIENCE_S:
                raise RuntimeError(f"the agent did not start: {log.read_text(encoding='utf-8')}")
            time.sleep(0.01)
        yield process, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)


def _until_all_answer(data_directory: Path, devices: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while (answer := ask(data_directory))["devices"]["ok"] != devices:
        if time.monotonic() > until:
            raise RuntimeError(f"not every device was read: {answer['problems']}")
        time.sleep(0.1)


def modbus_connections(ports: Sequence[int]) -> list[dict[str, Any]]:
    """What a gateway file says about the devices: equal ones, so that YAML writes their series once."""
    power = {"quantity": "active_power", "unit": "kW", "kind": "gauge", "function": 3, "type": "float32"}
    state = {"quantity": "line_state", "unit": "1", "kind": "state", "function": 3, "type": "uint16"}
    series = {
        f"power-{n:02}": {**power, "address": address}
        for n, address in enumerate(range(FLOAT_ADDRESS, FLOAT_ADDRESS + 2 * FLOATS, 2))
    } | {
        f"state-{n:02}": {**state, "address": address}
        for n, address in enumerate(range(INTEGER_ADDRESS, INTEGER_ADDRESS + INTEGERS))
    }
    device = {"model": "generic-modbus-plc", "series": [], "interval": f"{PERIOD_MS}ms", "extra_series": series}
    return [
        {
            "id": f"line-{number}",
            "protocol": "modbus-tcp",
            "host": "127.0.0.1",
            "port": port,
            "devices": [{"id": f"plc-{number}", **device}],
        }
        for number, port in enumerate(ports)
    ]


def latest_ms(directory: Path) -> float:
    """Return how late the latest sample on record is: every device and block is due at every multiple of the period.

    A moment that was missed altogether counts as served by the next sample, hence as late by a period or more.
    """
    records = directory / "records"
    export_records(directory / "spool", records, None, None)
    times: dict[tuple[int, int], list[int]] = {}
    with records.open("rb") as file:
        for data in read_records(file):
            for frame in open_record(data, None).payload.register_frames:
                times.setdefault((frame.device, frame.address), []).extend(frame.times_ms)
    if len(times) != DEVICES * 2:
        raise RuntimeError(f"{len(times)} of {DEVICES * 2} blocks are on record")
    return float(
        max(
            samples[bisect_left(samples, due_ms)] - due_ms
            for samples in times.values()
            for due_ms in range(samples[0] // PERIOD_MS * PERIOD_MS, samples[-1] + 1 - PERIOD_MS, PERIOD_MS)
        )
    )


def _opc_ua_connection(url: str) -> dict[str, Any]:
    nodes = {name: {"quantity": "active_power", "unit": "kW", "kind": "gauge", "node": node} for name, node in NODES}
    device = {"id": "plc", "model": "opc-ua-plc", "series": [], "interval": "10s", "extra_series": nodes}
    return {"id": "line", "protocol": "opc-ua", "url": url, "security": "None", "devices": [device]}


def _environment(compiled: Path) -> dict[str, str]:
    """The environment of the service, which keeps what it compiles in ``compiled``, whatever this process may write."""
    environment = os.environ | _unit_environment() | {"PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _unit_environment() -> dict[str, str]:
    settings = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines())
    pairs = (value.partition("=") for name, _, value in settings if name == "Environment")
    return {name: value for name, _, value in pairs}


def _last_seq(directory: Path) -> int:
    try:
        return int(ask(directory)["last_seq"])
    except (NotRunningError, FileNotFoundError):
        return 0
