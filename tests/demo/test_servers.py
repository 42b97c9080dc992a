"""The Modbus servers, read by pymodbus's own client, answer as the devices they stand for."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from pymodbus.client import ModbusTcpClient

from agent.models import load_template
from demo.devices import AcrelAdl400, EastronSdm630, LinePlc, SimulatedDevice
from demo.errors import SurroundingsError
from demo.factory import START_MS, Factory
from demo.servers import factory_devices
from demo.supervision import Child
from demo.timebase import Timebase

NOON_MS = START_MS + 12 * 3_600_000
Serve = Callable[[Sequence[SimulatedDevice]], dict[str, int]]


@pytest.fixture
def clients(serve: Serve) -> Iterator[dict[str, ModbusTcpClient]]:
    ports = serve(factory_devices(Factory(1)))
    connected = {name: ModbusTcpClient("127.0.0.1", port=port, retries=0) for name, port in ports.items()}
    for client in connected.values():
        assert client.connect()
    yield connected
    for client in connected.values():
        client.close()


def floats(words: list[int]) -> tuple[float, ...]:
    return struct.unpack(f">{len(words) // 2}f", struct.pack(f">{len(words)}H", *words))


def unsigned(words: list[int]) -> int:
    return words[0] << 16 | words[1]


def test_line_meter_shows_the_line(clients: dict[str, ModbusTcpClient], timebase: Timebase) -> None:
    timebase.show(NOON_MS)
    factory = Factory(1)
    day = factory.day(0)
    client = clients["meter-1"]
    volts = floats(client.read_holding_registers(0x0800, count=6, device_id=1).registers)
    amperes = floats(client.read_holding_registers(0x080C, count=6, device_id=1).registers)
    powers = floats(client.read_holding_registers(0x0814, count=8, device_id=1).registers)
    power_factor, frequency = floats(client.read_holding_registers(0x0832, count=4, device_id=1).registers)
    step_kw, step_a = 0.06, 0.6
    assert powers[3] == pytest.approx(day.line_kw[720], abs=step_kw / 2 + 1e-4)
    assert sum(powers[:3]) == pytest.approx(powers[3], abs=2 * step_kw)
    assert all(ampere / step_a == pytest.approx(round(ampere / step_a), abs=1e-4) for ampere in amperes)
    carried = sum(volt * ampere * power_factor / 1000.0 for volt, ampere in zip(volts, amperes, strict=True))
    assert carried == pytest.approx(powers[3], rel=0.01)
    assert frequency == pytest.approx(50.0, abs=0.2)
    energy = unsigned(client.read_holding_registers(0x084C, count=2, device_id=1).registers)
    assert energy == int(day.line_kwh[720] * 10)


def test_energy_register_is_the_integral_of_the_power_register(
    clients: dict[str, ModbusTcpClient], timebase: Timebase
) -> None:
    client = clients["meter-2"]
    integral = 0.0
    timebase.show(NOON_MS)
    first = floats(client.read_input_registers(0x0048, count=2, device_id=1).registers)[0]
    for minute in range(30):
        timebase.show(NOON_MS + minute * 60_000)
        integral += floats(client.read_input_registers(0x0034, count=2, device_id=1).registers)[0] / 60_000.0
    timebase.show(NOON_MS + 30 * 60_000)
    last = floats(client.read_input_registers(0x0048, count=2, device_id=1).registers)[0]
    resolution_kwh, float_step_kwh = 0.01, 2.0**-8
    assert last - first == pytest.approx(integral, abs=resolution_kwh + float_step_kwh)


def test_compressor_meter_refuses_what_the_real_one_refuses(clients: dict[str, ModbusTcpClient]) -> None:
    client = clients["meter-2"]
    assert not client.read_input_registers(0, count=60, device_id=1).isError()
    assert client.read_input_registers(0, count=62, device_id=1).exception_code == 2
    assert client.read_input_registers(1, count=2, device_id=1).exception_code == 2
    assert client.read_input_registers(0, count=3, device_id=1).exception_code == 2
    assert client.read_holding_registers(0, count=2, device_id=1).exception_code == 1


def test_addresses_outside_the_map_answer_exception_2(clients: dict[str, ModbusTcpClient]) -> None:
    assert clients["meter-1"].read_holding_registers(0x0000, count=2, device_id=1).exception_code == 2
    assert clients["meter-1"].read_holding_registers(0x0857, count=2, device_id=1).exception_code == 2
    assert clients["plc-1"].read_holding_registers(8, count=1, device_id=1).exception_code == 2


def test_registers_cannot_be_written(clients: dict[str, ModbusTcpClient], timebase: Timebase) -> None:
    timebase.show(NOON_MS)
    before = clients["plc-1"].read_holding_registers(0, count=8, device_id=1).registers
    assert clients["plc-1"].write_register(0, 7, device_id=1).isError()
    assert clients["plc-1"].read_holding_registers(0, count=8, device_id=1).registers == before


def test_line_meter_shows_the_ratios_of_its_transformers_beside_its_values(
    clients: dict[str, ModbusTcpClient], timebase: Timebase
) -> None:
    timebase.show(NOON_MS)
    assert clients["meter-1"].read_holding_registers(0x008D, count=2, device_id=1).registers == [1, 60]
    assert clients["meter-1"].read_holding_registers(0x008C, count=2, device_id=1).isError()
    volts = clients["meter-1"].read_holding_registers(0x0800, count=2, device_id=1).registers
    assert clients["meter-1"].read_holding_registers(0x008D, count=2, device_id=1).registers == [1, 60]
    assert clients["meter-1"].read_holding_registers(0x0800, count=2, device_id=1).registers == volts


def test_plc_counts_inside_the_minute_and_follows_the_clock(
    clients: dict[str, ModbusTcpClient], timebase: Timebase
) -> None:
    shown = []
    for step in range(61):
        timebase.show(NOON_MS + step * 10_000)
        words = clients["plc-1"].read_holding_registers(0, count=8, device_id=1).registers
        shown.append(unsigned(words[:2]) + unsigned(words[2:4]))
        assert words[4] in range(5)
    assert shown == sorted(shown)
    day = Factory(1).day(0)
    assert shown[-1] - shown[0] == day.produced[720:730].sum()


def test_templates_read_what_the_simulator_means() -> None:
    """The agent's device models, applied to the simulators' words, give the simulator's own numbers."""
    factory = Factory(1)
    day = factory.day(0)
    expected = {
        "acrel-adl400": (
            AcrelAdl400(factory),
            {"active_power": (day.line_kw[720], 0.031), "voltage_l2": (day.voltage_v[1, 720], 0.051)},
        ),
        "eastron-sdm630": (
            EastronSdm630(factory),
            {"active_power": (day.compressor_kw[720], 0.001), "active_energy_import": (day.compressor_kwh[720], 0.01)},
        ),
        "generic-modbus-plc": (
            LinePlc(factory),
            {
                "good_count": (day.good[720], 0),
                "scrap_count": (day.scrap[720], 0),
                "line_state": (day.state[720], 0),
                "outdoor_temperature": (day.outdoor_temperature_c[720], 0.051),
                "cycle_time": (day.cycle_s[720], 1e-5),
            },
        ),
    }
    for model, (device, values) in expected.items():
        words = device.words(NOON_MS)
        for name, (value, resolution) in values.items():
            series = load_template(model).model.series[name]
            offset = series.address - device.first
            assert series.function == device.function
            decoded = series.decode(tuple(words[offset : offset + series.type.words]))
            assert decoded == pytest.approx(float(value), abs=resolution), f"{model} {name}"


def test_process_prints_its_ports_and_dies_with_its_parent(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    Timebase.create(clock).close()
    parent_code = (
        "import sys; from pathlib import Path; from demo.supervision import Child\n"
        f"child = Child('servers', 'demo.servers', ['--clock', {str(clock)!r}], Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, child.expect_line(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, _, ports = parent.stdout.readline().partition(" ")
    assert json.loads(ports).keys() == {"meter-1", "meter-2", "plc-1"}
    child = psutil.Process(int(pid))
    parent.kill()
    parent.communicate()
    child.wait(timeout=10)


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    child = Child("servers", "demo.servers", ["--clock", str(tmp_path / "absent")], tmp_path / "log")
    with pytest.raises(SurroundingsError, match=r"servers ended with code .*shared clock"):
        child.expect_line()
    child.stop()
