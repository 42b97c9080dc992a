"""The line that simulated meters hang on: a TCP port like that of a transparent serial server, or a pseudo terminal.

Every byte that arrives is looked at; every complete request is answered with what ``reply`` makes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tty
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import zip_longest
from operator import and_
from types import TracebackType
from typing import Generic, Self, TypeVar

from agent.frame_scan import FrameScanner

F = TypeVar("F")


class MeterLine(Generic[F]):
    """Meters that share a line.

    ``parse`` finds frames as `agent.frame_scan.FrameScanner` wants it; ``reply`` returns the bytes that go back, none
    when no meter feels addressed. With ``echo`` the line sends back what it receives, as two-wire converters do.
    """

    def __init__(
        self, parse: Callable[[bytes], tuple[F, int] | None], reply: Callable[[F], bytes], *, echo: bool = False
    ) -> None:
        self._parse = parse
        self._reply = reply
        self._echo = echo
        self._server: asyncio.Server | None = None
        self._terminal: tuple[int, int] | None = None
        self._connections: set[asyncio.Transport] = set()

    async def listen(self, host: str, port: int) -> int:
        """Serve TCP connections; return the port, a free one when ``port`` is 0."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def open_terminal(self) -> str:
        """Open a pseudo terminal and return the path of the end that a master opens as its serial port."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._terminal = master, slave
        scanner = FrameScanner(self._parse)
        loop = asyncio.get_running_loop()
        loop.add_reader(master, lambda: os.write(master, self.respond(scanner, os.read(master, 4096))))
        return os.ttyname(slave)

    def respond(self, scanner: FrameScanner[F], data: bytes) -> bytes:
        """Return what the line carries after ``data`` came in on it."""
        answers = b"".join(self._reply(frame) for frame in scanner.feed(data))
        return data + answers if self._echo else answers

    def scanner(self) -> FrameScanner[F]:
        """Return what finds the requests of one master."""
        return FrameScanner(self._parse)

    def connected(self, transport: asyncio.Transport) -> None:
        """Take a new connection."""
        self._connections.add(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._connections.discard(transport)

    async def close(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
            for transport in tuple(self._connections):
                transport.abort()
            await self._server.wait_closed()
            self._server = None
        if self._terminal is not None:
            asyncio.get_running_loop().remove_reader(self._terminal[0])
            for descriptor in self._terminal:
                os.close(descriptor)
            self._terminal = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def together(answers: Iterable[bytes], *, collide: bool) -> bytes:
    """Return what a line carries when stations send ``answers``: one behind the other, or when they ``collide`` all at
    the same time, and then a 0 of one drowns the 1 of another, as on RS-485.
    """
    sent = list(answers)
    if not collide:
        return b"".join(sent)
    return bytes(reduce(and_, octets) for octets in zip_longest(*sent, fillvalue=0xFF))


def options_of(program: str, description: str, address: str) -> argparse.ArgumentParser:
    """Return the command line of a simulated meter; ``address`` is the meter's unless another is given."""
    parser = argparse.ArgumentParser(prog=program, description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--address", default=address, help="number of the meter (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--terminal", action="store_true", help="a pseudo terminal instead of TCP")
    parser.add_argument("--echo", action="store_true", help="send back what comes in, as two-wire converters do")
    return parser


def serve(line: MeterLine[F], options: argparse.Namespace) -> int:
    """Serve ``line`` where the command line says until interrupted; exit code 3 when the port cannot be had."""

    async def run() -> None:
        async with line:
            if options.terminal:
                place = line.open_terminal()
            else:
                place = f"{options.host}:{await line.listen(options.host, options.port)}"
            print(f"meter {options.address} at {place}", flush=True)  # noqa: T201 - where to find it
            await asyncio.Event().wait()

    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run())
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}; give another --port\n")
        return 3
    return 0


class _Connection(asyncio.Protocol, Generic[F]):
    def __init__(self, line: MeterLine[F]) -> None:
        self._line = line
        self._scanner = line.scanner()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._line.connected(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(self._line.respond(self._scanner, data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        if self._transport is not None:
            self._line.disconnected(self._transport)
