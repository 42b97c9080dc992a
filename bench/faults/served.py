"""Modbus TCP devices whose every answer is another one: four holding registers, the serial number of the request.

Each device has a port. Whoever has all answers of a device has the numbers 1 to N; which are missing and which are
there twice is plain to see, whatever the clocks say.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import struct
import subprocess
import sys
from types import TracebackType
from typing import Self

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

REGISTERS = 4


class ServedDevices:
    """``count`` devices in a process of their own; a context manager. `ports` are theirs, in order."""

    def __init__(self, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.faults.served", str(count)], stdout=subprocess.PIPE, text=True
        )
        self.ports: list[int] = json.loads(self._line())

    def finish(self) -> list[int]:
        """End the devices; how many requests each has answered."""
        self._process.send_signal(signal.SIGTERM)
        counts: list[int] = json.loads(self._line())
        self._process.wait()
        return counts

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class _Device:
    def __init__(self) -> None:
        self.answered = 0

    async def answer(
        self,
        _function: int,
        start: int,
        _address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Put the next number into the registers; called by pymodbus for every request."""
        if values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        self.answered += 1
        registers[-start : REGISTERS - start] = struct.unpack(">4H", self.answered.to_bytes(8, "big"))
        return None


async def _serve(count: int) -> None:
    # That agents go away in the middle of an answer is what the campaign is for.
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    devices = [_Device() for _ in range(count)]
    servers, ports = [], []
    for device in devices:
        block = SimData(0, count=REGISTERS, values=0, datatype=DataType.REGISTERS, readonly=True)
        server = ModbusTcpServer(SimDevice(0, block, action=device.answer), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        servers.append(server)
        ports.append(server.transport.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await stopped.wait()
    print(json.dumps([device.answered for device in devices]), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
