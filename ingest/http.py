"""The HTTP side of a running ingestion: is it alive, is it ready, what has it done."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import asdict
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import APIRouter, FastAPI, Response

from ingest.errors import HttpServerError
from ingest.service import IngestService

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_HTTP_UNAVAILABLE = 503


def status_router(service: IngestService) -> APIRouter:
    """Return the routes over a started ``service``."""
    router = APIRouter()

    @router.get("/healthz")
    def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    def readiness(response: Response) -> dict[str, bool]:
        """Records that arrive now can be committed: broker and database answer. Status 503 when they do not."""
        ready = {"broker": service.stats().connected, "database": service.database_answers()}
        if not all(ready.values()):
            response.status_code = _HTTP_UNAVAILABLE
        return ready

    @router.get("/api/ingest/status")
    def status() -> dict[str, object]:
        """What this process has done since it started."""
        return asdict(service.stats())

    return router


class StatusServer:
    """Serves `status_router` from a thread; a context manager. Binds to loopback: nothing here asks who is reading.

    :param port: TCP port on 127.0.0.1.
    :raises HttpServerError: on entry, when the port cannot be had.
    """

    def __init__(self, service: IngestService, port: int) -> None:
        application = FastAPI(title="shopfloor ingest", openapi_url=None)
        application.include_router(status_router(service))
        self._port = port
        self._listener: socket.socket | None = None
        self._server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self._run, name="ingest-http", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._listener = socket.create_server(("127.0.0.1", self._port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise HttpServerError(
                f"cannot listen on 127.0.0.1:{self._port} ({reason}); choose another --http port"
            ) from error
        self._thread.start()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            time.sleep(0.02)
        raise HttpServerError(f"nothing can be served at http://127.0.0.1:{self._port}: the server did not start")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._listener is not None:
            self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener] if self._listener is not None else None)
