"""TLS for brokers: who the broker must be, and who the gateway is."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

from agent.config import BrokerConfig
from agent.errors import ConfigurationError


def client_context(config: BrokerConfig) -> ssl.SSLContext:
    """Return the context of connections to the broker of ``config``: TLS 1.2 or later, the host name is checked.

    Trusted are the authorities of ``ca_file`` alone, where it is given, else those of the system. A pinned certificate
    is looked at as soon as the handshake is done, before anything is sent. Raises `ConfigurationError` when a file
    cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if config.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{config.ca_file}: cannot be used as ca_file: {error}") from error
    if config.client_certificate is not None:
        try:
            context.load_cert_chain(config.client_certificate, config.client_key)
        except (OSError, ssl.SSLError) as error:
            files = f"{config.client_certificate}, {config.client_key}"
            raise ConfigurationError(f"{files}: cannot be used as client certificate and key: {error}") from error
    if config.certificate_sha256 is not None:
        context.sslsocket_class = _pinned(config.certificate_sha256)
    return context


def _pinned(digest: str) -> type[ssl.SSLSocket]:
    class PinnedSocket(ssl.SSLSocket):
        """A socket that accepts one certificate only."""

        def do_handshake(self, *arguments: Any, **options: Any) -> None:
            """Shake hands, and refuse a certificate other than the pinned one."""
            super().do_handshake(*arguments, **options)
            shown = hashlib.sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
            if shown != digest:
                raise ssl.SSLCertVerificationError(f"the certificate has SHA-256 {shown}, pinned is {digest}")

    return PinnedSocket
