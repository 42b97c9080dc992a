"""A configuration that changes while the agent runs: nothing that did not change misses a poll."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.clock import DrivenClock
from agent.config import load_config
from agent.description import describe
from agent.drivers import Reading
from agent.errors import ConfigurationError, SpoolError
from agent.journal import Journal, JournalThread
from agent.keyfile import ensure_key
from agent.models import template_file
from agent.planner import Block, Value
from agent.recorder import Recorder
from agent.reload import ConfigurationFile
from agent.runtime import run_agent
from agent.spool import Spool
from agent.status import ask
from wire.chain import verify_run
from wire.descriptor import Descriptor
from wire.errors import DocumentError
from wire.event import Event
from wire.keys import SigningKey
from wire.record import Record, open_record

Until = Callable[..., Awaitable[None]]
REGISTERS = dict.fromkeys(range(0x0800, 0x0858), 5)
INTERVAL_MS = 100


def write(path: Path, ports: dict[str, int], *, serial: str = "A1") -> None:
    connections = "".join(
        f"  - id: {name}\n    protocol: modbus-tcp\n    host: 127.0.0.1\n    port: {port}\n    timeout: 300ms\n"
        "    devices:\n"
        f"      - {{id: meter-{name}, model: acrel-adl400, interval: {INTERVAL_MS}ms, serial_number: {serial}}}\n"
        for name, port in ports.items()
    )
    fresh = path.with_suffix(".new")
    fresh.write_text(f"gateway: gw-01\nkey_file: k\ndata_directory: d\nflush: 1s\nconnections:\n{connections}")
    fresh.replace(path)


def spooled(path: Path) -> list[Record]:
    config = load_config(path)
    key = ensure_key(config.key_file).public
    spool = Spool(config.data_directory, config.gateway, key.key_id, config.spool_bytes)
    try:
        messages = spool.outgoing(0, 10**6, 2**30)
        assert isinstance(messages, list)
        assert verify_run([message.data for message in messages], key, gateway="gw-01").faults == []
        return [open_record(message.data, key) for message in messages]
    finally:
        spool.close()


def times_of(records: list[Record], device: str) -> list[int]:
    """Times of the good reads of ``device``, each frame read with the descriptor in force for its record."""
    descriptors = {r.hash: r.payload.body for r in records if isinstance(r.payload.body, Descriptor)}
    return [
        time
        for record in records
        for frame in record.payload.frames
        if descriptors[record.payload.descriptor].devices[frame.device].id == device
        for time, status, _ in frame.samples()
        if status == 0
    ]


def events_of(records: list[Record]) -> list[Event]:
    return [r.payload.body for r in records if isinstance(r.payload.body, Event)]


def with_agent(
    path: Path,
    work: Callable[[], Awaitable[None]],
) -> Awaitable[None]:
    async def run() -> None:
        config = load_config(path)
        ensure_key(config.key_file)
        stop = asyncio.Event()
        agent = asyncio.create_task(run_agent(config, config_file=path, stop=stop, handle_signals=True))
        try:
            await work()
        finally:
            stop.set()
            await agent

    return run()


@pytest.mark.parametrize("asked", ["by SIGHUP", "by the file"])
def test_polling_goes_on_at_its_full_rate_while_connections_come_and_go(
    tmp_path: Path, modbus_site: Any, until: Until, asked: str
) -> None:
    """Peers restart the process, or all connectors, for any change: every device loses samples."""
    path = tmp_path / "gateway.yaml"

    async def run() -> int:
        async with AsyncExitStack() as stack:
            kept, gone, new = [await stack.enter_async_context(modbus_site({1: dict(REGISTERS)})) for _ in range(3)]
            write(path, {"gone": gone.port, "kept": kept.port})

            async def work() -> None:
                await until(lambda: len(kept.requests) >= 10 and len(gone.requests) >= 10)
                write(path, {"kept": kept.port, "new": new.port})
                if asked == "by SIGHUP":
                    os.kill(os.getpid(), signal.SIGHUP)
                await until(lambda: len(new.requests) >= 10)
                asked_before = len(gone.requests)
                await until(lambda: len(new.requests) >= 15)
                assert len(gone.requests) == asked_before

            await with_agent(path, work)
            return len(kept.requests)

    asked_of_kept = asyncio.run(run())
    records = spooled(path)
    names = [event.name for event in events_of(records) if not event.name.startswith("clock")]
    assert names == ["start", "configuration", "stop"]
    change = next(event for event in events_of(records) if event.name == "configuration")
    assert change.detail == {"reason": "added: meter-new; removed: meter-gone"}
    times = times_of(records, "meter-kept")
    assert asked_of_kept - 1 <= len(times) <= asked_of_kept, (
        "every read is on record but the one in progress at the end"
    )
    assert all(earlier < later for earlier, later in pairwise(times))
    assert max(later - earlier for earlier, later in pairwise(times)) < 10 * INTERVAL_MS
    assert len(times_of(records, "meter-gone")) >= 9
    assert len(times_of(records, "meter-new")) >= 9


def test_a_faulty_file_changes_nothing_and_is_told(tmp_path: Path, modbus_site: Any, until: Until) -> None:
    path = tmp_path / "gateway.yaml"

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS)}) as site:
            write(path, {"line": site.port})
            good = path.read_text()
            directory = load_config(path).data_directory
            documents: list[dict[str, Any]] = []

            async def status_until(condition: Callable[[dict[str, Any]], bool]) -> None:
                async with asyncio.timeout(30):
                    while True:
                        documents.append(await asyncio.to_thread(ask, directory))
                        if condition(documents[-1]):
                            return
                        await asyncio.sleep(0.05)

            async def work() -> None:
                await until(lambda: len(site.requests) >= 3)
                path.write_text(good.replace("adl400", "adl40"))
                await status_until(lambda document: document["state"] == "degraded")
                assert "did you mean 'acrel-adl400'?" in str(documents[-1]["problems"])
                assert "did you mean 'acrel-adl400'?" in documents[-1]["errors"][-1]["text"]
                asked = len(site.requests)
                await until(lambda: len(site.requests) >= asked + 5)
                path.write_text(good)
                await status_until(lambda document: document["state"] == "ok")

            await with_agent(path, work)

    asyncio.run(run())
    records = spooled(path)
    assert [event.name for event in events_of(records) if not event.name.startswith("clock")] == ["start", "stop"]
    assert sum(isinstance(record.payload.body, Descriptor) for record in records) == 1


def test_a_device_model_that_changes_is_a_new_descriptor(
    tmp_path: Path, modbus_site: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, models = tmp_path / "gateway.yaml", tmp_path / "gateway_configs" / "devices"
    models.mkdir(parents=True)
    text = template_file("acrel-adl400").read_text()
    (models / "acrel-adl400.yaml").write_text(text)
    (models.parent / "__init__.py").touch()
    monkeypatch.setattr("agent.models._folder", lambda: models)
    monkeypatch.syspath_prepend(tmp_path)  # for the process that reads the files

    async def run() -> None:
        async with modbus_site({1: dict(REGISTERS)}) as site:
            write(path, {"line": site.port})

            async def work() -> None:
                await until(lambda: len(site.requests) >= 3)
                first = (await asyncio.to_thread(ask, tmp_path / "d"))["descriptor"]
                (models / "acrel-adl400.yaml").write_text(text + "\n# revised\n")
                async with asyncio.timeout(30):
                    while (await asyncio.to_thread(ask, tmp_path / "d"))["descriptor"] == first:
                        await asyncio.sleep(0.1)

            await with_agent(path, work)

    asyncio.run(run())
    descriptors = [r.payload.body for r in spooled(path) if isinstance(r.payload.body, Descriptor)]
    assert len({descriptor.devices[0].template_hash for descriptor in descriptors}) == 2


def test_what_only_a_restart_can_change_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    write(path, {"line": 502})
    file = ConfigurationFile(path, load_config(path))
    path.write_text(path.read_text().replace("gateway: gw-01", "gateway: gw-02"))
    with pytest.raises(ConfigurationError, match="gateway: cannot change while the agent runs"):
        file.read()
    assert not file.changed()


def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    write(path, {"line": 502})
    file = ConfigurationFile(path, load_config(path))
    assert not file.changed()
    for size in range(3):
        path.write_text(path.read_text() + "#" * (size + 1))
        assert not file.changed()
    assert file.changed()
    file.read()
    assert not file.changed()


def test_a_file_that_is_gone_for_a_moment_is_one_mistake_not_an_end(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    write(path, {"line": 502})
    file = ConfigurationFile(path, load_config(path))
    text = path.read_text()
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        file.read()
    path.write_text("connections: [")
    with pytest.raises(DocumentError):
        file.read()
    path.write_text(text)
    assert file.read() == load_config(path)


def test_reads_stand_under_the_descriptor_of_their_time_even_when_the_disk_is_full_meanwhile(tmp_path: Path) -> None:
    key, clock = SigningKey.generate(), DrivenClock(1_790_000_000_000)
    path, block = tmp_path / "gateway.yaml", Block(3, 0, 1, (Value(3, 0, 1),))
    write(path, {"one": 1, "two": 2})
    first = describe(load_config(path))
    write(path, {"two": 2})
    second = describe(load_config(path))

    async def run() -> list[Record]:
        journal = JournalThread(Journal(tmp_path / "d", "gw-01", key, 2**26, clock))
        recorder = Recorder(journal, clock)
        append = journal.append
        try:
            await recorder.begin(first)

            async def refuse(*_: object) -> Record:
                raise SpoolError("the disk is full")

            journal.append = refuse  # type: ignore[method-assign]
            recorder.add(0, 1, block, Reading(clock.now_ms(), 0, (1,), 1))
            recorder.add(1, 1, block, Reading(clock.now_ms(), 0, (2,), 1))
            recorder.reconfigure(second)
            recorder.add(0, 1, block, Reading(clock.now_ms(), 0, (2,), 1))
            await recorder.flush()
            assert recorder.waiting_bytes > 0
            journal.append = append  # type: ignore[method-assign]
            await recorder.flush()
            assert recorder.waiting_bytes == 0
            return [open_record(message.data, key.public) for message in await journal.outgoing(0, 100, 2**20)]
        finally:
            journal.close()

    records = asyncio.run(run())
    descriptors = {r.hash: r.payload.body for r in records if isinstance(r.payload.body, Descriptor)}
    read = [
        (descriptors[record.payload.descriptor].devices[frame.device].id, words)
        for record in records
        for frame in record.payload.frames
        for _, _, words in frame.samples()
    ]
    assert read == [("meter-one", (1,)), ("meter-two", (2,)), ("meter-two", (2,))]
    assert [event.name for event in events_of(records)] == ["start", "configuration"]
