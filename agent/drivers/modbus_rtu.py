"""Modbus RTU on a serial port (MODBUS over Serial Line Specification and Implementation Guide V1.02)."""

from __future__ import annotations

from pymodbus.client import AsyncModbusSerialClient

from agent.clock import Clock
from agent.modbus import Guard, ModbusConnection, ModbusLine
from agent.serial_line import SerialLine
from agent.setting import settings

_SILENT_CHARACTERS = 3.5
_LEAST_SILENCE_SECONDS = 0.00175
_LAST_UNIT = 247


@settings
class Settings(ModbusLine, SerialLine):
    """A serial line; ``local_echo`` is for two-wire adapters that hear what they send."""

    local_echo: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for device in self.devices:
            if not 1 <= device.unit <= _LAST_UNIT:
                raise ValueError(f"device {device.id}: on a serial line units are 1 to {_LAST_UNIT}")

    @property
    def silence_seconds(self) -> float:
        """The silence between frames: 3.5 characters, and not less than 1.75 ms (2.5.1.1 of the specification)."""
        return max(_SILENT_CHARACTERS * self.character_seconds, _LEAST_SILENCE_SECONDS)


def connect(settings: Settings, clock: Clock) -> ModbusConnection:
    """Return an unopened connection; the port is not used by anybody else while it is open."""

    def client(guard: Guard) -> AsyncModbusSerialClient:
        return AsyncModbusSerialClient(
            settings.serial_port,
            baudrate=settings.baud_rate,
            bytesize=settings.data_bits,
            parity=settings.parity[0].upper(),
            stopbits=settings.stop_bits,
            handle_local_echo=settings.local_echo,
            timeout=settings.timeout / 1000,
            retries=0,
            reconnect_delay=0,
            trace_pdu=guard,
        )

    return ModbusConnection(client, settings, clock, settings.silence_seconds)
