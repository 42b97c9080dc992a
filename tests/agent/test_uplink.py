"""The uplink against a real broker: nothing is settled but by the server's own signed word."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import DrivenClock
from agent.config import UplinkConfig
from agent.journal import Journal, JournalThread
from agent.uplink import Uplink
from wire.event import Event
from wire.keys import SigningKey
from wire.receipt import sign_acknowledgement

Until = Callable[..., Awaitable[None]]


class Sender:
    def __init__(self, journal: JournalThread, uplink: Uplink) -> None:
        self.journal, self.uplink = journal, uplink

    async def make(self, count: int) -> None:
        for number in range(count):
            await self.journal.append(Event("start", {"number": number}))
        self.uplink.notify()


@asynccontextmanager
async def sending(
    tmp_path: Path, key: SigningKey, receiver: Any, *, version: str = "auto", window: int = 256
) -> AsyncIterator[Sender]:
    config = UplinkConfig(
        url=f"mqtt://127.0.0.1:{receiver.port}",
        server_key=receiver.key.public.text,
        version=version,
        window_records=window,
    )
    journal = JournalThread(Journal(tmp_path / "spool", "gw-01", key, 2**23, DrivenClock(1_751_299_200_000)))
    uplink = Uplink(config, "gw-01", journal, first_resend_ms=400, last_reconnect_ms=1_000)
    task = asyncio.create_task(uplink.run())
    try:
        yield Sender(journal, uplink)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


@pytest.mark.parametrize("version", ["auto", "3.1.1"])
def test_records_arrive_in_order_and_are_acknowledged(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, version: str
) -> None:
    async def run() -> None:
        async with sending(tmp_path, gateway_key, receiver, version=version) as sender:
            await sender.make(300)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(300), 30)
        assert receiver.seq == 300
        assert receiver.received[:10] == list(range(1, 11))

    asyncio.run(run())


@pytest.mark.parametrize("version", ["auto", "5"])
def test_mqtt_5_is_spoken_where_the_broker_knows_it(
    tmp_path: Path, receiver_of_version_5: Any, gateway_key: SigningKey, version: str
) -> None:
    async def run() -> None:
        receiver = receiver_of_version_5
        async with sending(tmp_path, gateway_key, receiver, version=version) as sender:
            await sender.make(100)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(100), 30)
        assert sorted(receiver.records) == list(range(1, 101))

    asyncio.run(run())


def test_a_version_that_is_insisted_on_and_refused_is_told(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with sending(tmp_path, gateway_key, receiver, version="5") as sender:
            await sender.make(1)
            await until(lambda: "Unsupported protocol version" in caplog.text)
        assert receiver.received == []

    asyncio.run(run())


def test_what_the_broker_confirms_settles_nothing(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """Azure/Industrial-IoT#2168 and every agent surveyed: PUBACK was taken for delivery. Here it is sent again."""

    async def run() -> None:
        receiver.mute = True
        async with sending(tmp_path, gateway_key, receiver) as sender:
            await sender.make(5)
            await until(lambda: receiver.received.count(1) >= 3)
            assert sender.journal.state.acknowledged == 0
            receiver.mute = False
            await asyncio.wait_for(sender.uplink.wait_acknowledged(5), 30)

    asyncio.run(run())


def test_no_more_than_the_window_is_in_flight(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """telegraf#16500: the whole log was sent at once at every start."""

    async def run() -> None:
        receiver.mute = True
        async with sending(tmp_path, gateway_key, receiver, window=7) as sender:
            await sender.make(50)
            await until(lambda: receiver.received.count(1) >= 3)
            assert max(receiver.received) == 7
            receiver.mute = False
            await asyncio.wait_for(sender.uplink.wait_acknowledged(50), 30)

    asyncio.run(run())


def test_a_broker_killed_in_mid_run_loses_nothing(
    tmp_path: Path,
    broker: Any,
    receiver: Any,
    gateway_key: SigningKey,
) -> None:
    """edgexfoundry/app-service-configurable#318, #708: after a lost connection nothing was sent any more."""

    async def run() -> None:
        async with sending(tmp_path, gateway_key, receiver) as sender:
            await sender.make(20)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(20), 30)
            await asyncio.to_thread(broker.kill)
            await sender.make(20)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(broker.start)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(40), 60)
        assert sorted(receiver.records) == list(range(1, 41))

    asyncio.run(run())


def test_a_broker_that_comes_late_is_waited_for(
    tmp_path: Path, broker: Any, receiver: Any, gateway_key: SigningKey
) -> None:
    async def run() -> None:
        await asyncio.to_thread(broker.kill)
        async with sending(tmp_path, gateway_key, receiver) as sender:
            await sender.make(3)
            await asyncio.sleep(1)
            await asyncio.to_thread(broker.start)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(3), 60)

    asyncio.run(run())


def test_a_server_restored_from_a_copy_gets_the_rest_again(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        async with sending(tmp_path, gateway_key, receiver) as sender:
            await sender.make(30)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(30), 30)
            await asyncio.to_thread(receiver.restore, 12)
            await until(lambda: receiver.seq == 30)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(30), 30)
        assert receiver.received.count(13) == 2
        assert receiver.received.count(12) == 1

    asyncio.run(run())


def test_forged_false_and_old_acknowledgements_are_not_heeded(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        async with sending(tmp_path, gateway_key, receiver) as sender:
            await sender.make(10)
            await asyncio.wait_for(sender.uplink.wait_acknowledged(10), 30)
            old = receiver.statement(seq=4, hash=receiver.records[4].hash, issued_ms=1)
            receiver.mute = True
            await sender.make(5)
            await until(lambda: 15 in receiver.received)
            right = receiver.records[15].hash
            for statement, key in [
                (receiver.statement(seq=15, hash=right), SigningKey.generate()),
                (receiver.statement(seq=15, hash=bytes(32)), receiver.key),
                (receiver.statement(seq=15, hash=right, gateway="gw-02"), receiver.key),
                (receiver.statement(seq=99, hash=right), receiver.key),
                (old, receiver.key),
            ]:
                await asyncio.to_thread(receiver.send, sign_acknowledgement(statement, key))
            await asyncio.to_thread(receiver.send, b"not an acknowledgement")
            again = receiver.received.count(15)
            await until(lambda: receiver.received.count(15) > again)
            assert sender.journal.state.acknowledged == 10
            receiver.mute = False
            await asyncio.wait_for(sender.uplink.wait_acknowledged(15), 30)

    asyncio.run(run())


def test_an_outage_longer_than_the_spool_ends_with_a_chain_the_server_can_follow(
    tmp_path: Path,
    receiver: Any,
    gateway_key: SigningKey,
) -> None:
    """thingsboard-gateway#1483, #2094: the storage was full and the agent never recovered."""

    async def run() -> None:
        receiver.deaf = True
        async with sending(tmp_path, gateway_key, receiver, window=4) as sender:
            for number in range(60):
                details = {f"filler-{position}": os.urandom(15_000) for position in range(16)}
                await sender.journal.append(Event("start", {"number": number, **details}))
            receiver.deaf = False
            sender.uplink.notify()
            await asyncio.wait_for(sender.uplink.wait_acknowledged(sender.journal.state.seq), 60)
            assert receiver.gaps
            assert receiver.seq == sender.journal.state.seq

    asyncio.run(run())
