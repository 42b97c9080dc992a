"""Where pages and API are served, and the rule for it: loopback as it is, anywhere else with TLS and users only."""

from __future__ import annotations

import argparse
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ingest.handshake import log_refusals
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.gate import Guard, LockedGate, OpenGate
from shopfloor.access.users import UserFile
from shopfloor.errors import AccessError
from store.database import pool
from store.readers import Scope
from wire.errors import fault_text

_CONNECTIONS = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """An address on which it is safe to serve; without ``tls`` and ``users`` it is one of loopback."""

    host: str
    tls: ssl.SSLContext | None = None
    users: UserFile | None = None

    @contextmanager
    def guard(self, database_url: str, scope: Scope) -> Iterator[Guard]:
        """What puts a gate around an application for as long as the block lasts.

        :param scope: what a token needs for all that is neither the read API nor asked for by monitoring.
        :raises store.errors.StoreError: the database with tokens and sessions does not answer.
        """
        with pool(database_url, _CONNECTIONS) as connections:
            doorkeeper = Doorkeeper(connections, self.users)
            gate = OpenGate if self.users is None else LockedGate
            yield lambda application: gate(application, doorkeeper, scope)


def listening(options: argparse.Namespace, host: str) -> Listening:
    """The address ``host`` under the options of `shopfloor.arguments.add_access`.

    :raises AccessError: it is not loopback and TLS or users are missing; one was given without the other; or the files
        cannot be used.
    """
    given = {"--tls-cert": options.tls_cert, "--tls-key": options.tls_key, "--users": options.users}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given) and is_loopback(host):
        return Listening(host)
    if missing:
        where = "with login" if is_loopback(host) else f"on {host}, which others can reach"
        raise AccessError(
            f"nothing is served {where}, without {', '.join(missing)}: add {'them' if len(missing) > 1 else 'it'} "
            "(a user is made with: shopfloor users add NAME --users FILE), or listen on 127.0.0.1 without any of them"
        )
    users = UserFile(options.users)
    if not users.names:
        raise AccessError(f"{options.users}: names nobody; run: shopfloor users add NAME --users {options.users}")
    return Listening(host, _server_context(options.tls_cert, options.tls_key), users)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, with the ciphers that Python thinks safe."""
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise AccessError(f"{path}: cannot be read: {fault_text(error)}") from error
    if key.stat().st_mode & 0o077:
        raise AccessError(f"{key}: other users of this machine may read this key; run: chmod 600 {key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    log_refusals(context, _log)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise AccessError(
            f"{certificate} and {key}: are no certificate chain (PEM) and its private key without password: {error}"
        ) from error
    return context
