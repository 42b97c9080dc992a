"""Fixtures of the demonstration's tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from demo.devices import SimulatedDevice
from demo.servers import DeviceServer
from demo.timebase import Timebase

STEEL = Path(__file__).parents[3] / "shared" / "data" / "steel"


@pytest.fixture(scope="session")
def steel_folder() -> Path:
    """The folder of the real steel works' data."""
    if not STEEL.is_dir():
        pytest.skip("the steel works' data (../shared/data/steel) is not here")
    return STEEL


@pytest.fixture
def timebase(tmp_path: Path) -> Iterator[Timebase]:
    """A shared clock of its own for a test."""
    with Timebase.create(tmp_path / "clock") as timebase:
        yield timebase


@pytest.fixture
def serve(timebase: Timebase) -> Iterator[Callable[[Sequence[SimulatedDevice]], dict[str, int]]]:
    """Start servers for devices in a thread of their own; gives the ports by device."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running: list[DeviceServer] = []

    async def start(devices: Sequence[SimulatedDevice]) -> dict[str, int]:
        ports = {}
        for device in devices:
            server = DeviceServer(device, timebase)
            ports[device.name] = await server.start()
            running.append(server)
        return ports

    async def stop() -> None:
        for server in running:
            await server.stop()
        # Connections that the clients closed are seen closed by the next turns of the loop.
        await asyncio.sleep(0)

    yield lambda devices: asyncio.run_coroutine_threadsafe(start(devices), loop).result(10)
    asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
