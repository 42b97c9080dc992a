"""The way in for gateways: where they enrol, and what the broker knows of them."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from ingest.broker_reload import Broker, BrokerAccess
from ingest.certificate_authority import CertificateAuthority
from ingest.enrolment_http import EnrolmentDesk, Site
from ingest.enrolment_server import EnrolmentServer
from store.database import connect, pool, transaction
from store.migrations import migrate


class Gate:
    """Serves enrolment on ``host`` and ``port``, and keeps ``broker`` told who may connect; a context manager.

    ``broker`` is None when another process tells it.

    Brings the tables forward first. Raises on entry what `store.database.connect` raises, `HttpServerError` when the
    address cannot be had, and `BrokerError` when the broker cannot be told.
    """

    def __init__(
        self,
        database_url: str,
        authority: CertificateAuthority,
        broker: Broker | None,
        site: Site,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._database_url = database_url
        self._authority = authority
        self._broker = broker
        self._site = site
        self._address = (host, port)
        self._stack = contextlib.ExitStack()

    @property
    def port(self) -> int:
        """The port on which gateways enrol."""
        return self._server.port

    def __enter__(self) -> Self:
        with connect(self._database_url) as conn:
            migrate(conn)
        with contextlib.ExitStack() as stack:
            connections = stack.enter_context(pool(self._database_url, max_size=4))
            access = BrokerAccess(lambda: transaction(connections), self._authority, self._broker, self._refreshed)
            desk = EnrolmentDesk(lambda: transaction(connections), self._authority, self._site, access.apply)
            self._server = EnrolmentServer(desk, *self._address)
            stack.enter_context(access)
            stack.enter_context(self._server)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _refreshed(self) -> None:
        self._server.show_renewed_certificate()
