"""A serial port in a gateway file: what every protocol on a serial line needs to be told."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from agent.config import ConnectionConfig
from agent.setting import setting, settings


class Parity(StrEnum):
    """The parity bit of a character."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


@settings
class SerialLine(ConnectionConfig):
    """A connection over a serial port: ``/dev/ttyUSB0``, or a link in ``/dev/serial/by-id/`` that stays the same."""

    serial_port: str = setting(min_length=1)
    baud_rate: int = setting(default=9_600, ge=300, le=4_000_000)
    data_bits: Literal[7, 8] = 8
    parity: Parity = Parity.NONE
    stop_bits: Literal[1, 2] = 1

    @property
    def address(self) -> str:
        """The port with its settings, as in ``/dev/ttyUSB0 9600 8E1``."""
        return f"{self.serial_port} {self.baud_rate} {self.data_bits}{self.parity[0].upper()}{self.stop_bits}"

    @property
    def exclusive(self) -> str:
        """The serial port."""
        return self.serial_port

    @property
    def character_seconds(self) -> float:
        """How long one character is on the line: start bit, data, parity and stop bits."""
        return (1 + self.data_bits + (self.parity is not Parity.NONE) + self.stop_bits) / self.baud_rate
