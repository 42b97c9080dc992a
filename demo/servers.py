"""Modbus TCP servers of the simulated plant, as a process of their own: ``python -m demo.servers --clock FILE [...]``.

The protocol stack is pymodbus; the registers behind it are computed for the instant that the shared clock shows.
The process prints the ports it listens on as one line of JSON ({"meter-1": 40001, ...}).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from demo.devices import AcrelAdl400, EastronSdm630, LinePlc, PulseMeter, SimulatedDevice
from demo.errors import SurroundingsError
from demo.factory import DEFAULT_EFFECT, Factory
from demo.steel import read_history
from demo.timebase import Timebase

LOOPBACK = "127.0.0.1"


class DeviceServer:
    """One device behind one listening socket on the loopback interface; it answers every unit id."""

    def __init__(self, device: SimulatedDevice, timebase: Timebase) -> None:
        self.device = device
        self._timebase = timebase
        self._shown_ms = -1
        self._server: ModbusTcpServer | None = None

    async def start(self, port: int = 0) -> int:
        """Listen; returns the port (0 = any free one). Raises `SurroundingsError` when the port cannot be had."""
        block = SimData(
            self.device.first, count=self.device.count, values=0, datatype=DataType.REGISTERS, readonly=True
        )
        settings = [
            SimData(address, values=word, datatype=DataType.REGISTERS, readonly=True)
            for address, word in self.device.settings.items()
        ]
        blocks = sorted([block, *settings], key=lambda one: one.address)
        self._server = ModbusTcpServer(SimDevice(0, blocks, action=self._refresh), address=(LOOPBACK, port))
        await self._server.serve_forever(background=True)
        listener = self._server.transport
        if not isinstance(listener, asyncio.Server):
            raise SurroundingsError(f"{self.device.name}: cannot listen on {LOOPBACK}:{port}")
        return int(listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and drop the connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    async def _refresh(  # noqa: PLR0917 - the signature is that of pymodbus
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Bring the registers to the instant of the clock; called by pymodbus for every request."""
        if function != self.device.function or values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        odd = self.device.even_addresses and (address % 2 or count % 2)
        if odd or count > self.device.maximum_registers:
            return ExcCodes.ILLEGAL_ADDRESS
        now_ms = self._timebase.now_ms()
        if now_ms != self._shown_ms:
            first = self.device.first - start
            registers[first : first + self.device.count] = self.device.words(now_ms)
            self._shown_ms = now_ms
        return None


async def serve(devices: Iterable[SimulatedDevice], timebase: Timebase) -> list[DeviceServer]:
    """Start a server for every device; their ports are printed as one line of JSON on standard output."""
    servers = [DeviceServer(device, timebase) for device in devices]
    ports = {server.device.name: await server.start() for server in servers}
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    return servers


def factory_devices(factory: Factory) -> list[SimulatedDevice]:
    """The three devices of the simulated factory."""
    return [AcrelAdl400(factory), EastronSdm630(factory), LinePlc(factory)]


async def _serve_until_stopped(devices: list[SimulatedDevice], clock: Path) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with Timebase(clock) as timebase:
        servers = await serve(devices, timebase)
        await stopped.wait()
        for server in servers:
            await server.stop()


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="demo.servers", description=__doc__)
    parser.add_argument("--clock", type=Path, required=True, help="file of the shared clock")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulated factory")
    parser.add_argument("--effect", type=float, default=DEFAULT_EFFECT, help="true effect of the retrofit")
    parser.add_argument("--steel", type=Path, help="replay the steel works from this folder instead")
    options = parser.parse_args(arguments)
    if options.steel:
        devices: list[SimulatedDevice] = [PulseMeter(read_history(options.steel))]
    else:
        devices = factory_devices(Factory(options.seed, options.effect))
    asyncio.run(_serve_until_stopped(devices, options.clock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
