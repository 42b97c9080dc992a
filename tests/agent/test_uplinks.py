"""Several uplinks at once: each with its own acknowledgement and pace, and a dead one delays no other."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.backoff import Backoff
from agent.clock import DrivenClock
from agent.config import UplinkConfig
from agent.journal import Journal, JournalThread
from agent.uplink import FIRST_RECONNECT_MS, LAST_RECONNECT_MS, Uplink
from agent.uplinks import Uplinks
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.event import Event
from wire.frame import Frame
from wire.keys import SigningKey
from wire.receipt import Acknowledgement

Until = Callable[..., Awaitable[None]]
DESCRIPTOR = Descriptor("gw-01", "test", "Asia/Shanghai", ())
NOBODY = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def config(id_: str, port: int, server_key: str = NOBODY, **further: Any) -> UplinkConfig:
    return UplinkConfig(id=id_, url=f"mqtt://127.0.0.1:{port}", server_key=server_key, version="3.1.1", **further)


@pytest.fixture
def second_broker(tmp_path: Path, broker: Any) -> Iterator[Any]:
    """Another broker like the first."""
    from_first = type(broker)
    directory = tmp_path / "second"
    directory.mkdir()
    text = (tmp_path / "broker" / "nats.conf").read_text()
    port = broker.port
    fresh = _free_port()
    (directory / "nats.conf").write_text(
        text.replace(str(tmp_path / "broker"), str(directory)).replace(f":{port}", f":{fresh}")
    )
    server = from_first(fresh, [broker._command[0], "-c", str(directory / "nats.conf")])
    server.start()
    yield server
    server.kill()


@pytest.fixture
def servers(receiver: Any, second_broker: Any, gateway_key: SigningKey) -> Iterator[tuple[Any, Any]]:
    """Two servers, each behind a broker of its own."""
    second = type(receiver)(second_broker.port, "gw-01", gateway_key.public)
    second.start()
    yield receiver, second
    second.stop()


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def sending(directory: Path, key: SigningKey, *configs: UplinkConfig) -> AsyncIterator[tuple[JournalThread, Any]]:
    clock = DrivenClock(1_751_299_200_000)
    names = [one.id for one in configs]
    journal = JournalThread(Journal(directory, "gw-01", key, 2**23, clock, uplinks=names))
    uplinks = Uplinks("gw-01", journal)
    try:
        await uplinks.follow(configs)
        yield journal, uplinks
    finally:
        await uplinks.end()
        journal.close()


async def make(journal: JournalThread, uplinks: Uplinks, count: int) -> None:
    for number in range(count):
        await journal.append(Event("start", {"number": number}))
    uplinks.notify()


def test_two_servers_get_everything_and_a_dead_third_delays_neither(
    tmp_path: Path, servers: tuple[Any, Any], gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        receiver, second = servers
        configs = [
            config("city", receiver.port, receiver.key.public.text),
            config("province", second.port, second.key.public.text),
            config("own", _free_port()),
        ]
        async with sending(tmp_path / "spool", gateway_key, *configs) as (journal, uplinks):
            await make(journal, uplinks, 200)
            await until(lambda: receiver.seq == second.seq == 200)
            await until(lambda: uplinks.acknowledged == {"city": 200, "province": 200, "own": 0})
            assert set(uplinks.faults) == {"own"}
            assert journal.state.acknowledged == 0, "what one server lacks stays until space is needed"
            assert {name: one.seq for name, one in journal.state.uplinks.items()} == uplinks.acknowledged

    asyncio.run(run())


def test_a_server_that_commits_nothing_keeps_its_own_place(
    tmp_path: Path, servers: tuple[Any, Any], gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        receiver, second = servers
        second.deaf = True
        configs = [
            config("city", receiver.port, receiver.key.public.text, window_records=5),
            config("province", second.port, second.key.public.text),
        ]
        async with sending(tmp_path / "spool", gateway_key, *configs) as (journal, uplinks):
            await make(journal, uplinks, 50)
            await until(lambda: uplinks.acknowledged == {"city": 50, "province": 0})
        second.deaf = False
        async with sending(tmp_path / "spool", gateway_key, *configs) as (journal, uplinks):
            await until(lambda: uplinks.acknowledged == {"city": 50, "province": 50})
            assert journal.state.acknowledged == 50, "kept before it is told"
        assert receiver.received.count(1) == 1, "after a restart nothing is sent that is acknowledged"

    asyncio.run(run())


def test_an_uplink_that_is_added_gets_the_history_and_unchanged_ones_go_on(
    tmp_path: Path, servers: tuple[Any, Any], gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        receiver, second = servers
        city = config("city", receiver.port, receiver.key.public.text)
        async with sending(tmp_path / "spool", gateway_key, city) as (journal, uplinks):
            await make(journal, uplinks, 30)
            await until(lambda: journal.state.acknowledged == 30)
            await uplinks.follow([city, config("province", second.port, second.key.public.text)])
            await until(lambda: second.seq == 30)
            await until(lambda: journal.state.acknowledged == 30)
            await uplinks.follow([city])
            assert set(journal.state.uplinks) == {"city"}
        assert receiver.received.count(1) == 1

    asyncio.run(run())


def test_a_slow_line_is_not_given_more_than_its_pace(
    tmp_path: Path, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    """A minute's worth at first, 1,200 bytes: the rest has to wait its turn, however much is there."""

    async def run() -> None:
        slow = config("city", receiver.port, receiver.key.public.text, bytes_a_second=20)
        async with sending(tmp_path / "spool", gateway_key, slow) as (journal, uplinks):
            await make(journal, uplinks, 100)
            await until(lambda: receiver.seq >= 3)
            await asyncio.sleep(1)
            assert sum(len(record.data) for record in receiver.records.values()) < 1_200 + 250 + 20 * 30

    asyncio.run(run())


