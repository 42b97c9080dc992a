"""The simulated meters as a command, on a pseudo terminal and on TCP, read by the agent's drivers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.config import parse_config
from agent.readout import read_devices


@contextmanager
def meter(module: str, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", f"demo.{module}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].strip()
    finally:
        process.terminate()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    ("module", "protocol", "model", "address", "value"),
    [
        ("dlt645_meter", "dlt645", "dlt645-2007-three-phase", "000000000161", "active_energy_import"),
        ("cjt188_meter", "cjt188", "cjt188-heat", "2078330011223344", "heat_energy"),
    ],
)
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "tcp"])
def test_a_simulated_meter_started_by_command_is_read(
    *, module: str, protocol: str, model: str, address: str, value: str, terminal: bool
) -> None:
    with meter(module, "--address", address, *(["--terminal", "--echo"] if terminal else [])) as place:
        host, _, port = place.partition(":")
        where = f"serial_port: {place}" if terminal else f"host: {host}, port: {port}"
        protocol += "" if terminal else "-over-tcp"
        config = parse_config(
            "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
            f"  - {{id: bus, protocol: {protocol}, {where}, devices: "
            f'[{{id: meter-1, model: {model}, address: "{address}", interval: 1min}}]}}\n',
            "gateway.yaml",
            Path("/"),
        )
        (read,) = asyncio.run(read_devices(config))
    assert read.faults == []
    assert isinstance(read.values[value].value, float)
