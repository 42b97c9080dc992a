"""Field protocols, one file each: ``modbus_tcp.py`` serves ``protocol: modbus-tcp``.

A driver module has a function ``connect(host, port, timeout_ms, clock) -> Connection``. It knows requests and answers;
schedules, back-off and records are not its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.clock import Clock


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one request.

    ``time_ms`` is the middle between request and response; ``status`` as in `wire.frame.Frame` (0 = good, then and only
    then ``words`` hold the registers); ``round_trip_ms`` is what the request took.
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


def connect(protocol: str, host: str, port: int, timeout_ms: int, clock: Clock) -> Connection:
    """Return an unopened connection of ``protocol``, the name of a module in this folder with ``-`` for ``_``."""
    module = import_module(f"agent.drivers.{protocol.replace('-', '_')}")
    connection: Connection = module.connect(host, port, timeout_ms, clock)
    return connection
