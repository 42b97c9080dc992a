"""OPC UA (OPC 10000), reading only, over opc.tcp.

The nodes that a device's series name are subscribed to, or polled. Everything that needs the protocol stack is in
`agent.opc_ua` and imported when such a connection starts.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from agent.clock import Clock
from agent.config import ConnectionConfig, Duration

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


class Settings(ConnectionConfig):
    """One OPC UA server.

    ``interval`` of a device is how often every node of it is on record at least: in mode ``polling`` it is read so
    often, with a subscription a node that brought nothing meanwhile is, which also shows when a server has silently
    stopped to send.
    """

    url: Annotated[str, Field(description="Address of the server: opc.tcp://host:port/path.")]
    security: Annotated[Security, Field(description="Security policy that the server offers.")] = (
        Security.BASIC256SHA256
    )
    mode: Annotated[
        Literal["Sign", "SignAndEncrypt"], Field(description="What is done to every message, unless security is None.")
    ] = "SignAndEncrypt"
    certificates: Annotated[
        Path, Field(description="Folder of the agent's certificate and of the servers that it trusts.")
    ] = Path("opc-ua")
    username: Annotated[str | None, Field(description="Log in with this user name.")] = None
    password: Annotated[str | None, Field(repr=False, description="The password of the user name.")] = None
    user_certificate_file: Annotated[Path | None, Field(description="Log in with this certificate (DER or PEM).")] = (
        None
    )
    user_key_file: Annotated[Path | None, Field(description="The RSA key of the user certificate, PEM.")] = None
    reading: Annotated[
        Literal["subscription", "polling"], Field(description="Let the server send changes, or ask for the values.")
    ] = "subscription"
    sampling: Annotated[
        Duration, Field(ge=10, le=3_600_000, description="How often the server looks for a change of a value.")
    ] = 1_000
    publishing: Annotated[
        Duration, Field(ge=50, le=60_000, description="How often the server sends what has changed.")
    ] = 1_000
    queue: Annotated[
        int, Field(ge=1, le=10_000, description="Changes of one node that the server keeps until it sends them.")
    ] = 100

    @field_validator("url")
    @classmethod
    def _url_is_opc_tcp(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "opc.tcp" or not parts.hostname or parts.username is not None:
            raise ValueError("write opc.tcp://host:port/path; user name and password are keys of their own")
        try:
            _ = parts.port
        except ValueError as error:
            raise ValueError("the port must be a number from 1 to 65535") from error
        return value if parts.port is not None else parts._replace(netloc=f"{parts.netloc}:4840").geturl()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
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
        return self

    @property
    def address(self) -> str:
        """The address of the server."""
        return self.url

    @property
    def sends_every_ms(self) -> int | None:
        """How often the server looks for changes, when there is a subscription."""
        return self.sampling if self.reading == "subscription" else None

    def placed_in(self, directory: Path) -> Self:
        """Return the settings with the files relative to ``directory``."""
        files = {"certificates": self.certificates, "user_key_file": self.user_key_file}
        files["user_certificate_file"] = self.user_certificate_file
        return self.model_copy(update={name: directory / path for name, path in files.items() if path is not None})


def collect(settings: Settings, devices: list[PolledDevice], recorder: Recorder, clock: Clock) -> OpcUaReader:
    """Return what reads the server on its own schedule, not yet running."""
    from agent.opc_ua.reader import OpcUaReader  # noqa: PLC0415 - only a gateway with OPC UA loads the stack

    return OpcUaReader(settings, devices, recorder, clock)
