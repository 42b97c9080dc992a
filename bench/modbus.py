"""Modbus TCP devices on loopback, in one process of their own: 50 float32 and 50 uint16 each that move every second.

Each device has a port and answers every unit id. The floats stand in holding registers 0 to 99, the integers in 200 to
249, too far apart for one request. Ten of the integers are counters, the others and the floats wander in steps of what
a meter resolves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FLOATS, INTEGERS = 50, 50
FLOAT_ADDRESS, INTEGER_ADDRESS = 0, 200
BLOCKS = ((FLOAT_ADDRESS, 2 * FLOATS), (INTEGER_ADDRESS, INTEGERS))
"""Address and number of registers of the two requests that read a device."""

_COUNTERS = 10
_RESOLUTION = 0.1


@contextlib.contextmanager
def modbus_devices(count: int) -> Iterator[list[int]]:
    """Run ``count`` devices while the block lasts; yields their ports."""
    process = subprocess.Popen([sys.executable, "-m", "bench.modbus", str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


class _Device:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._floats = [self._random.randrange(500, 5_000) for _ in range(FLOATS)]
        self._integers = [self._random.randrange(0, 5_000) for _ in range(INTEGERS)]
        self._second = 0

    def blocks(self) -> list[SimData]:
        return [
            SimData(address, count=count, values=0, datatype=DataType.REGISTERS, readonly=True)
            for address, count in BLOCKS
        ]

    async def refresh(
        self,
        _function: int,
        start: int,
        _address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Bring the registers to the present second; called by pymodbus for every request."""
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._move()
            floats = struct.pack(f">{FLOATS}f", *(value * _RESOLUTION for value in self._floats))
            registers[FLOAT_ADDRESS - start : 2 * FLOATS - start] = struct.unpack(f">{2 * FLOATS}H", floats)
            registers[INTEGER_ADDRESS - start : INTEGER_ADDRESS + INTEGERS - start] = self._integers
        return None

    def _move(self) -> None:
        step = self._random.choice
        self._floats = [value + step((-2, -1, 0, 0, 0, 1, 2)) for value in self._floats]
        for place, value in enumerate(self._integers):
            moved = value + (step((0, 0, 1, 2)) if place < _COUNTERS else step((-1, 0, 0, 0, 1)))
            self._integers[place] = moved % 65_536


async def _serve(count: int) -> None:
    ports = []
    for seed in range(count):
        device = _Device(seed)
        server = ModbusTcpServer(SimDevice(0, device.blocks(), action=device.refresh), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        ports.append(server.transport.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
