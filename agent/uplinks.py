"""All uplinks of a gateway: each a task of its own, so that one that is dead delays no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.config import UplinkConfig
from agent.connections import cancel
from agent.health import offline
from agent.journal import JournalThread
from agent.uplink import Uplink


@dataclass(frozen=True, slots=True)
class _Running:
    config: UplinkConfig
    uplink: Uplink
    task: asyncio.Task[None]


class Uplinks:
    """The uplinks of ``gateway``. ``failure`` is done when what ended one of them is to end the agent too."""

    def __init__(self, gateway: str, journal: JournalThread) -> None:
        self._gateway = gateway
        self._journal = journal
        self._running: dict[str, _Running] = {}
        self._health: bytes | None = None
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def faults(self) -> Mapping[str, str]:
        """Why there is no connection to a broker, by the id of the uplink."""
        faults = {name: running.uplink.fault for name, running in self._running.items()}
        return {name: fault for name, fault in faults.items() if fault is not None}

    @property
    def acknowledged(self) -> Mapping[str, int]:
        """The highest record up to which each server has everything, by the id of the uplink."""
        return {name: running.uplink.acknowledged for name, running in self._running.items()}

    async def follow(self, configs: Sequence[UplinkConfig]) -> None:
        """Have the uplinks of ``configs``: those that are not among them end, unchanged ones go on undisturbed."""
        wanted = {config.id: config for config in configs}
        ending = [name for name, running in self._running.items() if wanted.get(name) != running.config]
        for name in ending:
            # What is retained at a broker that hears nothing more must not say that all is well.
            self._running[name].uplink.publish_health(json.dumps(offline(self._gateway)).encode())
        await cancel([self._running.pop(name).task for name in ending])
        await self._journal.follow(tuple(wanted))
        for name, config in wanted.items():
            if name not in self._running:
                uplink = Uplink(config, self._gateway, self._journal)
                if self._health is not None:
                    uplink.publish_health(self._health)
                task = asyncio.create_task(uplink.run(), name=f"uplink {name}")
                task.add_done_callback(self._ended)
                self._running[name] = _Running(config, uplink, task)

    async def end(self) -> None:
        """End all uplinks."""
        await cancel([running.task for running in self._running.values()])
        self._running.clear()

    def notify(self) -> None:
        """Say that there are new records."""
        for running in self._running.values():
            running.uplink.notify()

    def publish_health(self, document: bytes) -> None:
        """Have every server see ``document`` as how the gateway is, from now on and after each reconnect."""
        self._health = document
        for running in self._running.values():
            running.uplink.publish_health(document)

    async def wait_acknowledged(self, seq: int) -> None:
        """Return when every server has everything up to ``seq``."""
        await asyncio.gather(*(running.uplink.wait_acknowledged(seq) for running in self._running.values()))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Note what ended an uplink; a cancellation is ours."""
        if not task.cancelled() and (error := task.exception()) is not None and not self.failure.done():
            self.failure.set_exception(error)
