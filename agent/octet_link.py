"""A line that carries bytes both ways: a serial port, or TCP to a converter that passes them on to one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from abc import ABC, abstractmethod

import serial

_READ_SIZE = 4096
_WRITE_SECONDS = 0.5
"""A request fits into what the kernel keeps: longer than this only a port takes that is stuck."""


class OctetLink(ABC):
    """What is received is kept until it is asked for; a lost line shows at the next `receive`."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._news = asyncio.Event()
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether the line stands, as far as is known."""
        return self._open

    @abstractmethod
    async def open(self) -> bool:
        """Open the line; tell whether it worked. Never raises for what the other side or the machine does."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send ``data``; raise `ConnectionError` when the line is lost."""

    @abstractmethod
    def close(self) -> None:
        """Close the line; does nothing when it is closed."""

    async def receive(self, seconds: float) -> bytes:
        """Return what came since the last call, at once or after up to ``seconds``; nothing when nothing came.

        Raises `ConnectionError` when the line is lost and nothing is left.
        """
        if not self._received and self._open:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        if self._received:
            data = bytes(self._received)
            self._received.clear()
            return data
        if not self._open:
            raise ConnectionError("the line is lost")
        return b""

    def discard(self) -> None:
        """Forget what was received and not asked for."""
        self._received.clear()

    def _take(self, data: bytes) -> None:
        self._received += data
        self._news.set()

    def _opened(self) -> None:
        self._received.clear()
        self._open = True

    def _lost(self) -> None:
        self._open = False
        self._news.set()


class TcpLink(OctetLink):
    """TCP to a transparent serial server."""

    def __init__(self, host: str, port: int, timeout_ms: int) -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._timeout_ms = timeout_ms
        self._transport: asyncio.Transport | None = None

    async def open(self) -> bool:
        """Connect within the time-out; tell whether it worked."""
        self.close()
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: _Receiver(self), self._host, self._port
                )
        except (OSError, TimeoutError):
            return False
        self._transport = transport
        self._opened()
        return True

    def send(self, data: bytes) -> None:
        """Send ``data``; raise `ConnectionError` when the connection is lost."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("not connected")
        self._transport.write(data)

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._lost()

    def received(self, transport: asyncio.BaseTransport, data: bytes) -> None:
        """Take what came on ``transport``, unless it is a connection given up before."""
        if self._transport is None or transport is self._transport:
            self._take(data)

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """Note that ``transport`` is lost."""
        if transport is self._transport:
            self._lost()


class _Receiver(asyncio.Protocol):
    def __init__(self, link: TcpLink) -> None:
        self._link = link
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._link.received(self._transport, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        if self._transport is not None:
            self._link.lost(self._transport)


class SerialLink(OctetLink):
    """A serial port, for this process alone; ``parity`` is ``N``, ``E`` or ``O``."""

    def __init__(self, path: str, *, baud_rate: int, data_bits: int, parity: str, stop_bits: int) -> None:
        super().__init__()
        self._path = path
        self._baud_rate = baud_rate
        self._data_bits = data_bits
        self._parity = parity
        self._stop_bits = stop_bits
        self._port: serial.Serial | None = None

    async def open(self) -> bool:
        """Open the port; tell whether it worked."""
        self.close()
        try:
            port = serial.Serial(
                self._path,
                baudrate=self._baud_rate,
                bytesize=self._data_bits,
                parity=self._parity,
                stopbits=self._stop_bits,
                timeout=0,
                write_timeout=_WRITE_SECONDS,
                exclusive=True,
            )
        except (OSError, ValueError):
            return False
        self._port = port
        self._opened()
        asyncio.get_running_loop().add_reader(port.fileno(), self._readable)
        return True

    def send(self, data: bytes) -> None:
        """Send ``data``; raise `ConnectionError` when the port is lost."""
        if self._port is None:
            raise ConnectionError(f"{self._path} is not open")
        try:
            self._port.write(data)
        except OSError as error:
            self.close()
            raise ConnectionError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the port."""
        if self._port is not None:
            asyncio.get_running_loop().remove_reader(self._port.fileno())
            self._port.close()
            self._port = None
        self._lost()

    def _readable(self) -> None:
        if self._port is None:
            return
        try:
            data = os.read(self._port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.close()
