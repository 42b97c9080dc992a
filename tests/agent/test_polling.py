"""Polling real Modbus servers: what is asked, what is recorded, and who suffers when a device fails."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.clock import DrivenClock
from agent.config import GatewayConfig, parse_config
from agent.keyfile import ensure_key
from agent.runtime import AgentStatistics, run_agent
from agent.spool import Spool
from wire.frame import STATUS_CONNECTION, STATUS_OK, STATUS_TIMEOUT
from wire.keys import SigningKey
from wire.record import Record, open_record

START = 1_751_299_200_000
SECOND = 1_000
ADL400 = dict.fromkeys(range(0x0800, 0x0858), 0) | {0x084C: 1, 0x084D: 0xE240}


def gateway(directory: Path, connections: str) -> tuple[GatewayConfig, SigningKey]:
    text = f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1min\nconnections:\n{connections}"
    config = parse_config(text, "gateway.yaml", directory)
    return config, ensure_key(config.key_file)


def connection(port: int, devices: str, name: str = "line", timeout: str = "300ms") -> str:
    return (
        f"  - {{id: {name}, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, timeout: {timeout}, "
        f"devices: [{devices}]}}\n"
    )


def device(
    name: str = "meter-1", model: str = "acrel-adl400", unit: int = 1, interval: str = "10s", more: str = ""
) -> str:
    return f"{{id: {name}, model: {model}, unit: {unit}, interval: {interval}{more}}}"


def records(config: GatewayConfig, key: SigningKey) -> list[Record]:
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    try:
        return [open_record(one.data, key.public) for one in spool.outgoing(0, 10**6, 2**30)]  # type: ignore[union-attr]
    finally:
        spool.close()


def reads(
    config: GatewayConfig, key: SigningKey, index: int = 0
) -> list[tuple[int, int, int, int, tuple[int, ...] | None]]:
    """Every read of a device: (time, status, address, count, words)."""
    found = [
        (time_ms, status, frame.address, frame.count, words)
        for record in records(config, key)
        for frame in record.payload.frames
        if frame.device == index
        for time_ms, status, words in frame.samples()
    ]
    return sorted(found, key=lambda read: (read[0], read[2]))


async def history(
    config: GatewayConfig, seconds: int, on_advance: Callable[[int], None] | None = None
) -> AgentStatistics:
    return await run_agent(config, DrivenClock(START, on_advance), START + seconds * SECOND)


def test_raw_words_are_recorded_at_wall_clock_multiples(tmp_path: Path, modbus_site: Any) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            config, key = gateway(tmp_path, connection(site.port, device()))
            await run_agent(config, DrivenClock(START + 3_456), START + 60 * SECOND)
            taken = reads(config, key)
            assert [time_ms - START for time_ms, *_ in taken] == [10_000, 20_000, 30_000, 40_000, 50_000]
            assert all(status == STATUS_OK and words is not None for _, status, _, _, words in taken)
            assert taken[0][4][0x084C - 0x0800 : 0x084E - 0x0800] == (1, 0xE240)  # type: ignore[index]
            assert set(site.requests) == {(1, 3, 0x0800, 88)}

    asyncio.run(run())


def test_a_device_with_holes_in_its_registers_is_read_around_them(tmp_path: Path, modbus_site: Any) -> None:
    """ioBroker.modbus#581, telegraf#14671: a gap or an illegal address made the whole block fail or the agent crash."""
    values = {0x0800, 0x0801, 0x081A, 0x081B, 0x0822, 0x0823}

    async def run() -> None:
        async with modbus_site({1: dict.fromkeys(values, 7)}) as site:
            series = ", series: [voltage_l1, active_power, reactive_power], limits: {maximum_gap: 30}"
            config, key = gateway(tmp_path, connection(site.port, device(more=series)))
            await history(config, 35)
            taken = reads(config, key)
            assert [(t - START, s, a, c) for t, s, a, c, _ in taken if s != STATUS_OK] == [(0, 2, 0x0800, 36)]
            assert [(t - START, a) for t, s, a, _, _ in taken if s == STATUS_OK] == [
                (at, address) for at in (0, 10_000, 20_000, 30_000) for address in (0x0800, 0x081A, 0x0822)
            ]

    asyncio.run(run())


