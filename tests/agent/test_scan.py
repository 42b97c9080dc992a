"""Scans of real Modbus servers: which units are found, which models fit, and that nothing but reads is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType

from agent.errors import ConfigurationError
from agent.models import load_template
from agent.scan import hosts_of, identifiable
from shopfloor.main import main

Registers = Callable[..., dict[int, int]]
VALUES = {
    "voltage_l1": 229.0, "voltage_l2": 231.0, "voltage_l3": 230.0,
    "current_l1": 40.0, "current_l2": 41.0, "current_l3": 39.0,
    "active_power_l1": 8.244, "active_power_l2": 8.5239, "active_power_l3": 8.073,
    "active_power": 24.841, "power_factor": 0.9, "frequency": 50.01, "active_energy_import": 1234.5,
}  # fmt: skip


async def scan(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["agent", "scan", "--timeout", "100ms", *arguments])


def test_units_and_the_models_that_fit_them(
    modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        units = {
            1: meter_registers("eastron-sdm630", **VALUES),
            3: meter_registers("acrel-adl400", **VALUES),
            4: {0: 7, 1: 8},
            2: {0: 0},
            6: {0: 0},
        }
        async with modbus_site(units) as site:
            site.silent |= {2, 6}
            arguments = ["--host", f"127.0.0.1:{site.port}", "--units", "1-4,6", "--json"]
            assert await scan(*arguments) == 0
            (bus,) = json.loads(capsys.readouterr().out)
            found = {unit["unit"]: unit for unit in bus["units"]}
            assert list(found) == [1, 3, 4]
            assert found[3]["answer"] == "exception 2: illegal data address"
            assert found[4]["answer"] == "holding register 0 is 0007"
            assert found[4]["fits"] == []
            fits = {number: [fit["model"] for fit in found[number]["fits"] if fit["plausible"]] for number in (1, 3)}
            assert fits == {1: ["eastron-sdm630"], 3: ["acrel-adl400"]}
            (best,) = (fit for fit in found[1]["fits"] if fit["plausible"])
            assert best["evidence"] == "voltage_l1 229 V, voltage_l2 231 V, voltage_l3 230 V, frequency 50.01 Hz"
            assert {check["outcome"] for check in best["checks"]} <= {"PASS", "NOT CHECKED"}
            assert {packet[7] for packet in site.packets} <= {1, 2, 3, 4}, "nothing but reads"

    asyncio.run(run())


def test_a_model_whose_values_are_no_network_s_does_not_fit(
    modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **VALUES | {"frequency": 400.0})}) as site:
            host = f"127.0.0.1:{site.port}"
            assert await scan("--host", host, "--units", "1", "--models", "eastron-sdm630") == 0
            shown = capsys.readouterr().out
            assert "not eastron-sdm630: voltage_l1 229 V, voltage_l2 231 V, voltage_l3 230 V, frequency 400 Hz" in shown
            assert "no model fits" in shown

    asyncio.run(run())


def test_units_behind_a_gateway_that_reports_them_missing_are_not_found(
    modbus_site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: {0: 1}, 2: {0: 1}}) as site:
            site.exceptions[1] = ExcCodes.GATEWAY_NO_RESPONSE
            site.silent.add(2)
            assert await scan("--host", f"127.0.0.1:{site.port}", "--units", "1-2") == 1
            assert "no unit answers" in capsys.readouterr().out

    asyncio.run(run())


def test_a_host_that_answers_to_every_unit_is_looked_at_once(
    modbus_site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({unit: {0: unit} for unit in range(1, 11)}) as site:
            assert await scan("--host", f"127.0.0.1:{site.port}", "--units", "1-10", "--json") == 0
            (bus,) = json.loads(capsys.readouterr().out)
            assert bus["alike"]
            assert [unit["unit"] for unit in bus["units"]] == [1]

    asyncio.run(run())


def test_a_network_is_searched_for_hosts_with_an_open_port(
    modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **VALUES)}) as site:
            network = ["--network", "127.0.0.0/29", "--port", str(site.port)]
            assert await scan(*network, "--models", "eastron-sdm630,acrel-adl400") == 0
            shown = capsys.readouterr().out
            assert f"127.0.0.1:{site.port}: 1 looked at" in shown
            assert "fits eastron-sdm630" in shown
            assert "6 hosts asked, 1 with an open port" in shown

    asyncio.run(run())


def test_a_serial_bus(
    modbus_site: Any, serial_cable: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serial_cable() as cable:
            units = {1: {0: 0}, 2: meter_registers("eastron-sdm630", **VALUES), 3: {0: 0}}
            async with modbus_site(units, framer=FramerType.RTU, serial_port=cable.far) as site:
                site.silent |= {1, 3}
                arguments = ["--serial", cable.near, "--baud-rate", "115200", "--units", "1-3"]
                assert await scan(*arguments, "--models", "eastron-sdm630") == 0
                shown = capsys.readouterr().out
                assert "115200 8N1: 1 looked at" in shown
                assert "unit 2: holding register 0 is 4365" in shown
                assert "fits eastron-sdm630" in shown
                assert {function for _, function, _, _ in site.requests} <= {3, 4}

    asyncio.run(run())


def test_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "scan", "--host", "127.0.0.1:1", "--models", "eastron-sdm63"]) == 2
    assert "did you mean 'eastron-sdm630'" in capsys.readouterr().err
    assert main(["agent", "scan", "--host", "127.0.0.1:1", "--models", "generic-modbus-plc"]) == 2
    assert main(["agent", "scan", "--host", "127.0.0.1:1", "--timeout", "1 fortnight"]) == 2
    assert "timeout" in capsys.readouterr().err
    for wrong in ("5-1", "x", "1-256"):
        with pytest.raises(SystemExit):
            main(["agent", "scan", "--host", "127.0.0.1", "--units", wrong])
    with pytest.raises(ConfigurationError, match="more than 4096"):
        hosts_of("10.0.0.0/8")


def test_every_identifiable_model_fits_itself(
    modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each model read from a meter of its own kind: identified by its own registers."""

    async def run() -> None:
        usual = {"voltage_l1": 220.0, "voltage_l2": 220.0, "voltage_l3": 220.0, "frequency": 50.0}
        for model in identifiable():
            series = load_template(model).model.series.keys() & usual.keys()
            async with modbus_site({1: meter_registers(model, **{name: usual[name] for name in series})}) as site:
                host = f"127.0.0.1:{site.port}"
                assert await scan("--host", host, "--units", "1", "--models", model) == 0
                assert f"fits {model}:" in capsys.readouterr().out

    asyncio.run(run())