def test_a_fleet_that_lost_its_broker_does_not_come_back_all_at_once() -> None:
    """AMRC-FactoryPlus/amrc-connectivity-stack#167, mosquitto#1035: reconnecting in step keeps the broker down."""
    fleet = 2_000
    attempts: Counter[int] = Counter()
    for seed in range(fleet):
        waits = Backoff(FIRST_RECONNECT_MS, LAST_RECONNECT_MS, random.Random(seed), least=0.0)
        at = 0
        for _ in range(12):
            at += waits.next_ms()
            attempts[at // 500] += 1
    busiest = max(attempts.values())
    assert busiest < fleet * 0.2, "in no half second more than a small part of the fleet"
    assert max(attempts) * 0.5 > 120, "and ever more seldom while the broker stays away"


def test_many_agents_find_a_broker_that_comes_back(
    tmp_path: Path, broker: Any, gateway_key: SigningKey, until: Until
) -> None:
    async def run() -> None:
        broker.kill()
        clock = DrivenClock(1_751_299_200_000)
        journals, tasks, uplinks = [], [], []
        for number in range(12):
            name = f"gw-{number:02}"
            journal = JournalThread(Journal(tmp_path / name, name, gateway_key, 2**23, clock, uplinks=["city"]))
            uplink = Uplink(config("city", broker.port), name, journal, last_reconnect_ms=2_000)
            journals.append(journal)
            uplinks.append(uplink)
            tasks.append(asyncio.create_task(uplink.run()))
        try:
            await until(lambda: all("refused" in (uplink.fault or "") for uplink in uplinks))
            await asyncio.to_thread(broker.start)
            await until(lambda: all(uplink.fault is None for uplink in uplinks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for journal in journals:
                journal.close()

    asyncio.run(run())


def noise(size: int) -> tuple[Frame, ...]:
    n = size // 250
    return (Frame(0, 1, 3, 0, 125, tuple(range(n)), bytes(n), random.randbytes(250 * n), 0),)


def test_a_server_away_for_months_costs_the_others_nothing(tmp_path: Path) -> None:
    """Its share is lost past the budget, on record; who has the records needs no gap, and the chain closes for both."""
    key = SigningKey.generate()
    clock = DrivenClock(1_751_299_200_000)
    book = Journal(tmp_path, "gw-01", key, 4 * 2**20, clock, uplinks=["city", "away"])
    book.append(DESCRIPTOR)
    city: dict[int, bytes] = {}
    for _ in range(400):
        book.append(noise(30_000), 120)
        while batch := book.outgoing(max(city, default=0), 100, 2**22):
            city |= {message.seq: message.data for message in batch}
            assert all(message.covers == message.seq for message in batch), "nothing is missing for who keeps up"
        book.acknowledge(Acknowledgement("gw-01", book.state.seq, book.state.hash, book.state.seq), "city")
    assert sorted(city) == list(range(1, book.state.seq + 1))
    assert verify_run([city[seq] for seq in sorted(city)], key.public, gateway="gw-01").intact
    late = []
    while batch := book.outgoing(late[-1].covers if late else 0, 100, 2**22):
        late.extend(batch)
    assert late[-1].covers == book.state.seq
    assert late[0].seq == 1, "the descriptor is kept"
    lost = [message for message in late if message.covers != message.seq]
    assert len(lost) == 1
    assert book.size() <= 4 * 2**20
    book.close()
