"""Browsing a real OPC UA server, and the series that are written from it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua

from agent.config import load_config
from agent.errors import ConfigurationError
from agent.series_file import add_series, series_name
from shopfloor.main import main

Serve = Callable[[], AbstractAsyncContextManager[str]]
BLOCK = """gateway: gw-01 # ours
key_file: gw.key
data_directory: data
connections:
  - id: line
    protocol: opc-ua
    url: {url}
    security: None
    devices:
      - id: line-1 # the press
        model: opc-ua-plc
        interval: 1s
        series: []
        extra_series:
          speed: {{quantity: speed, unit: rpm, kind: gauge, node: ns=2;s=Press.Speed}}
      - id: line-2
        model: opc-ua-plc
        interval: 1s
"""


@pytest.fixture
def serve(port: int) -> Serve:
    @asynccontextmanager
    async def running() -> AsyncIterator[str]:
        server = Server()
        await server.init()
        url = f"opc.tcp://127.0.0.1:{port}/line"
        server.set_endpoint(url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for number in (1, 2):
            await server.register_namespace(f"urn:line:{number}")
        press = await server.nodes.objects.add_object(ua.NodeId("Press", 2), "Press")
        double, text = ua.VariantType.Double, ua.VariantType.String
        await press.add_variable(ua.NodeId("Press.Speed", 2), "Speed", 1500.0, double)
        power = await press.add_variable(ua.NodeId("Press.Power", 2), "Active Power", 12.5, double)
        unit = ua.EUInformation(DisplayName=ua.LocalizedText("kW"))
        await power.add_property(ua.NodeId("Press.Power.Unit", 2), "EngineeringUnits", unit)
        await press.add_variable(ua.NodeId("Press.Order", 2), "Order", "A-17", text)
        await press.add_variable(ua.NodeId("Press.Curve", 2), "Curve", [1.0, 2.0], double)
        async with server:
            yield url

    return running


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_the_server_has(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with serve() as url:
            command = ["agent", "browse", "--endpoint", url]
            assert await asyncio.to_thread(main, [*command, "--filter", "Press/*"]) == 0
            shown = capsys.readouterr().out
            assert "ns=2;s=Press.Power  double  Press/Active Power  12.5 kW\n" in shown
            assert "ns=2;s=Press.Order  string  Press/Order  A-17\n" in shown
            assert "4 variables" in shown
            assert await asyncio.to_thread(main, [*command, "--filter", "*Speed", "--json"]) == 0
            (speed,) = json.loads(capsys.readouterr().out)
            assert (speed["node"], speed["variant"], speed["value"]) == ("ns=2;s=Press.Speed", "DOUBLE", 1500.0)
            assert await asyncio.to_thread(main, [*command, "--filter", "nothing"]) == 1
            assert await asyncio.to_thread(main, [*command, "--start", "ns=2;s=Ghost"]) == 1
            assert "BadNodeId" in capsys.readouterr().err

    asyncio.run(run())


def test_series_are_written_beside_what_is_there(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serve() as url:
            path = tmp_path / "gateway.yaml"
            path.write_text(BLOCK.format(url=url))
            command = ["agent", "browse", str(path), "--filter", "Press/*", "--write-series"]
            assert await asyncio.to_thread(main, [*command, "line-1"]) == 0
            assert "2 series added to line-1" in capsys.readouterr().err, "speed is there, a curve is no value"
            device = next(load_config(path).devices())[1]
            assert {name: (one.node, one.unit, one.kind) for name, one in device.extra_series.items()} == {
                "speed": ("ns=2;s=Press.Speed", "rpm", "gauge"),
                "active_power": ("ns=2;s=Press.Power", "kW", "gauge"),
                "order": ("ns=2;s=Press.Order", "1", "state"),
            }
            before = set(BLOCK.format(url=url).splitlines())
            assert before <= set(path.read_text().splitlines()), "no line of the owner is changed"
            assert await asyncio.to_thread(main, [*command, "line-2"]) == 0
            names = list(list(load_config(path).devices())[1][1].extra_series)
            assert names == ["speed", "press_active_power", "order"], "active_power is a series of the model"

    asyncio.run(run())


def test_read_shows_nodes_as_it_shows_registers(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serve() as url:
            path = tmp_path / "gateway.yaml"
            path.write_text(BLOCK.format(url=url))
            command = ["agent", "read", str(path), "--seconds", "0", "--device"]
            assert await asyncio.to_thread(main, [*command, "line-1"]) == 0
            shown = capsys.readouterr().out
            assert "speed  1500.0  1500 rpm\n" in shown
            assert "PASS         answers: 1 values" in shown
            assert await asyncio.to_thread(main, [*command, "line-2"]) == 1
            assert "ns=2;s=Line.Power: OPC UA status code 0x8034" in capsys.readouterr().out

    asyncio.run(run())


def test_a_device_written_on_one_line_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    head, _, _ = BLOCK.format(url="opc.tcp://192.0.2.1").partition("    devices:")
    text = f"{head}    devices: [{{id: line-1, model: opc-ua-plc, interval: 1s}}]\n"
    path.write_text(text)
    series: dict[str, dict[str, Any]] = {"x": {"quantity": "x", "unit": "1", "kind": "gauge", "node": "ns=2;s=X"}}
    with pytest.raises(ConfigurationError, match="not written one key a line"):
        add_series(path, "line-1", series)
    with pytest.raises(ConfigurationError, match="no device 'line-9'"):
        add_series(path, "line-9", series)
    assert path.read_text() == text


def test_a_server_that_is_not_there_is_named(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"opc.tcp://127.0.0.1:{port}"
    assert main(["agent", "browse", "--endpoint", url]) == 1
    assert url in capsys.readouterr().err
    assert main(["agent", "browse"]) == 2
    assert main(["agent", "browse", "--endpoint", "http://x"]) == 2


def test_names_of_series_come_from_the_path() -> None:
    assert series_name("Press/Active Power", []) == "active_power"
    assert series_name("Press/Active Power", ["active_power"]) == "press_active_power"
    assert series_name("压机/功率", []) == "series_2"
    assert series_name("a" * 100, []) == "a" * 64
