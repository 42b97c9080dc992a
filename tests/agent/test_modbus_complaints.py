"""What users of other gateways complain about where Modbus is concerned: a test each, against real servers.

The titles of the issues are quoted with the tests. Time is driven, so that minutes of polling take seconds.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType

from agent.clock import DrivenClock, start
from agent.config import GatewayConfig, parse_config
from agent.connections import connect, plans
from agent.devices import status_text
from agent.journal import Journal, JournalThread
from agent.keyfile import ensure_key
from agent.recorder import Recorder
from agent.runtime import run_agent
from agent.spool import Spool
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT
from wire.record import open_record

START = 1_751_299_200_000
SECOND = 1_000
PLC = dict.fromkeys(range(8), 3)
"""What `generic-modbus-plc` reads."""

Read = tuple[int, int, int, int]


def configuration(directory: Path, connections: str) -> GatewayConfig:
    text = f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n{connections}"
    return parse_config(text, "gateway.yaml", directory)


async def poll(
    directory: Path, connections: str, seconds: int, world: Callable[[int], None] | None = None
) -> dict[str, list[Read]]:
    """Run a gateway for so many seconds of driven time; return the reads on record by device: time since the start in
    seconds, status, address, count."""
    config = configuration(directory, connections)
    key = ensure_key(config.key_file)
    advance = None if world is None else lambda now_ms: world((now_ms - START) // SECOND)
    await run_agent(config, DrivenClock(START, advance), START + seconds * SECOND)
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    try:
        records = [open_record(one.data, key.public) for one in spool.outgoing(0, 10**6, 2**30)]
    finally:
        spool.close()
    names = [device.id for _, device in config.devices()]
    reads: dict[str, list[Read]] = {name: [] for name in names}
    for record in records:
        for frame in record.payload.frames:
            for time_ms, status, _ in frame.samples():
                reads[names[frame.device]].append(((time_ms - START) // SECOND, status, frame.address, frame.count))
    return {name: sorted(taken) for name, taken in reads.items()}


def plc(name: str, unit: int = 1, interval: str = "1s", more: str = "") -> str:
    return f"{{id: {name}, model: generic-modbus-plc, unit: {unit}, interval: {interval}{more}}}"


def tcp(port: int, *devices: str, name: str = "line", protocol: str = "modbus-tcp", timeout: str = "250ms") -> str:
    return (
        f"  - {{id: {name}, protocol: {protocol}, host: 127.0.0.1, port: {port}, timeout: {timeout}, "
        f"devices: [{', '.join(devices)}]}}\n"
    )


def serial(port: str, *devices: str, timeout: str = "250ms") -> str:
    return (
        f"  - {{id: bus, protocol: modbus-rtu, serial_port: {port}, baud_rate: 115200, timeout: {timeout}, "
        f"devices: [{', '.join(devices)}]}}\n"
    )


def states(reads: list[Read]) -> list[int]:
    return [status for _, status, *_ in reads]


def test_connectivity_issues_with_one_device_do_not_impact_the_others(tmp_path: Path, modbus_site: Any) -> None:
    """ "Connectivity issues with one device impacts data gathering from all other devices" - device-modbus-go#666."""

    async def run() -> None:
        # A listener that never accepts: with its queue full, connecting neither works nor fails.
        with socket.socket() as hanging:
            hanging.bind(("127.0.0.1", 0))
            hanging.listen(0)
            port = hanging.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with modbus_site({1: dict(PLC)}) as site:
                lines = tcp(port, plc("away"), name="far") + tcp(site.port, plc("here"))
                reads = await poll(tmp_path, lines, 20)
            for filler in fillers:
                filler.close()
        assert states(reads["here"]) == [STATUS_OK] * 20
        assert states(reads["away"]) == [STATUS_CONNECTION] * 20

    asyncio.run(run())


def test_one_offline_device_does_not_block_all(tmp_path: Path, modbus_site: Any) -> None:
    """ "Modbus tcp failed to get device data" - thingsboard-gateway#164, #458, #474, #932."""

    async def run() -> None:
        async with modbus_site({1: dict(PLC)}) as site:
            gone = modbus_site({1: dict(PLC)})
            off = await gone.__aenter__()
            lines = tcp(off.port, plc("gone"), name="other") + tcp(site.port, plc("there"))
            await off.stop()
            reads = await poll(tmp_path, lines, 20)
            await gone.__aexit__(None, None, None)
        assert states(reads["there"]) == [STATUS_OK] * 20
        assert set(states(reads["gone"])) == {STATUS_CONNECTION}

    asyncio.run(run())


