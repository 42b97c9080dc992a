"""The HTTP side of a running ingestion: is it alive, is it ready, what has it done."""

from __future__ import annotations

import threading
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
        self._failed = threading.Event()
        self._server = uvicorn.Server(
            uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning", lifespan="off")
        )
        self._thread = threading.Thread(target=self._run, name="ingest-http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._server.started:
                return self
            if self._failed.wait(0.02):
                break
        raise HttpServerError(f"nothing can be served at http://127.0.0.1:{self._port}: is the port taken?")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._server.run()
        except SystemExit:
            # How uvicorn says that it cannot bind.
            self._failed.set()
