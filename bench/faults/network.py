"""Network links that can be cut, stalled, delayed and spoilt: TCP (or Unix socket) relays on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_CHUNK_BYTES = 64 * 1024
_STALLED_LOOK_S = 0.05


class Network:
    """All links of a campaign, on one event loop in a thread of its own; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def link(self, port: int) -> Link:
        """Make a link to ``port`` on loopback; its own ``port`` leads there."""
        return self._made(Link(lambda: asyncio.open_connection("127.0.0.1", port)), None)

    def socket_link(self, target: Path, place: Path) -> Link:
        """Make a link from the Unix socket ``place`` to the Unix socket ``target``."""
        return self._made(Link(lambda: asyncio.open_unix_connection(target)), place)

    def call(self, work: Callable[[], object]) -> None:
        """Run ``work`` on the loop and wait for it."""

        async def run() -> None:
            work()

        self._wait(run())

    def _made(self, link: Link, place: Path | None) -> Link:
        link.network = self
        self._wait(link.listen(place))
        return link

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


_Open = Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Link:
    """One relay. Its faults last until `heal`."""

    def __init__(self, open_target: _Open) -> None:
        self.network: Network
        self.port = 0
        self._open_target = open_target
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut = self._stalled = False
        self._delay_s = 0.0
        self._spoil = 0

    async def listen(self, place: Path | None) -> None:
        """Accept connections at a Unix socket, or at a free port of loopback."""
        if place is not None:
            self._server = await asyncio.start_unix_server(self._accept, place)
            place.chmod(0o777)
            return
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and every new one at once."""
        self._cut = True
        self.network.call(self._abort)

    def stall(self) -> None:
        """Let nothing through, in either direction, and say nothing: what a dead radio link does."""
        self._stalled = True

    def delay(self, seconds: float) -> None:
        """Hold every piece up for ``seconds``, in order."""
        self._delay_s = seconds

    def spoil(self) -> None:
        """Turn one bit of the next piece that passes towards the target."""
        self._spoil += 1

    def heal(self) -> None:
        """End every fault of this link; what stalled meanwhile passes."""
        self._cut = self._stalled = False
        self._delay_s, self._spoil = 0.0, 0

    def _abort(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            target_reader, target_writer = await self._open_target()
        except OSError:
            writer.transport.abort()
            self._connections.discard(writer)
            return
        self._connections.add(target_writer)
        both = (self._pump(reader, target_writer, spoils=True), self._pump(target_reader, writer, spoils=False))
        tasks = [asyncio.create_task(one) for one in both]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
            self._tasks.discard(task)
        for one in (writer, target_writer):
            one.transport.abort()
            self._connections.discard(one)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, spoils: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_CHUNK_BYTES):
                while self._stalled:
                    await asyncio.sleep(_STALLED_LOOK_S)
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if spoils and self._spoil:
                    self._spoil -= 1
                    middle = len(piece) // 2
                    piece = piece[:middle] + bytes([piece[middle] ^ 0x10]) + piece[middle + 1 :]
                sink.write(piece)
                await sink.drain()
