"""A Modbus TCP device on loopback in a process of its own: 200 registers, every unit id."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


@contextlib.contextmanager
def modbus_device() -> Iterator[int]:
    """Run the device while the block lasts; yields its port."""
    process = subprocess.Popen([sys.executable, "-m", "bench.modbus"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


async def _serve() -> None:
    block = SimData(0, count=200, values=7, datatype=DataType.REGISTERS, readonly=True)
    server = ModbusTcpServer(SimDevice(0, block), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
