"""Runs the web application inside the current process."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import uvicorn
from fastapi import APIRouter
from starlette.types import ASGIApp

from dashboards.application import create_application
from dashboards.errors import AddressInUseError

_START_TIMEOUT_S = 20.0


@contextmanager
def serving(
    database_url: str,
    host: str = "127.0.0.1",
    port: int = 0,
    routers: Sequence[APIRouter] = (),
    *,
    guard: Callable[[ASGIApp], ASGIApp] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serves the dashboards of a database in a thread and yields the address, like `http://127.0.0.1:8000`.

    `routers` are served on the same address, each under its own prefix. `guard` is put around all of it and decides who
    comes in: whoever serves on another address than loopback gives one, and `tls`.
    `port` 0 takes a free one. Raises `AddressInUseError`, and `store.errors.StoreError` when the database is not there.
    """
    application = create_application(database_url, routers)
    try:
        listener = socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        application.state.connections.close()
        # The text of the exception repeats the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise AddressInUseError(f"cannot listen on {host}:{port} ({reason}); choose another --port") from error
    guarded = application if guard is None else guard(application)
    configuration = uvicorn.Config(
        guarded,
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    server = uvicorn.Server(configuration)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="dashboards", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"{'http' if tls is None else 'https'}://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START_TIMEOUT_S)
        listener.close()
