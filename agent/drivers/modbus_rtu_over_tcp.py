"""Modbus RTU frames inside a TCP connection: what transparent serial-to-Ethernet converters (串口服务器) carry.

The converter knows nothing of Modbus: frames have a checksum and no header. How fast the line behind it is, nobody says
here; where a device needs more silence than the next request takes to arrive, ``pause_between_requests`` makes it.
"""

from __future__ import annotations

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerType

from agent.clock import Clock
from agent.modbus import Guard, ModbusConnection, ModbusHost


class Settings(ModbusHost):
    """A converter in transparent mode with the devices of its serial side."""


def connect(settings: Settings, clock: Clock) -> ModbusConnection:
    """Return an unopened connection."""

    def client(guard: Guard) -> AsyncModbusTcpClient:
        return AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            framer=FramerType.RTU,
            timeout=settings.timeout / 1000,
            retries=0,
            reconnect_delay=0,
            trace_pdu=guard,
        )

    return ModbusConnection(client, settings, clock)
