"""mbpoll of Debian (libmodbus) reads the server that the Modbus tests are made with, over TCP and over a serial line.

What our own client and our own server agree on could be wrong in both; this is a third opinion that is not in Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import drivers
from agent.clock import SystemClock
from agent.config import parse_config
from wire.words import WordOrder, WordType, decode_words

Mbpoll = Callable[..., dict[int, str]]
BITS = 0b1011_0010_0110_0101
REGISTERS = {2: 0x4365, 3: 0x6666, 4: 0xFFFE, 5: 0x0001, 6: 0xE240, 16: BITS}
"""2 and 3 are 229.4 as a float, 5 and 6 are 123456; 16 coils and inputs from 16 on are the bits of 16."""


def bits(count: int) -> dict[int, str]:
    return {16 + place: str(BITS >> place & 1) for place in range(count)}


EXPECTED = [
    pytest.param(("-t", "0", "-r", 16, "-c", 11), bits(11), id="coils-function-1"),
    pytest.param(("-t", "1", "-r", 16, "-c", 16), bits(16), id="inputs-function-2"),
    pytest.param(
        ("-t", "4", "-r", 2, "-c", 5),
        {2: "17253", 3: "26214", 4: "65534", 5: "1", 6: "57920"},
        id="holding-uint16-function-3",
    ),
    pytest.param(("-t", "3", "-r", 4, "-c", 2), {4: "65534", 5: "1"}, id="input-uint16-function-4"),
    pytest.param(("-t", "4:float", "-r", 2, "-c", 1), {2: "229.4"}, id="holding-float32-function-3"),
    pytest.param(("-t", "3:float", "-r", 2, "-c", 1), {2: "229.4"}, id="input-float32-function-4"),
    pytest.param(("-t", "4:int", "-r", 5, "-c", 1), {5: "123456"}, id="holding-uint32-function-3"),
]


@pytest.mark.parametrize(("asked", "expected"), EXPECTED)
def test_mbpoll_reads_over_tcp(
    modbus_site: Any, mbpoll: Mbpoll, asked: tuple[object, ...], expected: dict[int, str]
) -> None:
    async def run() -> dict[int, str]:
        async with modbus_site({7: dict(REGISTERS)}) as site:
            place = ("-m", "tcp", "-p", site.port, "-a", 7, "-B")
            return await asyncio.to_thread(mbpoll, *place, *asked, "127.0.0.1")

    assert asyncio.run(run()) == expected


@pytest.mark.parametrize(("asked", "expected"), EXPECTED)
def test_mbpoll_reads_over_a_serial_line(
    modbus_site: Any, serial_cable: Any, mbpoll: Mbpoll, asked: tuple[object, ...], expected: dict[int, str]
) -> None:
    async def run() -> dict[int, str]:
        async with serial_cable() as cable, modbus_site({7: dict(REGISTERS)}, serial_port=cable.far):
            line = ("-m", "rtu", "-b", 115200, "-P", "none", "-a", 7)
            return await asyncio.to_thread(mbpoll, *line, "-B", *asked, cable.near)

    assert asyncio.run(run()) == expected


def test_the_agent_s_driver_reads_what_mbpoll_reads(modbus_site: Any, mbpoll: Mbpoll) -> None:
    firsts = {1: 16, 2: 16, 3: 2, 4: 2}

    async def run() -> tuple[dict[int, list[int]], dict[int, dict[int, str]]]:
        async with modbus_site({7: dict(REGISTERS)}) as site:
            config = parse_config(
                "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n"
                f"  - {{id: line, protocol: modbus-tcp, host: 127.0.0.1, port: {site.port}, devices: "
                "[{id: plc, model: generic-modbus-plc, unit: 7, interval: 1s}]}\n",
                "gateway.yaml",
                Path("/"),
            )
            link = drivers.connect(config.connections[0], SystemClock())
            assert await link.open()
            ours = {}
            for function, first in firsts.items():
                reading = await link.read(7, function, first, 4)  # type: ignore[union-attr]
                ours[function] = list(reading.words or ())
            link.close()
            place = ("-m", "tcp", "-p", site.port, "-a", 7, "-c", 4)
            kinds = {1: "0", 2: "1", 3: "4", 4: "3"}
            theirs = {
                function: await asyncio.to_thread(mbpoll, *place, "-r", firsts[function], "-t", kind, "127.0.0.1")
                for function, kind in kinds.items()
            }
            return ours, theirs

    ours, theirs = asyncio.run(run())
    assert {function: [int(value) for value in found.values()] for function, found in theirs.items()} == ours
    assert decode_words(tuple(ours[3][:2]), WordType.FLOAT32, WordOrder.ABCD) == pytest.approx(229.4, abs=1e-4)