def test_an_illegal_address_is_recorded_and_asked_again_at_the_next_polls(tmp_path: Path, modbus_site: Any) -> None:
    """wb-mqtt-serial#806: one exception made a register be dropped for ever."""

    async def run() -> None:
        async with modbus_site({1: {0x0800: 1, 0x0801: 2}}) as site:
            config, key = gateway(tmp_path, connection(site.port, device(more=", series: [voltage_l1, frequency]")))
            await history(config, 25)
            by_address = [(a, s) for _, s, a, _, _ in reads(config, key)]
            assert by_address == [(0x0800, STATUS_OK), (0x0834, 2)] * 3

    asyncio.run(run())


def test_a_dead_device_costs_the_live_one_beside_it_one_time_out_at_most(tmp_path: Path, modbus_site: Any) -> None:
    """device-modbus-go#666, thingsboard-gateway#164, telegraf#11782: one slave that is off blocks all others."""

    async def run() -> None:
        async with modbus_site({1: dict(ADL400), 9: dict.fromkeys(range(80), 0)}) as site:
            site.silent.add(9)
            both = device("dead", unit=9, model="eastron-sdm630", interval="1s") + ", " + device(interval="1s")
            config, key = gateway(tmp_path, connection(site.port, both, timeout="100ms"))
            await history(config, 30)
            live, dead = reads(config, key, 1), reads(config, key, 0)
            assert [status for _, status, *_ in live] == [STATUS_OK] * 30
            assert {status for _, status, *_ in dead} == {STATUS_TIMEOUT}
            assert len(dead) == 2 * 30, "both requests of the silent device are on record at every poll"

    asyncio.run(run())


def test_a_silent_device_is_asked_less_often_but_found_again(tmp_path: Path, modbus_site: Any) -> None:
    async def run() -> None:
        async with modbus_site({1: dict(ADL400), 2: dict(ADL400)}) as site:
            both = device("a", unit=1, interval="1s") + ", " + device("b", unit=2, interval="1s")
            config, key = gateway(tmp_path, connection(site.port, both, timeout="100ms"))
            site.silent.add(2)
            asked: dict[int, int] = {}

            def world(now: int) -> None:
                if now == START + 60 * SECOND:
                    asked.update({unit: sum(request[0] == unit for request in site.requests) for unit in (1, 2)})
                    site.silent.clear()

            await history(config, 90, world)
            assert asked[1] == 60
            assert 5 <= asked[2] <= 30, "the wait between questions grows, but not beyond ten seconds"
            states = [status for _, status, *_ in reads(config, key, 1)]
            assert states[:60] == [STATUS_TIMEOUT] * 60
            assert states[72:] == [STATUS_OK] * 18
            assert [status for _, status, *_ in reads(config, key, 0)] == [STATUS_OK] * 90

    asyncio.run(run())


def test_an_unreachable_host_does_not_delay_another_connection(tmp_path: Path, modbus_site: Any) -> None:
    """thingsboard-gateway#458: one offline device stops the readings of all."""

    async def run() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with modbus_site({1: dict(ADL400)}) as site:
                lines = connection(closed.getsockname()[1], device("down"), "down-line") + connection(
                    site.port, device("up")
                )
                config, key = gateway(tmp_path, lines)
                await history(config, 60)
        assert [status for _, status, *_ in reads(config, key, 0)] == [STATUS_CONNECTION] * 6
        assert [status for _, status, *_ in reads(config, key, 1)] == [STATUS_OK] * 6

    asyncio.run(run())


