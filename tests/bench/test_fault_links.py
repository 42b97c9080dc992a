"""Links of the fault campaign: what passes, what does not, and that healing heals."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from bench.faults.network import Link, Network


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture
def link() -> Iterator[Link]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server, Network() as network:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield network.link(server.server_address[1])
        server.shutdown()


@contextlib.contextmanager
def connected(link: Link) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", link.port), timeout=5) as connection:
        yield connection


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(1024)


def broken(connection: socket.socket) -> bool:
    """Whether nothing comes back any more, and the connection says so."""
    try:
        return echoed(connection, b"again") == b""
    except ConnectionError:
        return True


def test_what_is_sent_passes(link: Link) -> None:
    with connected(link) as connection:
        assert echoed(connection, b"hello") == b"hello"


def test_a_cut_breaks_what_is_open_and_refuses_what_is_new(link: Link) -> None:
    with connected(link) as connection:
        assert echoed(connection, b"hello") == b"hello"
        link.cut()
        assert broken(connection)
    with connected(link) as connection:
        assert broken(connection)
    link.heal()
    with connected(link) as connection:
        assert echoed(connection, b"hello") == b"hello"


def test_a_stall_holds_everything_until_it_is_over(link: Link) -> None:
    with connected(link) as connection:
        link.stall()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            echoed(connection, b"hello")
        link.heal()
        connection.settimeout(5)
        assert connection.recv(1024) == b"hello"


def test_a_spoilt_piece_has_one_bit_turned_and_the_next_is_whole(link: Link) -> None:
    with connected(link) as connection:
        link.spoil()
        spoilt = echoed(connection, b"hello")
        assert sum((one ^ other).bit_count() for one, other in zip(spoilt, b"hello", strict=True)) == 1
        assert echoed(connection, b"hello") == b"hello"
