"""Thirty devices of which five are dead, five slow and five answer garbage: the other fifteen do not notice.

The agent runs as the process that a gateway runs, with its spool on disk, in real time; what it did is read from the
records alone. ``--log-cli-level=INFO`` shows the figure: of each healthy device the share of samples that came in their
own period, and by what status the ill ones stand in the record.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pymodbus.framer import FramerType

from agent.config import GatewayConfig, load_config
from agent.devices import status_text
from agent.keyfile import ensure_key
from agent.spool import Spool
from wire.frame import STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT
from wire.record import open_record

log = logging.getLogger(__name__)
Until = Callable[..., Awaitable[None]]

UNITS = range(1, 31)
DEAD, SLOW, GARBAGE = (set(range(first, 31, 6)) for first in (1, 2, 3))
HEALTHY = sorted(set(UNITS) - DEAD - SLOW - GARBAGE)
EXCEPTION = {3, 9}
"""Of those that answer garbage two say "device failure" to everything, three send bytes that are no answer."""

PERIOD_MS = 3_000
"""Longer than a round on the bus in which every ill unit costs its time-outs, as before their back-off has grown."""

PERIODS = 4
TIMEOUT_MS = 120
DEVICE_FAILURE = 4
PLC = dict.fromkeys(range(8), 3)


def ill(answer: bytes, *, rtu: bool) -> bytes:
    """What a unit that answers garbage makes of the answer it should give."""
    return bytes(reversed(answer)) if rtu else answer[:7] + b"\xff" * (len(answer) - 7)


class Relay:
    """Stands between the agent and a server, and lets requests and answers of ill units suffer."""

    def __init__(self, port: int, *, rtu: bool) -> None:
        self._port = port
        self._rtu = rtu
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while request := await reader.read(1024):
                unit = request[0 if self._rtu else 6]
                if unit in DEAD:
                    continue
                inner_writer.write(request)
                answer = await inner_reader.read(1024)
                if unit in GARBAGE - EXCEPTION:
                    answer = ill(answer, rtu=self._rtu)
                if unit in SLOW:
                    late = asyncio.create_task(self._send_late(writer, answer))
                    self._late.add(late)
                    late.add_done_callback(self._late.discard)
                else:
                    writer.write(answer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            inner_writer.close()

    async def _send_late(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """The answer comes when nobody waits for it any more: on a bus, while another unit is being asked."""
        await asyncio.sleep(1.7 * TIMEOUT_MS / 1000)
        if not writer.is_closing():
            writer.write(answer)

    async def end(self) -> None:
        await asyncio.gather(*self._late)


@asynccontextmanager
async def relay(port: int, *, rtu: bool) -> AsyncIterator[int]:
    suffering = Relay(port, rtu=rtu)
    server = await asyncio.start_server(suffering, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await suffering.end()


def device(unit: int) -> str:
    return f"{{id: u{unit}, model: generic-modbus-plc, unit: {unit}, interval: {PERIOD_MS}ms}}"


def connection(name: str, protocol: str, port: int, *devices: str) -> str:
    return (
        f"  - {{id: {name}, protocol: {protocol}, host: 127.0.0.1, port: {port}, timeout: {TIMEOUT_MS}ms, "
        f"devices: [{', '.join(devices)}]}}\n"
    )


async def run_gateway(directory: Path, connections: str, last: Any, until: Until) -> GatewayConfig:
    """Run the agent until the server ``last``, which has the last of the healthy units, was asked in enough periods."""
    path = directory / "gateway.yaml"
    path.write_text(f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1s\nconnections:\n{connections}")
    config = load_config(path)
    ensure_key(config.key_file)
    command = [sys.executable, "-m", "shopfloor", "agent", "run", str(path)]
    agent = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: sum(unit == HEALTHY[-1] for unit, *_ in last.requests) > PERIODS, seconds=60)
        agent.send_signal(signal.SIGTERM)
        assert await agent.wait() == 0
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
    return config


def reads_of(config: GatewayConfig) -> dict[int, list[tuple[int, int]]]:
    """Time and status of every read on record, by unit; all signatures are verified on the way."""
    key = ensure_key(config.key_file)
    spool = Spool(config.data_directory, config.gateway, key.public.key_id, config.spool_bytes)
    try:
        records = [open_record(one.data, key.public) for one in spool.outgoing(0, 10**6, 2**30)]  # type: ignore[union-attr]
    finally:
        spool.close()
    reads: dict[int, list[tuple[int, int]]] = {unit: [] for unit in UNITS}
    for record in records:
        for frame in record.payload.frames:
            reads[frame.device + 1] += [(time_ms, status) for time_ms, status, _ in frame.samples()]
    return {unit: sorted(taken) for unit, taken in reads.items()}


def on_time(reads: list[tuple[int, int]], first: int, last: int) -> float:
    """The share of the periods from number ``first`` to before ``last`` in which a good sample came."""
    good = {time_ms // PERIOD_MS for time_ms, status in reads if status == STATUS_OK}
    return len(good & set(range(first, last))) / (last - first)


def judge(name: str, config: GatewayConfig, *, bus: bool) -> None:
    reads = reads_of(config)
    began = min(time_ms for taken in reads.values() for time_ms, _ in taken)
    first = began // PERIOD_MS
    last = first + PERIODS
    shares = {unit: on_time(reads[unit], first, last) for unit in HEALTHY}
    told = {unit: Counter(status for _, status in reads[unit]) for unit in sorted(DEAD | SLOW | GARBAGE)}
    log.info("%s: %d healthy devices, %d periods of %d ms", name, len(HEALTHY), PERIODS, PERIOD_MS)
    log.info("  on time: %s", ", ".join(f"u{unit} {100 * share:g} %" for unit, share in shares.items()))
    for kind, units in (("dead", DEAD), ("slow", SLOW), ("garbage", GARBAGE)):
        for unit in sorted(units):
            said = ", ".join(f"{count} x {status_text(status)}" for status, count in sorted(told[unit].items()))
            log.info("  %s u%d: %s", kind, unit, said)
    assert shares == dict.fromkeys(HEALTHY, 1.0)
    for unit in HEALTHY:
        assert {status for _, status in reads[unit]} == {STATUS_OK}
    for unit in DEAD:
        # On a bus the late answer of a slow unit may come while a dead one is asked: bytes that answer nothing.
        assert set(told[unit]) <= {STATUS_TIMEOUT, *([STATUS_MALFORMED] if bus else [])}
    for unit in SLOW:
        assert set(told[unit]) <= {STATUS_TIMEOUT, STATUS_MALFORMED}
        assert STATUS_TIMEOUT in told[unit]
    for unit in GARBAGE:
        assert set(told[unit]) == {DEVICE_FAILURE if unit in EXCEPTION else STATUS_MALFORMED}
    for counted in told.values():
        assert sum(counted.values()) >= PERIODS - 1, "a poll leaves a read, good or not; the last is cut off"


def test_of_thirty_devices_on_one_rtu_bus_the_fifteen_healthy_ones_are_always_on_time(
    tmp_path: Path, modbus_site: Any, until: Until
) -> None:
    async def run() -> GatewayConfig:
        async with modbus_site({unit: dict(PLC) for unit in UNITS}, framer=FramerType.RTU) as site:
            site.exceptions = dict.fromkeys(EXCEPTION, DEVICE_FAILURE)
            async with relay(site.port, rtu=True) as port:
                bus = connection("bus", "modbus-rtu-over-tcp", port, *(device(unit) for unit in UNITS))
                return await run_gateway(tmp_path, bus, site, until)

    judge("one RTU bus", asyncio.run(run()), bus=True)


def test_of_thirty_tcp_servers_the_fifteen_healthy_ones_are_always_on_time(
    tmp_path: Path, modbus_site: Any, until: Until
) -> None:
    async def run() -> GatewayConfig:
        async with AsyncExitStack() as stack:
            connections = ""
            for unit in UNITS:
                site = await stack.enter_async_context(modbus_site({unit: dict(PLC)}))
                site.exceptions = {unit: DEVICE_FAILURE} if unit in EXCEPTION else {}
                port = site.port
                if unit not in HEALTHY:
                    port = await stack.enter_async_context(relay(site.port, rtu=False))
                connections += connection(f"line-{unit}", "modbus-tcp", port, device(unit))
            return await run_gateway(tmp_path, connections, site, until)

    judge("thirty TCP servers", asyncio.run(run()), bus=False)
