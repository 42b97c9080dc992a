"""Field protocols, one file each: ``modbus_tcp.py`` serves ``protocol: modbus-tcp``.

A driver module has a class ``Settings``, an `agent.config.ConnectionConfig` with the fields that say where the devices
are, written as in `agent.setting`, and a function ``connect(settings, clock) -> Connection``. It knows requests and
answers; schedules, back-off and records are not its business. A protocol whose devices send by themselves has
``collect`` instead, with the arguments of `collect` here. What several protocols share lives outside this folder.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.clock import Clock
    from agent.config import ConnectionConfig
    from agent.poller import PolledDevice
    from agent.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one request.

    ``time_ms`` is the middle between request and response; ``status`` as in `wire.frame.Frame` (0 = good, then and only
    then ``words`` hold the registers, or the bytes of an answer that has none); ``round_trip_ms`` is what the request
    took.
    """

    time_ms: int
    status: int
    words: Sequence[int] | None
    round_trip_ms: int


class Connection(Protocol):
    """One physical connection; its owner asks one thing at a time."""

    @property
    def is_open(self) -> bool:
        """Whether requests can be made, as far as is known."""
        ...

    async def open(self) -> bool:
        """Connect within the time-out; tell whether it worked. Never raises for what the other side does."""
        ...

    async def read(self, unit: int, function: int, address: int, count: int) -> Reading:
        """Read ``count`` registers; what goes wrong is in the reading's status, nothing is raised for it."""
        ...

    def close(self) -> None:
        """Disconnect; does nothing when not connected."""
        ...


class MeterConnection(Protocol):
    """One physical connection to meters that are asked for data by identifier; otherwise as `Connection`."""

    @property
    def is_open(self) -> bool:
        """Whether requests can be made, as far as is known."""
        ...

    async def open(self) -> bool:
        """Connect within the time-out; tell whether it worked. Never raises for what the other side does."""
        ...

    async def ask(self, station: str, request: bytes) -> Reading:
        """Ask the meter with number ``station``; what goes wrong is in the reading's status."""
        ...

    def close(self) -> None:
        """Disconnect; does nothing when not connected."""
        ...


class Collector(Protocol):
    """What reads the devices of a connection on a schedule of its own and records what comes."""

    async def run(self, until_ms: int | None = None) -> None:
        """Read until cancelled, or until the next read would be at ``until_ms`` or later."""
        ...


def protocols() -> tuple[str, ...]:
    """Return the names of all protocols, sorted."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def settings(protocol: str) -> type[ConnectionConfig]:
    """Return what a connection of ``protocol`` is made of in a gateway file."""
    described: type[ConnectionConfig] = _module(protocol).Settings
    return described


def connect(settings: ConnectionConfig, clock: Clock) -> Connection | MeterConnection:
    """Return an unopened connection: a `MeterConnection` where devices have an ``address`` instead of a ``unit``."""
    connection: Connection | MeterConnection = _module(settings.protocol).connect(settings, clock)
    return connection


def collect(
    settings: ConnectionConfig, devices: list[PolledDevice], recorder: Recorder, clock: Clock
) -> Collector | None:
    """Return the collector of a protocol that is not merely polled, not yet running; ``None`` for all others."""
    module = _module(settings.protocol)
    collector: Collector | None = None
    if hasattr(module, "collect"):
        collector = module.collect(settings, devices, recorder, clock)
    return collector


def _module(protocol: str) -> ModuleType:
    return import_module(f"agent.drivers.{protocol.replace('-', '_')}")
