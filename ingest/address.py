"""Where the broker is: one that speaks MQTT, or a cluster of NATS servers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ingest.errors import BrokerAddressError

MQTT_PORT = 1883
MQTTS_PORT = 8883
"""The registered ports of MQTT without and with TLS (IANA service names)."""

NATS_PORT = 4222
"""The registered port of NATS, with and without TLS."""

NATS_SCHEMES = frozenset({"nats", "tls"})


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker; ``tls`` checks its certificate against the authorities of the system, or as ``context`` says.

    ``context`` makes what a connection needs to know of certificates; a new one for each connection.
    """

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    context: Callable[[], ssl.SSLContext] = field(default=ssl.create_default_context, compare=False, repr=False)

    @classmethod
    def from_url(cls, url: str) -> BrokerAddress:
        """Read ``mqtt://[user[:password]@]host[:port]`` or ``mqtts://...``; raise `BrokerAddressError` for others."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BrokerAddressError(f"the broker address '{url}' cannot be read: {error}") from error
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.path not in {"", "/"}:
            raise BrokerAddressError(
                f"the broker address '{url}' cannot be used: write it like mqtt://host:{MQTT_PORT} or mqtts://host:{MQTTS_PORT}"
            )
        tls = parts.scheme == "mqtts"
        return cls(
            host=parts.hostname,
            port=port or (MQTTS_PORT if tls else MQTT_PORT),
            tls=tls,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """The servers of one NATS cluster, as ``host:port``; ``tls`` and ``context`` as for `BrokerAddress`."""

    servers: tuple[str, ...]
    tls: bool
    username: str | None
    password: str | None
    context: Callable[[], ssl.SSLContext] = field(default=ssl.create_default_context, compare=False, repr=False)

    @classmethod
    def from_url(cls, url: str) -> NatsAddress:
        """Read ``nats://[user[:password]@]host[:port][,host[:port]...]`` or ``tls://...``.

        Raises `BrokerAddressError` for others.
        """
        scheme, _, rest = url.partition("://")
        login, _, hosts = rest.removesuffix("/").rpartition("@")
        servers = []
        for host in hosts.split(","):
            try:
                parts = urlsplit(f"//{host}")
                port = parts.port or NATS_PORT
            except ValueError as error:
                raise BrokerAddressError(f"the broker address '{url}' cannot be read: {error}") from error
            if scheme not in NATS_SCHEMES or not parts.hostname or parts.netloc != host or parts.username is not None:
                raise BrokerAddressError(
                    f"the broker address '{url}' cannot be used: write it like nats://host:{NATS_PORT},host:{NATS_PORT}"
                )
            name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            servers.append(f"{name}:{port}")
        user, colon, password = login.partition(":")
        return cls(
            servers=tuple(servers),
            tls=scheme == "tls",
            username=unquote(user) if user else None,
            password=unquote(password) if colon else None,
        )

    def __str__(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://{','.join(self.servers)}"


def address_from_url(url: str) -> BrokerAddress | NatsAddress:
    """Read the address of a broker; its scheme says what is spoken. Raises `BrokerAddressError`."""
    return NatsAddress.from_url(url) if url.partition("://")[0] in NATS_SCHEMES else BrokerAddress.from_url(url)
