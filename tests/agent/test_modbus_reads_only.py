"""Writing is impossible: what devices receive in a whole scenario, what the code names, what the guard stops."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.pdu import DecodePDU, ModbusPDU

import agent
from agent import drivers
from agent.clock import DrivenClock, SystemClock
from agent.config import parse_config
from agent.errors import ForbiddenRequestError
from agent.keyfile import ensure_key
from agent.modbus import ModbusConnection
from agent.runtime import run_agent

START = 1_751_299_200_000
READS = {1, 2, 3, 4}
FOLDER = Path(agent.__file__).parent

DEVICES = """
      - {id: plc-UNIT, model: generic-modbus-plc, unit: UNIT, interval: 10s, extra_series: {
          door: {quantity: door, unit: "1", kind: state, function: 1, address: 0, type: bit},
          lamp: {quantity: lamp, unit: "1", kind: state, function: 2, address: 3, type: bit},
          level: {quantity: level, unit: m, kind: gauge, function: 4, address: 0, type: bcd16},
          serial: {quantity: serial, unit: "1", kind: state, function: 3, address: 20, type: string, length: 4}}}
"""


def file_of(*connections: str) -> str:
    lines = "".join(
        f"  - {connection}\n    timeout: 40ms\n    devices:{DEVICES.replace('UNIT', str(10 * number + 1))}"
        f"{DEVICES.replace('UNIT', str(10 * number + 2)).lstrip(chr(10))}"
        f"      - {{id: meter-{number}, model: acrel-adl400, unit: {10 * number + 3}, interval: 10s}}\n"
        for number, connection in enumerate(connections, start=1)
    )
    return f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n{lines}"


def test_through_a_whole_scenario_devices_receive_nothing_but_reads(
    tmp_path: Path, modbus_site: Any, serial_cable: Any
) -> None:
    """Start, daily reads, refused addresses, silence, noise, a restart of the server, and hours of trying again."""

    def registers(number: int) -> dict[int, dict[int, int]]:
        plc = dict.fromkeys([*range(4), *range(20, 24)], 1)
        return {10 * number + 1: plc, 10 * number + 2: dict(plc), 10 * number + 3: dict.fromkeys(range(0x0858), 1)}

    async def run() -> None:
        async with (
            serial_cable() as cable,
            modbus_site(registers(1)) as network,
            modbus_site(registers(2), framer=FramerType.RTU) as converter,
            modbus_site(registers(3), serial_port=cable.far) as bus,
        ):
            sites = (network, converter, bus)

            def world(now_ms: int) -> None:
                minute = (now_ms - START) // 60_000
                for number, site in enumerate(sites, start=1):
                    site.silent = {10 * number + 2} if minute % 10 == 3 else set()
                    site.exceptions = {10 * number + 1: ExcCodes.ILLEGAL_FUNCTION} if minute % 10 == 6 else {}
                cable.garble = (lambda data: data[:-1]) if minute % 10 == 8 else bytes

            text = file_of(
                f"id: network\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {network.port}",
                f"id: converter\n    protocol: modbus-rtu-over-tcp\n    host: 127.0.0.1\n    port: {converter.port}",
                f"id: bus\n    protocol: modbus-rtu\n    serial_port: {cable.near}\n    baud_rate: 115200",
            )
            config = parse_config(text, "gateway.yaml", tmp_path)
            ensure_key(config.key_file)
            await run_agent(config, DrivenClock(START, world), START + 20 * 60_000)
            await network.stop()
            await network.start()
            await run_agent(config, DrivenClock(START + 20 * 60_000, world), START + 30 * 60_000)
            sent = [packet[7] for packet in network.packets]
            sent += [packet[1] for packet in (*converter.packets, *cable.requests)]
        assert set(sent) == READS
        assert len(sent) > 1000

    asyncio.run(run())


def other_requests() -> list[type[ModbusPDU]]:
    """Every request that pymodbus can make and that is no read of bits or registers."""
    pairs = [pair for code, pair in DecodePDU.pdu_table.items() if code not in READS]
    pairs += [pair for kinds in DecodePDU.pdu_sub_table.values() for pair in kinds.values()]
    return sorted({request for request, _ in pairs}, key=lambda request: request.__name__)


def names_in(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found.update(part for alias in node.names for part in alias.name.split("."))
            found.update((getattr(node, "module", None) or "").split("."))
    return found


def modbus_files() -> list[Path]:
    return [path for path in sorted(FOLDER.rglob("*.py")) if "pymodbus" in names_in(path)]


def test_no_driver_names_anything_of_pymodbus_that_writes() -> None:
    reads = {"read_coils", "read_discrete_inputs", "read_holding_registers", "read_input_registers"}
    methods = {name for name in vars(ModbusClientMixin) if not name.startswith("_")} - reads - {"execute"}
    classes = {request.__name__ for request in other_requests()}
    assert {"write_register", "write_coils", "mask_write_register"} <= methods
    assert {"WriteSingleRegisterRequest", "WriteMultipleCoilsRequest", "MaskWriteRegisterRequest"} <= classes
    files = modbus_files()
    assert FOLDER / "modbus.py" in files
    for path in files:
        assert not names_in(path) & (methods | classes), path
        assert "getattr" not in names_in(path), path


def test_only_the_modbus_modules_know_pymodbus() -> None:
    assert {path.stem for path in modbus_files()} == {
        "modbus",
        "modbus_tcp",
        "modbus_tls",
        "modbus_rtu",
        "modbus_rtu_over_tcp",
    }


@pytest.mark.parametrize("request_type", other_requests(), ids=lambda request_type: request_type.__name__)
def test_whatever_else_is_put_into_a_connection_does_not_leave_it(
    tmp_path: Path, modbus_site: Any, request_type: type[ModbusPDU]
) -> None:
    """Even by way of the private client that the connection holds."""

    async def run() -> None:
        async with modbus_site({1: {0: 1}}) as site:
            text = (
                "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
                f"  - {{id: line, protocol: modbus-tcp, host: 127.0.0.1, port: {site.port}, "
                "devices: [{id: plc, model: generic-modbus-plc, interval: 1s}]}\n"
            )
            settings = parse_config(text, "gateway.yaml", tmp_path).connections[0]
            connection = drivers.connect(settings, SystemClock())
            assert isinstance(connection, ModbusConnection)
            assert await connection.open()
            with pytest.raises(ForbiddenRequestError, match="is no read and is not sent"):
                await connection._client.execute(False, request_type())
            assert (await connection.read(1, 3, 0, 1)).words == [1]
            connection.close()
            assert [packet[7] for packet in site.packets] == [3]

    asyncio.run(run())