def test_one_dead_unit_does_not_stop_the_bus(tmp_path: Path, modbus_site: Any, serial_cable: Any) -> None:
    """ "Do not throw all the data if a slave on the bus is not reachable" - telegraf#11782."""

    async def run() -> None:
        async with (
            serial_cable() as cable,
            modbus_site({unit: dict(PLC) for unit in range(1, 7)}, serial_port=cable.far) as site,
        ):
            site.silent.update({2, 5})
            bus = serial(cable.near, *(plc(f"u{unit}", unit) for unit in range(1, 7)))
            reads = await poll(tmp_path, bus, 40)
            asked = Counter(request[0] for request in site.requests)
        for unit in range(1, 7):
            alive = unit not in {2, 5}
            assert states(reads[f"u{unit}"]) == [STATUS_OK if alive else STATUS_TIMEOUT] * 40
            assert asked[unit] == 40 if alive else 4 <= asked[unit] <= 15, "one time-out a back-off"

    asyncio.run(run())


def test_a_unit_that_babbles_does_not_stop_the_bus(tmp_path: Path, modbus_site: Any, serial_cable: Any) -> None:
    async def run() -> None:
        async with serial_cable() as cable, modbus_site({1: dict(PLC), 2: dict(PLC)}, serial_port=cable.far) as site:
            cable.garble = lambda data: data if data[0] == 1 else bytes(byte ^ 0x55 for byte in data)
            reads = await poll(tmp_path, serial(cable.near, plc("good", 1), plc("noisy", 2)), 30)
            asked = Counter(request[0] for request in site.requests)
        assert states(reads["good"]) == [STATUS_OK] * 30
        assert states(reads["noisy"]) == [STATUS_MALFORMED] * 30
        assert asked[2] <= 12

    asyncio.run(run())


def test_no_response_does_not_reset_the_connection(tmp_path: Path, modbus_site: Any) -> None:
    """ "... when a read operation encounters no response, the connection gets reset" - emqx/neuron#1602."""

    async def run() -> None:
        units = {unit: dict(PLC) for unit in range(1, 5)}
        async with modbus_site(units, framer=FramerType.RTU) as site:
            site.silent.update({1, 2, 3})
            devices = [plc(f"u{unit}", unit) for unit in units]
            reads = await poll(tmp_path, tcp(site.port, *devices, protocol="modbus-rtu-over-tcp"), 20)
            assert site.connections == 1
        assert states(reads["u4"]) == [STATUS_OK] * 20
        assert states(reads["u1"]) == [STATUS_TIMEOUT] * 20

    asyncio.run(run())


def test_a_silent_unit_does_not_silence_the_same_unit_of_another_bus(tmp_path: Path, modbus_site: Any) -> None:
    """emqx/neuron keeps what failed by unit for all its buses: unit 1 of bus A can silence unit 1 of bus B."""

    async def run() -> None:
        async with modbus_site({1: dict(PLC)}) as first, modbus_site({1: dict(PLC)}) as second:
            first.silent.add(1)
            lines = tcp(first.port, plc("a"), name="bus-a") + tcp(second.port, plc("b"), name="bus-b")
            reads = await poll(tmp_path, lines, 30)
            assert len(second.requests) == 30
        assert states(reads["a"]) == [STATUS_TIMEOUT] * 30
        assert states(reads["b"]) == [STATUS_OK] * 30

    asyncio.run(run())


def test_devices_on_one_serial_port_are_asked_one_after_the_other(
    tmp_path: Path, modbus_site: Any, serial_cable: Any
) -> None:
    """ "Modbus rtu (serial) multiple device connection issue" - thingsboard-gateway#905; device-modbus-go#685."""

    async def run() -> None:
        async with (
            serial_cable() as cable,
            modbus_site({unit: dict(PLC) for unit in range(1, 9)}, serial_port=cable.far),
        ):
            reads = await poll(tmp_path, serial(cable.near, *(plc(f"u{unit}", unit) for unit in range(1, 9))), 10)
            assert cable.directions == ["out", "in"] * 80
        assert all(states(taken) == [STATUS_OK] * 10 for taken in reads.values())

    asyncio.run(run())


def test_everything_on_a_connection_waits_for_its_turn(tmp_path: Path, modbus_site: Any) -> None:
    """ "Modbus RPC calls are not synchronized with timeseries polling" - thingsboard-gateway#1841.

    There are no calls from outside here; what is read daily besides the polls is asked in turn with them.
    """

    async def run() -> None:
        registers = dict.fromkeys(range(0x8000), 1)
        outstanding = most = 0

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", site.port)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: int) -> None:
                nonlocal outstanding, most
                while data := await source.read(1024):
                    outstanding += change
                    most = max(most, outstanding)
                    sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, inner_writer, 1), pump(inner_reader, writer, -1))

        meters = ["acrel-adl400", "eastron-sdm630", "generic-modbus-plc"]
        async with modbus_site(dict.fromkeys((1, 2, 3), registers)) as site:
            server = await asyncio.start_server(relay, "127.0.0.1", 0)
            devices = [
                f"{{id: d{unit}, model: {model}, unit: {unit}, interval: 1s}}"
                for unit, model in enumerate(meters, start=1)
            ]
            await poll(tmp_path, tcp(server.sockets[0].getsockname()[1], *devices, timeout="5s"), 20)
            server.close()
        assert most == 1

    asyncio.run(run())


