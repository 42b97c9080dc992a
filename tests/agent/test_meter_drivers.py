"""DL/T 645-2007 and CJ/T 188 drivers on real lines: TCP and serial, good meters, and everything a bus does to one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dlt645 import MeterServerService

from agent import cjt188_frame, dlt645_frame
from agent.cjt188_frame import Cjt188Frame
from agent.clock import DrivenClock, SystemClock
from agent.commissioning import estimated_bytes_a_day
from agent.config import GatewayConfig, parse_config
from agent.description import describe, queries_of
from agent.dlt645_frame import Dlt645Frame
from agent.drivers import Reading
from agent.drivers import cjt188 as cjt188_driver
from agent.drivers import connect as open_driver
from agent.keyfile import ensure_key
from agent.readout import read_devices
from agent.runtime import run_agent
from agent.spool import Spool
from demo import cjt188_meter, dlt645_meter
from demo.cjt188_meter import Cjt188Meter, metering_data
from demo.dlt645_meter import Dlt645Meter, identifier, meter_data
from demo.meter_line import MeterLine
from evidence.columns import decode_frame
from wire.descriptor import AnswerPlace
from wire.errors import DocumentError
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT, AnswerFrame
from wire.keys import SigningKey
from wire.record import open_record

ADDRESS = "000000000161"
WATER = "1078330011223344"
NOW = 1_751_299_200_000
TOTAL = b"\x11" + identifier("00010000")
METERING = b"\x01\x1f\x90"


def gateway(connections: str, directory: Path = Path("/")) -> GatewayConfig:
    text = f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n{connections}"
    return parse_config(text, "gateway.yaml", directory)


def bus(place: str, protocol: str, *devices: str, timeout: str = "400ms") -> str:
    return f"  - {{id: bus, protocol: {protocol}, {place}, timeout: {timeout}, devices: [{', '.join(devices)}]}}\n"


def meter(address: str = ADDRESS, model: str = "dlt645-2007-three-phase", name: str = "meter-1", more: str = "") -> str:
    return f'{{id: {name}, model: {model}, address: "{address}", interval: 1min{more}}}'


@asynccontextmanager
async def driver(line: MeterLine[Any], protocol: str, device: str, *, serial: bool = False) -> Any:
    async with line:
        if serial:
            place = f"serial_port: {line.open_terminal()}"
        else:
            place, protocol = f"host: 127.0.0.1, port: {await line.listen('127.0.0.1', 0)}", f"{protocol}-over-tcp"
        connection = open_driver(gateway(bus(place, protocol, device)).connections[0], SystemClock())
        try:
            assert await connection.open()
            yield connection
        finally:
            connection.close()


def ask(line: MeterLine[Any], protocol: str, device: str, station: str, request: bytes, **how: bool) -> Reading:
    async def run() -> Reading:
        async with driver(line, protocol, device, **how) as connection:
            reading: Reading = await connection.ask(station, request)
            return reading

    return asyncio.run(run())


@pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])
@pytest.mark.parametrize("echo", [False, True], ids=["plain", "echo"])
def test_a_dlt645_meter_is_read(serial: bool, echo: bool) -> None:
    line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, meter_data(NOW)), echo=echo)
    reading = ask(line, "dlt645", meter(), ADDRESS, TOTAL, serial=serial)
    assert (reading.status, reading.words) == (STATUS_OK, meter_data(NOW)[identifier("00010000")])


@pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])
@pytest.mark.parametrize("counts", [True, False], ids=["counting", "not-counting"])
def test_a_cjt188_meter_is_read(serial: bool, counts: bool) -> None:
    line = cjt188_meter.line_of(Cjt188Meter(WATER, lambda: metering_data(0x10, NOW), counts=counts), echo=True)
    reading = ask(line, "cjt188", meter(WATER, "cjt188-water"), WATER, METERING, serial=serial)
    assert (reading.status, reading.words) == (STATUS_OK, metering_data(0x10, NOW))


def test_an_answer_in_several_frames_is_put_together() -> None:
    data = bytes(range(200))
    line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, {identifier("00010000"): data}, frame_data=64))
    reading = ask(line, "dlt645", meter(), ADDRESS, TOTAL)
    assert (reading.status, reading.words) == (STATUS_OK, data)


@pytest.mark.parametrize("address", ["AAAAAAAAAAAA", "AAAAAAAA0161", "161"])
def test_a_meter_is_found_by_wildcard_and_without_leading_zeros(address: str) -> None:
    line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, meter_data(NOW)))
    assert ask(line, "dlt645", meter(address), address, TOTAL).status == STATUS_OK


def test_the_address_of_a_single_meter_is_found_by_reading_it() -> None:
    line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, {}))
    reading = ask(line, "dlt645", meter(), "AAAAAAAAAAAA", b"\x11" + identifier("04000401"))
    assert reading.words == dlt645_frame.parse_address(ADDRESS)


def test_a_refusal_gives_the_error_word_of_the_meter() -> None:
    line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, {}))
    assert ask(line, "dlt645", meter(), ADDRESS, TOTAL).status == dlt645_meter.NO_SUCH_DATA
    water = cjt188_meter.line_of(Cjt188Meter(WATER, lambda: b""))
    assert ask(water, "cjt188", meter(WATER, "cjt188-water"), WATER, b"\x01\x99\x99").status == 4


def answering(make: Callable[[Dlt645Frame], bytes]) -> MeterLine[Dlt645Frame]:
    return MeterLine(dlt645_frame.parse, make)


def answer_to(request: Dlt645Frame, data: bytes, address: bytes | None = None) -> bytes:
    return dlt645_frame.encode(Dlt645Frame(address or request.address, 0x91, data))


@pytest.mark.parametrize(
    ("make", "status"),
    [
        pytest.param(lambda _: b"", STATUS_TIMEOUT, id="silent"),
        pytest.param(lambda _: b"\x00\xff\x68\x12", STATUS_MALFORMED, id="garbage"),
        pytest.param(lambda request: answer_to(request, request.data + b"1")[:-1], STATUS_MALFORMED, id="cut-off"),
        pytest.param(lambda request: answer_to(request, request.data), STATUS_MALFORMED, id="no-data"),
        pytest.param(lambda request: answer_to(request, b"\0\0\2\0" + b"1"), STATUS_TIMEOUT, id="other-identifier"),
        pytest.param(
            lambda request: answer_to(request, request.data + b"1", bytes(6)), STATUS_TIMEOUT, id="other-meter"
        ),
        pytest.param(
            lambda request: b"\x68\x55" + answer_to(request, request.data + b"1"), STATUS_OK, id="noise-before"
        ),
        pytest.param(
            lambda request: answer_to(request, request.data + b"0", bytes(6)) + answer_to(request, request.data + b"1"),
            STATUS_OK,
            id="answer-of-another-before",
        ),
    ],
)
def test_what_the_line_does_to_an_answer(make: Callable[[Dlt645Frame], bytes], status: int) -> None:
    reading = ask(answering(make), "dlt645", meter(), ADDRESS, TOTAL)
    assert (reading.status, reading.words) == (status, b"1" if status == STATUS_OK else None)


def test_a_dead_meter_behind_an_echoing_converter_is_silent_not_garbled() -> None:
    line = MeterLine(dlt645_frame.parse, lambda _: b"", echo=True)
    assert ask(line, "dlt645", meter(), ADDRESS, TOTAL).status == STATUS_TIMEOUT


def test_an_answer_that_came_too_late_is_not_taken_for_the_next() -> None:
    """The meter answers each request with its number, and the first one only together with the second."""
    seen: list[Dlt645Frame] = []

    def late(request: Dlt645Frame) -> bytes:
        seen.append(request)
        return b"" if len(seen) == 1 else answer_to(request, request.data + bytes([len(seen)]))

    async def run() -> tuple[Reading, Reading]:
        line = answering(late)
        async with driver(line, "dlt645", meter()) as connection:
            first = await connection.ask(ADDRESS, TOTAL)
            return first, await connection.ask(ADDRESS, TOTAL)

    first, second = asyncio.run(run())
    assert (first.status, second.status, second.words) == (STATUS_TIMEOUT, STATUS_OK, b"\x02")


def test_a_lost_line_is_noticed_and_opened_again() -> None:
    async def run() -> list[int]:
        meters = dlt645_meter.line_of(Dlt645Meter(ADDRESS, meter_data(NOW)))
        port = await meters.listen("127.0.0.1", 0)
        config = gateway(bus(f"host: 127.0.0.1, port: {port}", "dlt645-over-tcp", meter()))
        connection = open_driver(config.connections[0], SystemClock())
        assert await connection.open()
        statuses = [(await connection.ask(ADDRESS, TOTAL)).status]  # type: ignore[union-attr]
        await meters.close()
        await asyncio.sleep(0)
        statuses.append((await connection.ask(ADDRESS, TOTAL)).status)  # type: ignore[union-attr]
        assert not connection.is_open
        assert not await connection.open()
        await meters.listen("127.0.0.1", port)
        assert await connection.open()
        statuses.append((await connection.ask(ADDRESS, TOTAL)).status)  # type: ignore[union-attr]
        connection.close()
        await meters.close()
        return statuses

    assert asyncio.run(run()) == [STATUS_OK, STATUS_CONNECTION, STATUS_OK]


def test_a_serial_adapter_that_is_pulled_out_is_noticed() -> None:
    async def run() -> tuple[int, int, bool]:
        line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, meter_data(NOW)))
        async with driver(line, "dlt645", meter(), serial=True) as connection:
            before = (await connection.ask(ADDRESS, TOTAL)).status
            await line.close()
            return before, (await connection.ask(ADDRESS, TOTAL)).status, connection.is_open

    assert asyncio.run(run()) == (STATUS_OK, STATUS_CONNECTION, False)


def test_a_serial_port_that_is_not_there_does_not_open() -> None:
    config = gateway(bus("serial_port: /dev/no-such-port", "cjt188", meter(WATER, "cjt188-water")))
    assert isinstance(config.connections[0], cjt188_driver.Settings)
    assert config.connections[0].address == "/dev/no-such-port 2400 8E1"
    assert not asyncio.run(open_driver(config.connections[0], SystemClock()).open())


@pytest.mark.parametrize("protocol", ["dlt645", "cjt188"])
def test_nothing_but_reads_reaches_the_line(protocol: str) -> None:
    """Whatever request is asked for, a driver sends reads (data, data that follows, address) or refuses."""
    controls: set[int] = set()
    make = {"dlt645": dlt645_frame, "cjt188": cjt188_frame}[protocol]

    def note(frame: Dlt645Frame | Cjt188Frame) -> bytes:
        controls.add(frame.control)
        return b""

    device = meter() if protocol == "dlt645" else meter(WATER, "cjt188-water")
    station = ADDRESS if protocol == "dlt645" else WATER

    async def run() -> None:
        async with driver(MeterLine(make.parse, note), protocol, device) as connection:
            for control in range(0x80):
                try:
                    await connection.ask(station, bytes([control]) + b"\0\0\1\0")
                except make.FrameError:
                    continue

    asyncio.run(run())
    assert controls == {"dlt645": {0x11, 0x12, 0x13}, "cjt188": {0x01}}[protocol]


@pytest.fixture
def independent_meter() -> Iterator[tuple[MeterServerService, int]]:
    """A meter of the `dlt645` package: an implementation that is not ours."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = MeterServerService.new_tcp_server("127.0.0.1", port, 5.0)
    service.set_address(bytes.fromhex("610100000000"))
    assert service.start()
    yield service, port
    service.stop()


