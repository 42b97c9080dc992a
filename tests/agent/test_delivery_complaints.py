"""What users of other agents complain about in buffering and delivery, each tried on this one from end to end."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.clock import DrivenClock
from agent.config import UplinkConfig
from agent.journal import Journal, JournalThread
from agent.uplink import Uplink
from wire.event import Event
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]


@asynccontextmanager
async def agent(directory: Path, key: SigningKey, receiver: Any) -> AsyncIterator[tuple[JournalThread, Uplink]]:
    config = UplinkConfig(url=f"mqtt://127.0.0.1:{receiver.port}", server_key=receiver.key.public.text, version="3.1.1")
    journal = JournalThread(Journal(directory, "gw-01", key, 2**23, DrivenClock(1_751_299_200_000)))
    uplink = Uplink(config, "gw-01", journal, first_resend_ms=400, last_reconnect_ms=500)
    task = asyncio.create_task(uplink.run())
    try:
        yield journal, uplink
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


async def make(journal: JournalThread, uplink: Uplink, count: int) -> None:
    for number in range(count):
        await journal.append(Event("start", {"number": number}))
    uplink.notify()


def test_the_storage_outlives_every_reconnect_and_its_reader_never_stops(
    tmp_path: Path, broker: Any, receiver: Any, gateway_key: SigningKey
) -> None:
    """thingsboard-gateway#2124 (destroyed and recreated on every reconnect), #284 (writer runs, reader stops)."""

    async def run() -> None:
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await make(journal, uplink, 5)
            file = (tmp_path / "spool" / "spool.sqlite").stat().st_ino
            for _ in range(3):
                await asyncio.to_thread(broker.kill)
                await make(journal, uplink, 5)
                await asyncio.to_thread(broker.start)
                await make(journal, uplink, 5)
                await asyncio.wait_for(uplink.wait_acknowledged(journal.state.seq), 60)
            assert (tmp_path / "spool" / "spool.sqlite").stat().st_ino == file
            assert len(await journal.outgoing(0, 1_000, 2**30)) == 35, "and all of it is still here"
        assert sorted(receiver.records) == list(range(1, 36))

    asyncio.run(run())


def test_what_waits_when_the_agent_stops_is_sent_when_it_starts(
    tmp_path: Path, broker: Any, receiver: Any, gateway_key: SigningKey
) -> None:
    """telegraf#15868, #802 and Azure/Industrial-IoT#648: what was buffered is gone, or stays where it is."""

    async def run() -> None:
        await asyncio.to_thread(broker.kill)
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await make(journal, uplink, 40)
        await asyncio.to_thread(broker.start)
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await asyncio.wait_for(uplink.wait_acknowledged(40), 60)
        assert sorted(receiver.records) == list(range(1, 41))

    asyncio.run(run())


def test_what_is_sent_again_is_the_same_byte_for_byte(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """thingsboard-gateway#2119: the time of a value was overwritten when it was sent again."""

    async def run() -> None:
        receiver.mute = True
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await make(journal, uplink, 3)
            # The receiver fails the test when a record comes again with other bytes.
            await until(lambda: min(receiver.received.count(seq) for seq in (1, 2, 3)) >= 3)
            receiver.mute = False
            await asyncio.wait_for(uplink.wait_acknowledged(3), 60)

    asyncio.run(run())


def test_a_damaged_record_and_a_damaged_page_stop_no_uplink(
    tmp_path: Path, broker: Any, receiver: Any, gateway_key: SigningKey
) -> None:
    """telegraf#18528, thingsboard-gateway#284: one bad entry, and nothing behind it was ever sent."""
    spool = tmp_path / "spool" / "spool.sqlite"

    async def run() -> None:
        await asyncio.to_thread(broker.kill)
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await make(journal, uplink, 300)
        with sqlite3.connect(spool) as database:
            database.execute("UPDATE record SET data = zeroblob(100) WHERE seq = 100")
        with spool.open("r+b") as file:
            file.seek(15 * 4096)
            file.write(os.urandom(4096))
        await asyncio.to_thread(broker.start)
        async with agent(tmp_path / "spool", gateway_key, receiver) as (journal, uplink):
            await make(journal, uplink, 10)
            await asyncio.wait_for(uplink.wait_acknowledged(310), 60)
        assert 100 not in receiver.records
        assert 260 < len(receiver.records) < 310 + 5
        assert any(gap.first <= 100 <= gap.last for gap in receiver.gaps)

    asyncio.run(run())