def test_a_device_that_takes_one_connection_only_is_read(tmp_path: Path, modbus_site: Any) -> None:
    """ "using multi connections, but real devices support one connection only" - device-modbus-go#356;
    "Limit the number of concurrent connections on MODBUS TCP" - thingsboard-gateway#1670; telegraf#8225."""

    async def run() -> None:
        async with modbus_site({1: dict(PLC), 2: dict(PLC)}) as site:

            def world(second: int) -> None:
                site.silent = {1, 2} if 10 <= second < 30 else set()

            reads = await poll(tmp_path, tcp(site.port, plc("a", 1), plc("b", 2)), 60, world)
            assert site.most == 1
        for taken in reads.values():
            assert states(taken)[:10] == [STATUS_OK] * 10
            assert states(taken)[-15:] == [STATUS_OK] * 15

    asyncio.run(run())


def test_many_slaves_share_one_bus(tmp_path: Path, modbus_site: Any) -> None:
    """ "support multiple slaves on the same bus" - telegraf#8676, #7523."""

    async def run() -> None:
        units = range(1, 31)
        async with modbus_site({unit: dict(PLC) for unit in units}) as site:
            devices = [plc(f"u{unit}", unit, "10s") for unit in units]
            reads = await poll(tmp_path, tcp(site.port, *devices, timeout="3s"), 30)
            assert site.connections == 1
        assert all(states(taken) == [STATUS_OK] * 3 for taken in reads.values())

    asyncio.run(run())


def test_contiguous_registers_are_one_request(tmp_path: Path, modbus_site: Any, serial_cable: Any) -> None:
    """ "lack of Modbus contiguous block of holding registers" - thingsboard-gateway#406; "Combine modbus register
    requests" (30 devices with 16 tags on one RTU port) - device-modbus-go#629."""

    async def run() -> None:
        units = range(1, 31)
        tag = "{{quantity: level, unit: '1', kind: gauge, function: 3, address: {}, type: uint16}}"
        tags = ", ".join(f"t{n}: {tag.format(100 + n)}" for n in range(16))
        more = f", series: [], extra_series: {{{tags}}}"
        registers = dict.fromkeys(range(100, 116), 7)
        async with (
            serial_cable() as cable,
            modbus_site({unit: dict(registers) for unit in units}, serial_port=cable.far) as site,
        ):
            devices = [plc(f"u{unit}", unit, "10s", more) for unit in units]
            reads = await poll(tmp_path, serial(cable.near, *devices, timeout="3s"), 20)
            assert site.requests == [(unit, 3, 100, 16) for unit in units] * 2
        assert all(states(taken) == [STATUS_OK] * 2 for taken in reads.values())

    asyncio.run(run())


def test_a_gap_does_not_fail_the_block(tmp_path: Path, modbus_site: Any) -> None:
    """ "Reading of holding registers fails if the device has a gap" - ioBroker.modbus#581."""

    async def run() -> None:
        async with modbus_site({1: dict.fromkeys([0, 1, 4, 6, 7], 7)}) as site:
            more = ", series: [good_count, line_state, cycle_time]"
            reads = await poll(tmp_path, tcp(site.port, plc("p", 1, "10s", more)), 60)
        assert [(at, status) for at, status, address, count in reads["p"] if count > 2] == [(0, 2)]
        for at in range(0, 60, 10):
            good = [(address, count) for when, status, address, count in reads["p"] if when == at and not status]
            assert good == [(0, 2), (4, 1), (6, 2)]

    asyncio.run(run())


def test_an_illegal_address_does_not_kill_its_block(tmp_path: Path, modbus_site: Any) -> None:
    """ "Input Modbus Plugin crashes Telegraf if it hits an illegal address" - telegraf#14671."""

    async def run() -> None:
        async with modbus_site({1: {register: 7 for register in PLC if register != 4}}) as site:
            reads = await poll(tmp_path, tcp(site.port, plc("p", 1, "10s")), 600)
        for at in range(0, 600, 10):
            good: set[int] = set()
            for when, status, address, count in reads["p"]:
                if when == at and status == STATUS_OK:
                    good.update(range(address, address + count))
            assert good == {0, 1, 2, 3, 5, 6, 7}
        refused = [(at, address, count) for at, status, address, count in reads["p"] if status == 2]
        alone = [at for at, address, count in refused if (address, count) == (4, 1)]
        assert alone == [0, 10, 20, 80, 200, 440], "asked for alone, then at growing intervals"
        assert len(refused) <= 12, "what is refused does not flood the records"

    asyncio.run(run())


