"""The TLS server on which gateways enrol and renew: the one port of ingestion that strangers can reach."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn
from cryptography import x509
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingest.certificate_authority import CertificateAuthority
from ingest.enrolment_http import EnrolmentDesk, enrolment_router
from ingest.errors import HttpServerError
from ingest.handshake import log_refusals

CONNECTION_SECONDS = 20.0
"""How long a connection may last, whatever it does: a client that sends a byte a second holds nothing up."""

MAXIMUM_CONNECTIONS = 500
_MAXIMUM_HEADER_BYTES = 8_192
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (OpenSSL): an expired certificate is refused by us, who can say so and put it on record."""

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_log = logging.getLogger(__name__)


class EnrolmentServer:
    """Serves the routes of enrolment over TLS, from a thread; a context manager.

    :raises HttpServerError: on entry, when the address cannot be had.
    """

    def __init__(self, desk: EnrolmentDesk, host: str, port: int) -> None:
        application = FastAPI(title="shopfloor enrolment", openapi_url=None)
        application.include_router(enrolment_router(desk))
        self._host = host
        self._port = port
        self._context = _context(desk.authority)
        self._authority = desk.authority
        self._listener: socket.socket | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_level="warning",
                lifespan="off",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                http=_Connection,
                ws="none",
                limit_concurrency=MAXIMUM_CONNECTIONS,
                h11_max_incomplete_event_size=_MAXIMUM_HEADER_BYTES,
                ssl_context_factory=lambda _config, _default: self._context,
            )
        )
        self._thread = threading.Thread(target=self._run, name="ingest-enrolment", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    def show_renewed_certificate(self) -> None:
        """Show from now on what stands in the file of the server's certificate."""
        self._context.load_cert_chain(self._authority.files.server, self._authority.files.server_key)

    def __enter__(self) -> Self:
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._listener = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise HttpServerError(
                f"cannot listen on {self._host}:{self._port} for enrolment ({reason}); give another address"
            ) from error
        self._port = self._listener.getsockname()[1]
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise HttpServerError(f"the enrolment server on {self._host}:{self._port} did not start")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._listener is not None:
            self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener] if self._listener is not None else None)


class _Connection(H11Protocol):
    """A connection that ends by itself, and hands on the certificate that its client has shown."""

    _ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ending = self.loop.call_later(CONNECTION_SECONDS, self._end)
        tls = transport.get_extra_info("ssl_object")
        shown = None if tls is None else tls.getpeercert(binary_form=True)
        if shown is not None:
            self.app_state = {**self.app_state, "client_certificate": x509.load_der_x509_certificate(shown)}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._ending is not None:
            self._ending.cancel()

    def _end(self) -> None:
        _log.warning("closed a slow connection from %s after %.0f s", self.client, CONNECTION_SECONDS)
        self.transport.abort()


def _context(authority: CertificateAuthority) -> ssl.SSLContext:
    context: Any = authority.server_context(ask_client=True)
    context.verify_flags |= _NO_CHECK_TIME
    log_refusals(context, _log)
    return context  # type: ignore[no-any-return]
