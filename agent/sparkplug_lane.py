"""The enterprise lane: a second publisher beside the records, for gateways whose file has a ``sparkplug`` section.

What it takes is imported only then.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.clock import Clock
from agent.config import GatewayConfig, SparkplugConfig
from agent.connections import cancel
from agent.newest import NewestReads
from agent.recorder import Recorder
from wire.descriptor import Descriptor

if TYPE_CHECKING:
    from agent.sparkplug_session import SparkplugSessions

_GOODBYE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Running:
    config: SparkplugConfig
    sessions: SparkplugSessions
    task: asyncio.Task[None]


class SparkplugLane:
    """Publishes what ``recorder`` reads last, from `follow` to `end`."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._running: _Running | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        """How the lane is, for ``shopfloor agent status``; ``None`` without one."""
        if self._running is None:
            return None
        sessions = self._running.sessions
        state = "waiting for its primary host" if sessions.waiting_for_host else "offline"
        return {"state": "online" if sessions.born else state, "fault": sessions.fault}

    async def follow(self, config: GatewayConfig, descriptor: Descriptor) -> None:
        """Publish as ``config`` says; a session that it does not change goes on undisturbed."""
        if self._running is not None and self._running.config != config.sparkplug:
            await self.end()
        if config.sparkplug is None or self._running is not None:
            return
        from agent.sparkplug_session import SparkplugSessions  # noqa: PLC0415 - only whoever wants it loads it

        newest = self._recorder.newest = NewestReads(descriptor)
        sessions = SparkplugSessions(
            config.sparkplug, config.gateway, config.data_directory, newest, self._clock.now_ms
        )
        task = asyncio.create_task(sessions.run(), name="sparkplug")
        self._running = _Running(config.sparkplug, sessions, task)

    async def end(self) -> None:
        """Say goodbye, as far as the broker takes it at once, and publish nothing more."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self._recorder.newest = None
        running.sessions.stop()
        await asyncio.wait([running.task], timeout=_GOODBYE_SECONDS)
        await cancel([running.task])
