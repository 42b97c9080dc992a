"""The agent against a Modbus server that is not in Python and shares nothing with its library: modbus-serial."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import drivers
from agent.clock import DrivenClock, SystemClock
from agent.config import GatewayConfig, parse_config
from agent.keyfile import ensure_key
from agent.runtime import run_agent
from agent.spool import Spool
from wire.frame import STATUS_OK, STATUS_TIMEOUT
from wire.record import open_record

pytestmark = pytest.mark.registry

HERE = Path(__file__).parent / "modbus_node"
START = 1_751_299_200_000


@pytest.fixture
def port(npm_packages: Callable[[Path], Path]) -> Iterator[int]:
    packages = npm_packages(HERE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    process = subprocess.Popen(
        ["node", str(HERE / "server.js"), str(free)],
        env=os.environ | {"NODE_PATH": str(packages)},
        stdin=subprocess.PIPE,  # the server ends with the test, however that ends
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"ready\n"
    yield free
    process.stdin.close()
    process.wait()
    process.stdout.close()


def gateway(directory: Path, port: int) -> GatewayConfig:
    text = (
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n"
        f"  - {{id: line, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, timeout: 300ms, devices: ["
        "{id: silent, model: generic-modbus-plc, unit: 9, interval: 10s}, "
        "{id: there, model: generic-modbus-plc, unit: 2, interval: 10s}]}\n"
    )
    return parse_config(text, "gateway.yaml", directory)


def test_bits_and_registers_are_read(tmp_path: Path, port: int) -> None:
    async def run() -> None:
        connection = drivers.connect(gateway(tmp_path, port).connections[0], SystemClock())
        assert await connection.open()
        for function, address, expected in (
            (1, 6, [1, 0, 0, 1, 0, 0, 1, 0, 0]),
            (2, 6, [1, 0, 1]),
            (3, 100, [2100, 2101, 2102]),
            (4, 5, [65530, 65529]),
        ):
            reading = await connection.read(2, function, address, len(expected))
            assert (reading.status, list(reading.words or ())) == (STATUS_OK, expected)
        assert len((await connection.read(2, 3, 100, 125)).words or ()) == 125
        assert (await connection.read(2, 3, 4, 1)).status == 2
        connection.close()

    asyncio.run(run())


def test_a_missing_register_and_a_silent_unit_cost_only_themselves(tmp_path: Path, port: int) -> None:
    config = gateway(tmp_path, port)
    key = ensure_key(config.key_file)
    asyncio.run(run_agent(config, DrivenClock(START), START + 60_000))
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    records = [open_record(one.data, key.public) for one in spool.outgoing(0, 1000, 2**30)]
    spool.close()
    read: dict[int, set[int]] = {}
    for record in records:
        for frame in record.payload.frames:
            for time_ms, status, words in frame.samples():
                if frame.device == 0:
                    assert status == STATUS_TIMEOUT
                elif words is not None:
                    assert list(words) == [2000 + frame.address + number for number in range(frame.count)]
                    read.setdefault(time_ms, set()).update(range(frame.address, frame.address + frame.count))
    assert read == {START + at: {0, 1, 2, 3, 5, 6, 7} for at in range(0, 60_000, 10_000)}
