"""A bus of meters in a gateway file: a serial line, or a transparent serial server with one behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from agent.config import ConnectionConfig
from agent.errors import FrameError
from agent.models import load_template
from agent.octet_link import OctetLink, SerialLink, TcpLink
from agent.serial_line import Parity, SerialLine
from agent.setting import setting, settings


@settings
class MeterBus(ConnectionConfig, ABC):
    """A connection whose devices have a meter ``address`` and are asked for data by identifier.

    A request is the control code ``read_control`` and ``identifier_length`` bytes of identifier.
    """

    read_control: ClassVar[int]
    identifier_length: ClassVar[int]

    @classmethod
    @abstractmethod
    def check_address(cls, address: str) -> None:
        """Raise `FrameError` for what is no meter address."""

    @classmethod
    def check_request(cls, address: str, request: bytes) -> None:
        """Raise `FrameError` for what is no meter address, or no request to read one datum."""
        cls.check_address(address)
        if request[:1] != bytes([cls.read_control]) or len(request) != 1 + cls.identifier_length:
            raise FrameError(
                f"'{request.hex(' ').upper()}' is no request: {cls.read_control:02X} and {cls.identifier_length} bytes "
                "of identifier"
            )

    @abstractmethod
    def link(self) -> OctetLink:
        """Return the line, not yet open."""

    def __post_init__(self) -> None:
        for device in self.devices:
            for name, series in (load_template(device.model).model.every_series() | device.extra_series).items():
                change = device.overrides.get(name)
                request = change.request if change is not None and change.request is not None else series.request
                if not request:
                    raise ValueError(f"device {device.id}: {name} of {device.model} cannot be asked for by identifier")
                try:
                    self.check_request(device.address, request)
                except FrameError as error:
                    raise ValueError(f"device {device.id}: {error}") from error


@settings
class MeterSerialLine(MeterBus, SerialLine):
    """The serial line as both standards have it from the factory: 2400 baud, even parity."""

    baud_rate: int = setting(default=2_400, ge=300, le=4_000_000)
    parity: Parity = Parity.EVEN

    def link(self) -> OctetLink:
        """Return the port, not yet open."""
        return SerialLink(
            self.serial_port,
            baud_rate=self.baud_rate,
            data_bits=self.data_bits,
            parity=self.parity[0].upper(),
            stop_bits=self.stop_bits,
        )


@settings
class MeterHost(MeterBus):
    """A serial server in transparent mode; there is no port that all of them use."""

    host: str = setting(min_length=1)
    port: int = setting(ge=1, le=65_535)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def link(self) -> OctetLink:
        """Return the TCP connection, not yet open."""
        return TcpLink(self.host, self.port, self.timeout)
