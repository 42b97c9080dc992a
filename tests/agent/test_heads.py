"""Heads: the gateway's own statement of how far its chain has come, by the hour and when asked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.clock import DrivenClock
from agent.journal import Journal
from wire.event import Event
from wire.head import Head
from wire.keys import SigningKey

Until = Callable[..., Awaitable[None]]
KEY = SigningKey.generate()


def test_a_head_states_the_record_before_it_and_is_not_repeated_when_nothing_came_between(tmp_path: Path) -> None:
    book = Journal(tmp_path, "gw-01", KEY, 2**23, DrivenClock(1_751_299_200_000))
    assert book.append_head() is None, "a chain without records has no head"
    first = book.append(Event("start"))
    head = book.append_head()
    assert head is not None
    assert head.payload.body == Head(1, first.hash)
    assert book.append_head() is None
    book.append(Event("stop"))
    following = book.append_head()
    assert following is not None
    assert following.seq == 4
    book.close()


def test_a_running_agent_writes_a_head_when_it_is_asked(
    tmp_path: Path, modbus_site: Any, receiver: Any, gateway_key: SigningKey, until: Until
) -> None:
    from agent.config import parse_config  # noqa: PLC0415
    from agent.keyfile import write_key  # noqa: PLC0415
    from agent.runtime import run_agent  # noqa: PLC0415

    async def run() -> None:
        async with modbus_site({1: dict.fromkeys(range(8), 1)}) as site:
            text = f"""
gateway: gw-01
key_file: k
data_directory: d
flush: 1h
uplinks: [{{id: city, url: "mqtt://127.0.0.1:{receiver.port}", server_key: "{receiver.key.public.text}"}}]
connections:
  - id: line
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {site.port}
    devices: [{{id: plc-1, model: generic-modbus-plc, interval: 100ms}}]
"""
            stop = asyncio.Event()
            config = parse_config(text, "gateway.yaml", tmp_path)
            agent = asyncio.create_task(run_agent(config, stop=stop, handle_signals=True))
            await until(lambda: len(site.requests) >= 3 and receiver.seq >= 2)
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: any(isinstance(r.payload.body, Head) for r in receiver.records.values()))
            stop.set()
            await agent
        head = next(r for r in receiver.records.values() if isinstance(r.payload.body, Head))
        assert receiver.records[head.seq - 1].payload.frames, "what was collected is written before it"

    write_key(tmp_path / "k", gateway_key)
    asyncio.run(run())
