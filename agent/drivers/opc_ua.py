"""OPC UA (OPC 10000), reading only, over opc.tcp.

The nodes that a device's series name are subscribed to, or polled. Everything that needs the protocol stack is in
`agent.opc_ua` and imported when such a connection starts.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from agent.clock import Clock
from agent.config import ConnectionConfig, Duration
from agent.setting import Checked, setting, settings

if TYPE_CHECKING:
    from agent.opc_ua.reader import OpcUaReader
    from agent.poller import PolledDevice
    from agent.recorder import Recorder


class Security(StrEnum):
    """Security policies (OPC 10000-7), by the names that servers show; the older ones are broken and left out."""

    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128 = "Aes128_Sha256_RsaOaep"
    AES256 = "Aes256_Sha256_RsaPss"


def _server_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "opc.tcp" or not parts.hostname or parts.username is not None:
        raise ValueError("write opc.tcp://host:port/path; user name and password are keys of their own")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("the port must be a number from 1 to 65535") from error
    return value if parts.port is not None else parts._replace(netloc=f"{parts.netloc}:4840").geturl()


@settings
class Settings(ConnectionConfig):
    """One OPC UA server.

    ``interval`` of a device is how often every node of it is on record at least: in mode ``polling`` it is read so
    often, with a subscription a node that brought nothing meanwhile is, which also shows when a server has silently
    stopped to send.
    """

    url: Annotated[str, Checked(_server_url)] = setting(description="Address of the server: opc.tcp://host:port/path.")
    security: Security = setting(default=Security.BASIC256SHA256, description="Security policy that the server offers.")
    mode: Literal["Sign", "SignAndEncrypt"] = setting(
        default="SignAndEncrypt", description="What is done to every message, unless security is None."
    )
    certificates: Path = setting(
        default=Path("opc-ua"), description="Folder of the agent's certificate and of the servers that it trusts."
    )
    username: str | None = setting(default=None, description="Log in with this user name.")
    password: str | None = setting(default=None, repr=False, description="The password of the user name.")
    user_certificate_file: Path | None = setting(default=None, description="Log in with this certificate (DER or PEM).")
    user_key_file: Path | None = setting(default=None, description="The RSA key of the user certificate, PEM.")
    reading: Literal["subscription", "polling"] = setting(
        default="subscription", description="Let the server send changes, or ask for the values."
    )
    sampling: Duration = setting(
        default=1_000, ge=10, le=3_600_000, description="How often the server looks for a change of a value."
    )
    publishing: Duration = setting(
        default=1_000, ge=50, le=60_000, description="How often the server sends what has changed."
    )
    queue: int = setting(
        default=100, ge=1, le=10_000, description="Changes of one node that the server keeps until it sends them."
    )

    def __post_init__(self) -> None:
        if (self.user_certificate_file is None) != (self.user_key_file is None):
            raise ValueError("user_certificate_file and user_key_file belong together; give both or none")
        if self.username is not None and self.user_certificate_file is not None:
            raise ValueError("log in with a user name or with a certificate, not with both")
        if self.security is Security.NONE and self.username is not None:
            raise ValueError("a password is not sent over a connection that anybody can read: choose another security")
        for device in self.devices:
            for name, series in device.effective_series().items():
                if not series.node:
                    raise ValueError(f"device {device.id}: {name} of {device.model} names no node")

    @property
    def address(self) -> str:
        """The address of the server."""
        return self.url

    @property
    def sends_every_ms(self) -> int | None:
        """How often the server looks for changes, when there is a subscription."""
        return self.sampling if self.reading == "subscription" else None


def collect(settings: Settings, devices: list[PolledDevice], recorder: Recorder, clock: Clock) -> OpcUaReader:
    """Return what reads the server on its own schedule, not yet running."""
    from agent.opc_ua.reader import OpcUaReader  # noqa: PLC0415 - only a gateway with OPC UA loads the stack

    return OpcUaReader(settings, devices, recorder, clock)
