"""The agent's end of a line of meters that are asked for data by identifier: what DL/T 645 and CJ/T 188 share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.clock import Clock
from agent.drivers import Reading
from agent.errors import FrameError
from agent.half_duplex import HalfDuplex
from agent.meter_search import Heard
from agent.octet_link import OctetLink

F = TypeVar("F")


class MeterMaster(ABC, Generic[F]):
    """The master of one line, an `agent.drivers.MeterConnection`; ``parse`` finds frames as `HalfDuplex` wants it."""

    def __init__(
        self, link: OctetLink, parse: Callable[[bytes], tuple[F, int] | None], timeout_ms: int, clock: Clock
    ) -> None:
        self._link = link
        self._clock = clock
        self.line = HalfDuplex(link, parse, timeout_ms)

    @property
    def is_open(self) -> bool:
        """Whether the port or the TCP connection is open, as far as is known."""
        return self._link.is_open

    async def open(self) -> bool:
        """Open the port or connect; tell whether it worked."""
        return await self._link.open()

    async def ask(self, station: str, request: bytes) -> Reading:
        """Read what ``request`` names from the meter with the address ``station``."""
        clock = self._clock
        time_ms, started = clock.now_ms(), clock.elapsed_ms()
        status, data = await self._read(station, request)
        round_trip_ms = clock.elapsed_ms() - started
        return Reading(time_ms + round_trip_ms // 2, status, data, round_trip_ms)

    def close(self) -> None:
        """Close the port or disconnect."""
        self._link.close()

    async def heard(self, request: bytes, answers: Callable[[F], bool], address: Callable[[F], str]) -> Heard:
        """Send ``request`` and return who answers it, as `agent.meter_search.Searchable` tells.

        ``address`` gives the number of who sent an answer; what it refuses with `FrameError` is noise. Raises
        `ConnectionError` when the line is lost.
        """
        frames, noise = await self.line.hear(request, answers)
        addresses = set()
        for frame in frames:
            try:
                addresses.add(address(frame))
            except FrameError:
                noise = True
        return Heard(frozenset(addresses), noise)

    @abstractmethod
    async def _read(self, station: str, request: bytes) -> tuple[int, bytes | None]:
        """Return the status, as in `wire.frame.Frame`, and the data when it is 0."""