def test_an_independent_implementation_is_read(independent_meter: tuple[MeterServerService, int]) -> None:
    service, port = independent_meter
    service.set_00(0x00010000, 123456.78)
    service.set_02(0x02010100, 229.4)
    service.set_02(0x02030000, -12.3456)
    changes = "overrides: {voltage_l1: {request: 11 00 01 01 02}, active_power: {request: 11 00 00 03 02}}"
    wanted = f", series: [active_energy_import, voltage_l1, active_power, current_l1], {changes}"
    config = gateway(bus(f"host: 127.0.0.1, port: {port}", "dlt645-over-tcp", meter(more=wanted)))
    (read,) = asyncio.run(read_devices(config))
    assert {name: one.value for name, one in read.values.items()} == {
        "active_energy_import": pytest.approx(123456.78),
        "voltage_l1": pytest.approx(229.4),
        "active_power": pytest.approx(-12.3456),
    }
    assert [fault.split(":")[0] for fault in read.faults] == ["request 11 00 FF 02 02"]


def test_a_bus_is_polled_into_signed_records(tmp_path: Path) -> None:
    """One meter answers, one is dead, one answers garbage: the first leaves its raw bytes, and none is missing."""
    good = Dlt645Meter(ADDRESS, meter_data(NOW))

    def reply(request: Dlt645Frame) -> bytes:
        if request.address == dlt645_frame.parse_address("666"):
            return bytes.fromhex("68 66 06 00 00 00 00 68 91 55 13")
        answer = good.answer(request)
        return b"" if answer is None else dlt645_frame.encode(answer)

    async def run() -> tuple[GatewayConfig, SigningKey]:
        line = MeterLine(dlt645_frame.parse, reply)
        async with line:
            port = await line.listen("127.0.0.1", 0)
            names = "active_energy_import, active_energy_import_tariff_2, voltage_l3, active_power"
            few = f", series: [{names}], history: false"
            devices = (
                meter("999", name="dead", more=few), meter("666", name="garbage", more=few), meter(more=few)
            )  # fmt: skip
            place = f"host: 127.0.0.1, port: {port}"
            config = gateway(bus(place, "dlt645-over-tcp", *devices, timeout="50ms"), tmp_path)
            key = ensure_key(config.key_file)
            await run_agent(config, DrivenClock(NOW), NOW + 180_000)
            return config, key

    config, key = asyncio.run(run())
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    payloads = [open_record(one.data, key.public).payload for one in spool.outgoing(0, 10**6, 2**30)]  # type: ignore[union-attr]
    spool.close()
    frames = [frame for payload in payloads for frame in payload.frames]
    assert all(isinstance(frame, AnswerFrame) for frame in frames)
    data = meter_data(NOW)
    for frame in frames:
        expected = data[frame.request[1:]] if frame.device == 2 else None
        assert {answer for _, _, answer in frame.samples()} == {expected}
        assert set(frame.status) == {(STATUS_TIMEOUT, STATUS_MALFORMED, STATUS_OK)[frame.device]}
    mine = [frame for frame in frames if frame.device == 2]
    for request in {frame.request for frame in mine}:
        assert sum(frame.n_ok for frame in mine if frame.request == request) == 3
    descriptor = describe(config)
    counted = {series.name: series for series in descriptor.devices[2].series}["active_energy_import_tariff_2"]
    block = next(frame for frame in mine if counted.in_answer(frame.request, frame.length))
    times, values = decode_frame(block, counted)
    assert times.tolist() == list(block.times_ms)
    assert values == pytest.approx([0.35 * 48 * (NOW % 86_400_000_000) / 3_600_000] * block.n, abs=0.01)
    assert [one.serial_number for one in descriptor.devices] == ["999", "666", ADDRESS]
    power = next(one for one in descriptor.devices[2].series if one.name == "active_power")
    assert power.place == AnswerPlace(bytes.fromhex("1100FF0302"), 0, 3)
    assert {frame.request for frame in mine} == {
        query.request for query in queries_of(config.connections[0].devices[2])
    }


