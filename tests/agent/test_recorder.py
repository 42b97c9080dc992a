"""From readings to records: sizes, failing disks, clocks that are set, and histories that need no uplink."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.clock import DrivenClock
from agent.config import parse_config
from agent.drivers import Reading
from agent.journal import Journal, JournalThread
from agent.keyfile import ensure_key, write_key
from agent.planner import Block, Value
from agent.recorder import MEMORY_BYTES, Recorder
from agent.runtime import AgentStatistics, run_agent
from wire.event import Event
from wire.frame import STATUS_OK, STATUS_TIMEOUT
from wire.keys import SigningKey
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.record import Record, open_record

START = 1_751_299_200_000
KEY = SigningKey.generate()
BLOCK = Block(3, 0, 125, (Value(3, 0, 2), Value(3, 100, 4)))


class SettableClock(DrivenClock):
    """A driven clock whose time of day can be set apart from the time that passes."""

    step_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.step_ms


async def recorded(
    recorder_work: Callable[[Recorder, SettableClock], Awaitable[None]], directory: Path
) -> list[Record]:
    clock = SettableClock(START)
    journal = JournalThread(Journal(directory, "gw-01", KEY, 2**26, clock))
    try:
        await recorder_work(Recorder(journal, clock), clock)
        return [open_record(message.data, KEY.public) for message in await journal.outgoing(0, 10**6, 2**30)]
    finally:
        journal.close()


def noise() -> tuple[int, ...]:
    return struct.unpack(">125H", os.urandom(250))


def test_incompressible_reads_never_make_a_record_too_large(tmp_path: Path) -> None:
    async def work(recorder: Recorder, _clock: SettableClock) -> None:
        for number in range(3_000):
            recorder.add(0, 1, BLOCK, Reading(START + number, STATUS_OK, noise(), 1))
            if recorder.full:
                await recorder.flush()
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    assert len(records) > 5
    assert max(len(record.data) for record in records) <= MAXIMUM_RECORD_BYTES
    assert sum(frame.n for record in records for frame in record.payload.frames) == 3_000


def test_more_request_blocks_than_a_record_takes_are_shared_out(tmp_path: Path) -> None:
    async def work(recorder: Recorder, _clock: SettableClock) -> None:
        for address in range(3_000):
            block = Block(3, address, 1, (Value(3, address, 1),))
            recorder.add(0, 1, block, Reading(START, STATUS_OK, (address,), 1))
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    assert [len(record.payload.frames) for record in records] == [1024, 1024, 952]


def test_a_failing_disk_costs_no_reads_and_the_chain_does_not_fork(tmp_path: Path) -> None:
    async def work(recorder: Recorder, _clock: SettableClock) -> None:
        other = sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)
        other.execute("CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        for number in range(10):
            recorder.add(0, 1, BLOCK, Reading(START + number, STATUS_OK, noise(), 1))
            await recorder.flush()
        other.execute("DROP TRIGGER full")
        other.close()
        recorder.add(0, 1, BLOCK, Reading(START + 10, STATUS_TIMEOUT, None, 1))
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    assert [record.seq for record in records] == [1]
    times = [time for frame in records[0].payload.frames for time in frame.times_ms]
    assert times == [START + number for number in range(11)]


def test_a_disk_that_fails_for_long_costs_the_oldest_reads_and_an_event_says_which(tmp_path: Path) -> None:
    """thingsboard-gateway#1483 (full and never recovers), telegraf#5536 (dropped in silence)."""
    made = 60_000

    async def work(recorder: Recorder, _clock: SettableClock) -> None:
        other = sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)
        other.execute("CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        for number in range(made):
            recorder.add(0, 1, BLOCK, Reading(START + number, STATUS_OK, tuple(range(125)), 1))
            if number % 1_000 == 0:
                await recorder.flush()
                assert recorder.waiting_bytes <= MEMORY_BYTES
        other.execute("DROP TRIGGER full")
        other.close()
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    loss = records[0].payload.body
    assert isinstance(loss, Event)
    assert loss.name == "loss"
    times = [time for record in records for frame in record.payload.frames for time in frame.times_ms]
    assert len(times) + int(loss.detail["samples"]) == made
    assert (loss.detail["first_ms"], loss.detail["last_ms"]) == (START, min(times) - 1)
    assert times == sorted(times)


def test_a_clock_that_is_set_leaves_an_event_and_no_impossible_frame(tmp_path: Path) -> None:
    """lafrech/oem_gateway#12, thingsboard-gateway#879: wrong dates went into the history without a trace."""

    async def work(recorder: Recorder, clock: SettableClock) -> None:
        for step_ms in (0, -3_600_000):
            clock.step_ms = step_ms
            for number in range(3):
                recorder.add(0, 1, BLOCK, Reading(clock.now_ms() + number, STATUS_OK, noise(), 1))
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    before, event, after = (record.payload.body for record in records)
    assert event == Event("clock_step", {"before_ms": START, "after_ms": START - 3_600_000, "step_ms": -3_600_000})
    assert [frame.times_ms for frame in before] == [tuple(START + number for number in range(3))]
    assert [frame.times_ms for frame in after] == [tuple(START - 3_600_000 + number for number in range(3))]


def test_a_clock_that_is_set_forward_by_decades_costs_no_reads(tmp_path: Path) -> None:
    """A gateway without a battery starts in 1970 and learns the time when the network is there."""

    async def work(recorder: Recorder, clock: SettableClock) -> None:
        recorder.add(0, 1, BLOCK, Reading(60_000, STATUS_OK, noise(), 1))
        clock.step_ms = 1
        recorder.add(0, 1, BLOCK, Reading(START, STATUS_OK, noise(), 1))
        await recorder.flush()

    records = asyncio.run(recorded(work, tmp_path))
    frames = [frame for record in records for frame in record.payload.frames]
    assert [frame.times_ms for frame in frames] == [(60_000,), (START,)]


def config_with_uplink(directory: Path, modbus_port: int, broker_port: int, server_key: str) -> Any:
    text = f"""
gateway: gw-01
key_file: k
data_directory: d
flush: 1h
uplink: {{url: "mqtt://127.0.0.1:{broker_port}", server_key: "{server_key}"}}
connections:
  - id: line
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {modbus_port}
    devices: [{{id: plc-1, model: generic-modbus-plc, interval: 5min}}]
"""
    return parse_config(text, "gateway.yaml", directory)


def test_a_history_is_made_under_a_driven_clock_and_sent_beside_it(
    tmp_path: Path, modbus_site: Any, broker: Any, receiver: Any, gateway_key: SigningKey
) -> None:
    async def run() -> tuple[AgentStatistics, list[int]]:
        async with modbus_site({1: dict.fromkeys(range(8), 1)}) as site:
            config = config_with_uplink(tmp_path, site.port, broker.port, receiver.key.public.text)
            times: list[int] = []
            statistics = await run_agent(
                config,
                DrivenClock(START),
                START + 2 * 86_400_000,
                progress=lambda now_ms, _: times.append(now_ms),
                drain_seconds=30,
            )
            return statistics, times

    write_key(tmp_path / "k", gateway_key)
    statistics, times = asyncio.run(run())
    assert statistics.samples == 2 * 288
    assert statistics.values == 5 * statistics.samples
    assert statistics.last_seq == statistics.acknowledged_seq == receiver.seq == statistics.records
    assert times == [START + hour * 3_600_000 for hour in range(1, 48)]
    assert sum(len(record.data) for record in receiver.records.values()) == statistics.bytes


def test_a_history_needs_no_broker(tmp_path: Path, modbus_site: Any) -> None:
    async def run() -> AgentStatistics:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with modbus_site({1: dict.fromkeys(range(8), 1)}) as site:
                server_key = SigningKey.generate().public.text
                config = config_with_uplink(tmp_path, site.port, closed.getsockname()[1], server_key)
                ensure_key(config.key_file)
                return await run_agent(config, DrivenClock(START), START + 86_400_000, drain_seconds=0)

    statistics = asyncio.run(run())
    assert (statistics.samples, statistics.acknowledged_seq) == (288, 0)
    assert statistics.records == statistics.last_seq == 27 + 23, "23 heads: an hourly one behind every flush"
