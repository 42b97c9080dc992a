"""Where the MQTT broker is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ingest.errors import BrokerAddressError

MQTT_PORT = 1883
MQTTS_PORT = 8883
"""The registered ports of MQTT without and with TLS (IANA service names)."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker; ``tls`` checks its certificate against the authorities of the system."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

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
