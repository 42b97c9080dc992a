"""The HTTP side of a running ingestion: is it alive, is it ready, what has it done."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import APIRouter, FastAPI, Response
from starlette.types import ASGIApp

from ingest.errors import HttpServerError
from ingest.metrics import metrics_router
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


def create_application(service: IngestService, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The routes of a started ``service``, and those of ``routers``."""
    application = FastAPI(title="shopfloor ingest", docs_url=None, redoc_url=None, openapi_url=None)
    for router in (status_router(service), metrics_router(service.connections, service.meter.registry), *routers):
        application.include_router(router)
    return application


class StatusServer:
    """Serves `create_application` from a thread; a context manager.

    :param port: TCP port on ``host``.
    :param routers: what else is served on the same port, each router under its own prefix.
    :param guard: put around all of it; it decides who comes in. Whoever serves on another address than loopback gives
        one, and ``tls``: nothing here asks who is reading.
    :raises HttpServerError: on entry, when the port cannot be had.
    """

    def __init__(
        self,
        service: IngestService,
        port: int,
        routers: Sequence[APIRouter] = (),
        *,
        host: str = "127.0.0.1",
        guard: Callable[[ASGIApp], ASGIApp] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        application: ASGIApp = create_application(service, routers)
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        configuration = uvicorn.Config(
            application if guard is None else guard(application),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._run, name="ingest-http", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._listener = socket.create_server((self._host, self._port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise HttpServerError(
                f"cannot listen on {self._host}:{self._port} ({reason}); choose another --http port"
            ) from error
        self._thread.start()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started:
                return self
            if not self._thread.is_alive():
                break
            time.sleep(0.02)
        raise HttpServerError(f"nothing can be served at {self._host}:{self._port}: the server did not start")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._listener is not None:
            self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener] if self._listener is not None else None)
