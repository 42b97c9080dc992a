"""What reading costs at least: asyncio and pymodbus, a task a device, two requests each second, the answers dropped."""

from __future__ import annotations

import asyncio
import sys
import time

from pymodbus.client import AsyncModbusTcpClient

from bench.modbus import BLOCKS

PERIOD_S = 1.0


async def _poll(port: int) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0, reconnect_delay=0)
    if not await client.connect():
        raise ConnectionError(f"no device on port {port}")
    while True:
        await asyncio.sleep(PERIOD_S - time.time() % PERIOD_S)
        for address, count in BLOCKS:
            answer = await client.read_holding_registers(address, count=count, device_id=1)
            if answer.isError() or len(answer.registers) != count:
                raise ConnectionError(f"port {port}: {answer}")


async def _poll_all(ports: list[int]) -> None:
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(_poll(port))


if __name__ == "__main__":
    asyncio.run(_poll_all([int(port) for port in sys.argv[1:]]))
