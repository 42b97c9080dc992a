"""Runs the web application inside the current process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn

from dashboards.application import create_application
from dashboards.errors import AddressInUseError

_START_TIMEOUT_S = 20.0


@contextmanager
def serving(database_url: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serves the dashboards of a database in a thread and yields the address, like `http://127.0.0.1:8000`.

    `port` 0 takes a free one. Raises `AddressInUseError`, and `store.errors.StoreError` when the database is not there.
    """
    application = create_application(database_url)
    try:
        listener = socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        application.state.connections.close()
        # The text of the exception repeats the address.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise AddressInUseError(f"cannot listen on {host}:{port} ({reason}); choose another --port") from error
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False, lifespan="on"))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="dashboards", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START_TIMEOUT_S)
        listener.close()
