"""The status socket: how a running agent is, for other processes on the same gateway.

A Unix socket in the data directory, which only the agent's user may enter. Whoever connects is sent one JSON document,
then the connection ends. That somebody answers is the proof that the agent runs; nothing is written to disk for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from agent.errors import ConfigurationError, NotRunningError

log = logging.getLogger(__name__)

_NAME = "status.sock"
_PATIENCE_SECONDS = 5.0
_CHUNK = 65_536


@asynccontextmanager
async def answering(directory: Path, document: Callable[[], Awaitable[dict[str, Any]]]) -> AsyncIterator[None]:
    """Answer everybody who connects in ``directory`` with a new ``document``, while inside.

    To be entered by the holder of the spool only: what an earlier agent left of its socket is removed. A directory that
    takes no socket costs the status, not the records.
    """

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(json.dumps(await document(), ensure_ascii=False).encode())
            await writer.drain()
        writer.close()

    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short(directory) as address:
            (directory / _NAME).unlink(missing_ok=True)
            listener.bind(address)
            (directory / _NAME).chmod(0o600)
    except OSError as error:
        log.warning("%s: no status for other processes: %s", directory / _NAME, error)
        listener.close()
        yield
        return
    server = await asyncio.start_unix_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        with contextlib.suppress(OSError):
            (directory / _NAME).unlink()


def ask(directory: Path) -> dict[str, Any]:
    """Return the status document of the agent whose data directory is ``directory``.

    Raises `NotRunningError` when nobody answers there.
    """
    received = bytearray()
    try:
        with _short(directory) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_SECONDS)
            connection.connect(address)
            while chunk := connection.recv(_CHUNK):
                received += chunk
        document: dict[str, Any] = json.loads(received)
    except TimeoutError as error:
        raise NotRunningError(
            f"the agent of {directory} runs but does not answer within {_PATIENCE_SECONDS:g} s; restart it"
        ) from error
    except PermissionError as error:
        raise NotRunningError(f"{directory}: only the user of the agent may ask for its status: {error}") from error
    except (OSError, ValueError) as error:
        raise NotRunningError(f"no agent runs with the data directory {directory}: {error}") from error
    return document


def data_directory_of(path: Path) -> Path:
    """Return the data directory that a gateway file names, whatever else is wrong with the file.

    It may be under repair while the agent goes on with what it read before. Raises `ConfigurationError` when the file
    cannot be read or names none, `DocumentError` when it is no YAML.
    """
    from wire.document import read_document  # noqa: PLC0415 - for those who ask; the agent itself answers

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    data = read_document(text, str(path)).data
    name = data.get("data_directory") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise ConfigurationError(f"{path}: data_directory: is missing; add it")
    return path.resolve().parent / name


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """Yield an address of the socket that is short enough for ``struct sockaddr_un``, wherever the directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