def test_all_series_of_the_model_have_a_value_on_the_simulated_meter() -> None:
    async def run() -> dict[str, Any]:
        line = dlt645_meter.line_of(Dlt645Meter(ADDRESS, meter_data(NOW)))
        async with line:
            port = await line.listen("127.0.0.1", 0)
            config = gateway(bus(f"host: 127.0.0.1, port: {port}", "dlt645-over-tcp", meter()))
            (read,) = await read_devices(config)
            assert read.faults == []
            assert estimated_bytes_a_day(config) > 0
            return {name: one.value for name, one in read.values.items()}

    values = asyncio.run(run())
    assert None not in values.values()
    assert sum(values[f"active_power_l{phase}"] for phase in (1, 2, 3)) == pytest.approx(
        values["active_power"], abs=1e-3
    )
    tariffs = sum(values[f"active_energy_import_tariff_{number}"] for number in (1, 2, 3, 4))
    assert tariffs == pytest.approx(values["active_energy_import"], abs=0.03)
    assert values["reactive_power"] < 0


@pytest.mark.parametrize("model", ["cjt188-water", "cjt188-gas", "cjt188-heat"])
def test_all_series_of_the_cjt188_models_have_a_value_on_the_simulated_meters(model: str) -> None:
    address = {"cjt188-water": "10", "cjt188-gas": "30", "cjt188-heat": "20"}[model] + "78330011223344"
    kind = int(address[:2], 16)

    async def run() -> dict[str, Any]:
        line = cjt188_meter.line_of(Cjt188Meter(address, lambda: metering_data(kind, NOW)))
        async with line:
            port = await line.listen("127.0.0.1", 0)
            config = gateway(bus(f"host: 127.0.0.1, port: {port}", "cjt188-over-tcp", meter(address, model)))
            (read,) = await read_devices(config)
            assert read.faults == []
            return {name: one.value for name, one in read.values.items()}

    values = asyncio.run(run())
    assert None not in values.values()
    assert values["meter_time"] == 20250701000000


@pytest.mark.parametrize(
    ("protocol", "device", "message"),
    [
        ("dlt645", meter("12-34"), "meter-1: '12-34' is no meter address"),
        ("dlt645", meter(""), "is no meter address"),
        ("dlt645", meter(model="acrel-adl400"), "cannot be asked for by identifier"),
        ("dlt645", meter(model="cjt188-water"), "is no request: 11 and 4 bytes"),
        ("cjt188", meter(WATER), "is no request: 01 and 2 bytes"),
        ("dlt645", meter(more=", overrides: {frequency: {request: 14 02 00 80 02}}"), "is no request: 11 and 4 bytes"),
        ("dlt645", meter(more=", overrides: {frequency: {request: 1}}"), "pairs of hexadecimal digits"),
        ("dlt645", meter(more=", series: [freqency]"), "did you mean 'frequency'"),
    ],
)
def test_what_a_bus_cannot_ask_is_refused_in_the_gateway_file(protocol: str, device: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        gateway(bus("serial_port: /dev/ttyS0", protocol, device))


def test_a_meter_by_identifier_is_refused_on_modbus() -> None:
    with pytest.raises(DocumentError, match="does not stand in registers"):
        gateway(bus("host: 127.0.0.1", "modbus-tcp", meter()))
