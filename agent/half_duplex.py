"""One request and its answer on a line where every station hears everything, and some of it garbled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from agent.frame_scan import PREAMBLE, FrameScanner
from agent.octet_link import OctetLink
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

PREAMBLE_LENGTH = 4
"""What most masters send ahead of a frame, to wake meters and converters."""

PAUSE_SECONDS = 0.5
"""The longest silence between two bytes of a frame (DL/T 645-2007, 5.3)."""

F = TypeVar("F")


class HalfDuplex(Generic[F]):
    """The master's side of a line. Frames that are no answer to its request are passed over: echoes of what it sent
    itself, late answers, answers of other stations."""

    def __init__(self, link: OctetLink, parse: Callable[[bytes], tuple[F, int] | None], timeout_ms: int) -> None:
        self._link = link
        self._scanner: FrameScanner[F] = FrameScanner(parse)
        self._timeout_seconds = timeout_ms / 1000

    async def ask(self, request: bytes, answers: Callable[[F], bool]) -> tuple[int, F | None]:
        """Send ``request`` and return the first frame that ``answers`` it, with a status as in `wire.frame.Frame`.

        0 comes with the frame; otherwise there is none: time-out when nothing came, malformed when bytes came that are
        no frame, no connection when the line is lost, which is closed then.
        """
        try:
            found = await self._listen(request, answers, most=1)
        except ConnectionError:
            self._link.close()
            return STATUS_CONNECTION, None
        if found:
            return STATUS_OK, found[0]
        return STATUS_MALFORMED if self._scanner.noisy else STATUS_TIMEOUT, None

    async def hear(self, request: bytes, answers: Callable[[F], bool]) -> tuple[list[F], bool]:
        """Send ``request`` and listen for the whole time-out, because several stations may answer.

        Returns every frame that ``answers`` it, and whether bytes came that are no frame: what is left of answers that
        were sent at the same time. Raises `ConnectionError` when the line is lost, which is closed then.
        """
        try:
            return await self._listen(request, answers), self._scanner.noisy
        except ConnectionError:
            self._link.close()
            raise

    async def _listen(self, request: bytes, answers: Callable[[F], bool], most: int | None = None) -> list[F]:
        loop = asyncio.get_running_loop()
        self._scanner.clear()
        self._link.discard()
        found: list[F] = []
        began = False
        self._link.send(bytes([PREAMBLE]) * PREAMBLE_LENGTH + request)
        deadline = loop.time() + self._timeout_seconds
        while (left := deadline - loop.time()) > 0 and len(found) != most:
            data = await self._link.receive(min(left, PAUSE_SECONDS) if began else left)
            began = bool(data)
            frames = self._scanner.feed(data) if data else self._scanner.pause()
            found += [frame for frame in frames if answers(frame)]
        return found