def test_a_device_that_restarts_is_read_again(
    tmp_path: Path, modbus_site: Any, until: Callable[..., Awaitable[None]]
) -> None:
    """thingsboard-gateway#2065: failed reads are failed reads, not stale values with new times."""

    async def run() -> None:
        stop = asyncio.Event()
        async with modbus_site({1: dict(ADL400)}) as site:
            config, key = gateway(tmp_path, connection(site.port, device(interval="100ms")))
            agent = asyncio.create_task(run_agent(config, stop=stop))
            await until(lambda: len(site.requests) >= 3)
            await site.stop()
            await asyncio.sleep(0.5)
            site.registers[1][0x0800] = 0x1234
            asked = len(site.requests)
            await site.start()
            await until(lambda: len(site.requests) >= asked + 3)
            stop.set()
            await agent
        taken = reads(config, key)
        states = [status for _, status, *_ in taken]
        assert states[0] == STATUS_OK
        assert states[-1] == STATUS_OK
        assert set(states) <= {STATUS_OK, STATUS_TIMEOUT, STATUS_CONNECTION}
        assert any(status != STATUS_OK for status in states)
        assert all(words is None for _, status, _, _, words in taken if status != STATUS_OK)
        assert taken[-1][4][0] == 0x1234  # type: ignore[index]

    asyncio.run(run())


def test_the_sample_time_is_the_middle_of_the_request(tmp_path: Path, modbus_site: Any) -> None:
    """Telegraf stamps after the scan, others at conversion: a slow device then seems to be read later than it was."""

    async def run() -> None:
        async with modbus_site({1: dict(ADL400)}) as site:
            served: list[int] = []

            def slow() -> None:
                time.sleep(0.1)
                served.append(time.time_ns() // 1_000_000)
                time.sleep(0.1)

            site.on_request = slow
            stop = asyncio.Event()
            config, key = gateway(tmp_path, connection(site.port, device(interval="500ms"), timeout="2s"))
            agent = asyncio.create_task(run_agent(config, stop=stop))
            while len(served) < 3:
                await asyncio.sleep(0.05)
            stop.set()
            await agent
        for (time_ms, *_), moment, frame in zip(
            reads(config, key), served, [f for r in records(config, key) for f in r.payload.frames] * 3, strict=False
        ):
            assert abs(time_ms - moment) <= frame.round_trip_ms / 2
            assert frame.round_trip_ms >= 200

    asyncio.run(run())


def test_the_same_history_is_made_twice(tmp_path: Path, modbus_site: Any) -> None:
    async def run(name: str) -> list[Any]:
        async with modbus_site({1: dict(ADL400), 2: dict.fromkeys(range(0x160), 3)}) as site:

            def world(now: int) -> None:
                site.registers[1][0x084D] = now // SECOND % 65_536

            lines = connection(site.port, device()) + connection(
                site.port, device("m2", "eastron-sdm630", 2, "5s"), "other"
            )
            config, key = gateway(tmp_path / name, lines)
            await history(config, 600, world)
            return [(r.payload.time_ms, r.payload.body) for r in records(config, key)]

    first, second = asyncio.run(run("a")), asyncio.run(run("b"))
    assert len(first) == 13
    assert first == second


@pytest.mark.parametrize("answer", ["count", "function"])
def test_an_answer_to_another_question_is_malformed_not_data(tmp_path: Path, answer: str) -> None:
    class Wrong(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            function, count = (3, 1) if answer == "count" else (4, 88)
            pdu = bytes([function, 2 * count]) + bytes(2 * count)
            self.transport.write(data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu)  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Wrong, "127.0.0.1", 0)
        config, key = gateway(tmp_path, connection(server.sockets[0].getsockname()[1], device()))
        await history(config, 15)
        server.close()
        assert [status for _, status, *_ in reads(config, key)] == [0xF2, 0xF2]

    asyncio.run(run())
