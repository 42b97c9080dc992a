"""The read and commission commands against real servers: what they show, what they sign, what they refuse."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest

import wire
from agent.clock import SystemClock
from agent.config import load_config
from agent.errors import SpoolError
from agent.journal import Journal
from agent.keyfile import ensure_key, load_key
from agent.runtime import run_agent
from shopfloor.main import main
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.event import Event, event_to_cbor
from wire.record import Record, open_record

Registers = Callable[..., dict[int, int]]
SOUND = {
    "voltage_l1": 229.0, "voltage_l2": 231.0, "voltage_l3": 230.0,
    "current_l1": 40.0, "current_l2": 41.0, "current_l3": 39.0,
    "active_power_l1": 8.244, "active_power_l2": 8.5239, "active_power_l3": 8.073,
    "active_power": 24.841, "power_factor": 0.9, "frequency": 50.01, "active_energy_import": 1234.5,
}  # fmt: skip


def gateway(tmp_path: Path, port: int, *devices: str) -> Path:
    path = tmp_path / "gateway.yaml"
    listed = ", ".join(devices or ("{id: meter-1, model: eastron-sdm630, interval: 1s, serial_number: A1}",))
    path.write_text(
        "gateway: gw-01\nkey_file: gw.key\ndata_directory: data\nconnections:\n  - id: line\n    protocol: modbus-tcp\n"
        f"    host: 127.0.0.1\n    port: {port}\n    timeout: 200ms\n    devices: [{listed}]\n"
    )
    return path


def read_spool(path: Path) -> list[Record]:
    config = load_config(path)
    key = load_key(config.key_file)
    journal = Journal(config.data_directory, config.gateway, key, config.spool_bytes, SystemClock())
    try:
        return [open_record(one.data, key.public) for one in journal.outgoing(0, 1000, 10**7)]
    finally:
        journal.close()


def test_read_shows_raw_words_values_and_checks(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **SOUND)}) as site:
            path = gateway(tmp_path, site.port)
            assert await asyncio.to_thread(main, ["agent", "read", str(path), "--seconds", "0"]) == 0
            shown = capsys.readouterr().out
            assert "voltage_l1            4365 0000  229 V\n" in shown
            assert "PASS         frequency: 50.01 Hz, must be 45 to 65\n" in shown
            assert " 0 FAIL" in shown
            assert {function for _, function, _, _ in site.requests} == {4}

    asyncio.run(run())


def test_read_says_what_does_not_agree_and_exits_with_1(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        wrong = SOUND | {"active_power_l3": -8.073, "frequency": 5.0}
        async with modbus_site({1: meter_registers("eastron-sdm630", **wrong)}) as site:
            path = gateway(tmp_path, site.port)
            assert await asyncio.to_thread(main, ["agent", "read", str(path), "--seconds", "0", "--json"]) == 1
            (device,) = json.loads(capsys.readouterr().out)["devices"]
            fails = [check["name"] for check in device["checks"] if check["outcome"] == "FAIL"]
            assert fails == ["frequency", "direction of the phases", "sum of the phases, active_power"]
            assert device["values"]["frequency"]["raw"] == "40A0 0000"

    asyncio.run(run())


def test_read_watches_the_counter_rise_and_leaves_a_silent_unit_alone(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        model = "eastron-sdm630"
        async with modbus_site({1: meter_registers(model, **SOUND), 2: meter_registers(model, **SOUND)}) as site:
            site.silent.add(2)
            devices = [f"{{id: meter-{n}, model: {model}, interval: 1s, unit: {n}}}" for n in (1, 2)]
            path = gateway(tmp_path, site.port, *devices)
            arguments = ["agent", "read", str(path), "--seconds", "0.3", "--json"]
            assert await asyncio.to_thread(main, arguments) == 1
            good, silent = json.loads(capsys.readouterr().out)["devices"]
            assert [check["name"] for check in good["checks"] if check["outcome"] == "FAIL"] == []
            assert any("it falls" not in check["text"] and "too short" in check["text"] for check in good["checks"])
            assert silent["faults"] == ["function 4, registers 0 to 17: no answer within the time-out"]
            assert [unit for unit, *_ in site.requests].count(2) == 1, "one time-out is enough"
            assert [unit for unit, *_ in site.requests].count(1) >= 4, "read at least twice"
            one = ["agent", "read", str(path), "--seconds", "0", "--device", "meter-1"]
            assert await asyncio.to_thread(main, one) == 0
            assert await asyncio.to_thread(main, ["agent", "read", str(path), "--device", "meter-3"]) == 2
            assert "no such device in the gateway file" in capsys.readouterr().err

    asyncio.run(run())


def test_a_refused_value_is_named_and_the_others_are_read(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        registers = meter_registers("eastron-sdm630", **SOUND)
        for address in (0x4A, 0x4B):
            del registers[address]
        async with modbus_site({1: registers}) as site:
            path = gateway(tmp_path, site.port)
            assert await asyncio.to_thread(main, ["agent", "read", str(path), "--seconds", "0", "--json"]) == 1
            (device,) = json.loads(capsys.readouterr().out)["devices"]
            assert device["values"]["active_energy_import"]["value"] == 1234.5
            assert device["faults"] == ["function 4, registers 74 to 75: exception 2: illegal data address"]

    asyncio.run(run())


def test_the_commissioning_record_is_the_first_thing_behind_the_descriptor(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **SOUND)}) as site:
            path = gateway(tmp_path, site.port)
            config = load_config(path)
            key = ensure_key(config.key_file)
            command = ["agent", "commission", str(path), "--operator", "李工", "--seconds", "0"]
            assert await asyncio.to_thread(main, command) == 0
            assert "signed as records 1 to 2 of gw-01" in capsys.readouterr().out
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, stop.set)
            await run_agent(config, stop=stop)

            records = read_spool(path)
            assert verify_run([one.data for one in records], key.public, gateway="gw-01").faults == []
            bodies = [one.payload.body for one in records]
            assert isinstance(bodies[0], Descriptor)
            assert sum(isinstance(body, Descriptor) for body in bodies) == 1
            events = [body for body in bodies if isinstance(body, Event)]
            assert [event.name for event in events][:2] == ["commissioned", "start"]
            detail = events[0].detail
            assert (detail["operator"], detail["device"], detail["serial_number"]) == ("李工", "meter-1", "A1")
            assert (detail["failed"], detail["checks_failed"]) == (0, "")
            assert isinstance(detail["passed"], int)
            assert detail["passed"] > 5
            (report,) = config.data_directory.glob("commissioned-*.json")
            assert hashlib.sha256(report.read_bytes()).digest() == detail["report"]
            assert json.loads(report.read_bytes())["devices"][0]["values"]["frequency"]["raw"] == "4248 0A3D"
            cddl = (Path(wire.__file__).parent / "record.cddl").read_text(encoding="utf-8")
            pycddl.Schema(f"start = event\n{cddl}").validate_cbor(cbor2.dumps(event_to_cbor(events[0])))

    asyncio.run(run())


def test_what_fails_is_signed_only_with_a_reason(tmp_path: Path, modbus_site: Any, meter_registers: Registers) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **SOUND | {"frequency": 5.0})}) as site:
            path = gateway(tmp_path, site.port)
            ensure_key(load_config(path).key_file)
            command = ["agent", "commission", str(path), "--operator", "li", "--seconds", "0"]
            assert await asyncio.to_thread(main, command) == 1
            assert read_spool(path) == []
            assert await asyncio.to_thread(main, [*command, "--accept", "test bench"]) == 0
            event = read_spool(path)[-1].payload.body
            assert isinstance(event, Event)
            assert event.detail["accepted"] == "test bench"
            assert event.detail["checks_failed"] == "frequency"

    asyncio.run(run())


def test_commissioning_again_adds_to_the_chain(tmp_path: Path, modbus_site: Any, meter_registers: Registers) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **SOUND)}) as site:
            path = gateway(tmp_path, site.port)
            ensure_key(load_config(path).key_file)
            command = ["agent", "commission", str(path), "--operator", "li", "--seconds", "0"]
            assert await asyncio.to_thread(main, command) == 0
            path.write_text(path.read_text().replace("A1", "B2"))
            assert await asyncio.to_thread(main, command) == 0
            names = [
                body.name if isinstance(body := one.payload.body, Event) else type(body).__name__
                for one in read_spool(path)
            ]
            assert names == [
                "Descriptor", "commissioned", "Descriptor", "configuration", "meter_replaced", "commissioned",
            ]  # fmt: skip

    asyncio.run(run())


def test_commissioning_refuses_beside_a_running_agent_and_asks_no_device(
    tmp_path: Path, modbus_site: Any, meter_registers: Registers, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with modbus_site({1: meter_registers("eastron-sdm630", **SOUND)}) as site:
            path = gateway(tmp_path, site.port)
            config = load_config(path)
            key = ensure_key(config.key_file)
            running = Journal(config.data_directory, "gw-01", key, config.spool_bytes, SystemClock())
            try:
                command = ["agent", "commission", str(path), "--operator", "li"]
                assert await asyncio.to_thread(main, command) == SpoolError.exit_code
                assert "another agent is running" in capsys.readouterr().err
                assert site.requests == []
                assert running.state.seq == 0
            finally:
                running.close()

    asyncio.run(run())


def test_commissioning_needs_a_key_and_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = gateway(tmp_path, 1)
    assert main(["agent", "commission", str(path), "--operator", "li"]) == 2
    assert "shopfloor agent key" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["agent", "commission", str(path), "--operator", " "])