@pytest.mark.parametrize("missing", [0, 4])
def test_an_address_that_is_met_with_silence_does_not_kill_the_device(
    tmp_path: Path, modbus_site: Any, missing: int
) -> None:
    """Some devices do not answer with an exception when an address does not exist, they do not answer at all."""

    async def run() -> None:
        async with modbus_site({1: dict(PLC) | {20: 1}, 2: dict(PLC)}) as site:
            site.unheard.add((1, missing))
            level = "{quantity: level, unit: m, kind: gauge, function: 3, address: 20, type: uint16}"
            devices = [plc("p", 1, "10s", f", extra_series: {{level: {level}}}"), plc("other", 2, "10s")]
            reads = await poll(tmp_path, tcp(site.port, *devices), 3600)
        assert states(reads["other"]) == [STATUS_OK] * 360
        value = {0: {0, 1}, 4: {4}}[missing]
        for at in range(0, 3600, 10):
            good: set[int] = set()
            for when, status, address, count in reads["p"]:
                if when == at and status == STATUS_OK:
                    good.update(range(address, address + count))
            if at >= 20:
                assert 20 in good, at
            if at >= 300:
                assert good == (set(PLC) | {20}) - value
        late = [at for at, status, *_ in reads["p"] if status == STATUS_TIMEOUT and at >= 600]
        assert len(late) <= 4, "asked for at growing intervals"

    asyncio.run(run())


def test_an_error_does_not_drop_a_register_for_ever(tmp_path: Path, modbus_site: Any) -> None:
    """ "Registers are no longer read after the error: illegal data value" (a motor start disturbs the line) -
    wb-mqtt-serial#806; and the same for registers that are missing for hours, while a device starts or is replaced."""

    async def run() -> None:
        async with modbus_site({1: dict(PLC)}) as site:
            disturbed = set(range(60, 120, 15))

            def world(second: int) -> None:
                refuses = second in disturbed or 600 <= second < 7200
                site.exceptions = {1: ExcCodes.ILLEGAL_VALUE} if refuses else {}

            reads = await poll(tmp_path, tcp(site.port, plc("p", 1, "5s")), 11_000, world)
        good = {at for at, status, *_ in reads["p"] if status == STATUS_OK}
        assert good.issuperset(set(range(0, 600, 5)) - disturbed)
        assert good.isdisjoint(range(620, 7200))
        assert good.issuperset(range(7200 + 3600, 11_000, 5))

    asyncio.run(run())


def test_of_thirty_devices_on_a_bus_the_ill_ones_do_not_harm_the_others(
    tmp_path: Path, modbus_site: Any, serial_cable: Any
) -> None:
    """Five dead, five slow, five that answer garbage."""

    async def run() -> None:
        units = range(1, 31)
        dead, slow, garbage = set(range(1, 31, 6)), set(range(2, 31, 6)), set(range(3, 31, 6))

        async with serial_cable() as cable, modbus_site({u: dict(PLC) for u in units}, serial_port=cable.far) as site:
            site.silent = dead
            cable.garble = lambda data: bytes(reversed(data)) if data[0] in garbage else data
            site.on_request = lambda: time.sleep(0.02 if site.requests[-1][0] in slow else 0)
            bus = serial(cable.near, *(plc(f"u{unit}", unit, "10s") for unit in units))
            reads = await poll(tmp_path, bus, 30)
        for unit in units:
            expected = STATUS_TIMEOUT if unit in dead else STATUS_MALFORMED if unit in garbage else STATUS_OK
            assert states(reads[f"u{unit}"]) == [expected] * 3

    asyncio.run(run())


@pytest.mark.parametrize("code", [ExcCodes.ILLEGAL_FUNCTION, ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE])
def test_what_a_device_refuses_can_be_seen_in_its_state(tmp_path: Path, modbus_site: Any, code: ExcCodes) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(PLC), 2: dict(PLC)}) as site:
            site.exceptions = {2: code}
            more = ", series: [good_count, line_state]"
            config = configuration(tmp_path, tcp(site.port, plc("a", 1), plc("b", 2, more=more)))
            clock = DrivenClock(START)
            key = ensure_key(config.key_file)
            journal = JournalThread(Journal(config.data_directory, config.gateway, key, config.spool_bytes, clock))
            recorder = Recorder(journal, clock)
            try:
                ((plan, devices),) = plans(config)
                await start(clock, connect(plan.connection, devices, recorder, clock).run(START + 10 * SECOND), "line")
            finally:
                journal.close()
            assert recorder.devices.of(0).unsupported == ()
            refused = f"(function 3): {status_text(code)}"
            assert recorder.devices.of(1).unsupported == (f"registers 0 to 1 {refused}", f"registers 4 to 4 {refused}")

    asyncio.run(run())
