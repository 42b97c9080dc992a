"""TLS handshakes that fail are told: neither asyncio nor uvicorn says a word about a connection that ended before it
began."""

from __future__ import annotations

import logging
import ssl


def log_refusals(context: ssl.SSLContext, log: logging.Logger) -> None:
    """Make servers that use ``context`` say in ``log`` why they refused a handshake."""

    class LoggedHandshake(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                log.warning(
                    "refused a connection that is not TLS as it is spoken here, or shows a foreign certificate: %s",
                    error.reason,
                )
                raise

    context.sslobject_class = LoggedHandshake
