"""Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b)."""

from __future__ import annotations

from pymodbus.client import AsyncModbusTcpClient

from agent.clock import Clock
from agent.modbus import Guard, ModbusConnection, ModbusHost


class Settings(ModbusHost):
    """A Modbus TCP server, or a gateway with serial devices behind it."""


def connect(settings: Settings, clock: Clock) -> ModbusConnection:
    """Return an unopened connection."""

    def client(guard: Guard) -> AsyncModbusTcpClient:
        return AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            timeout=settings.timeout / 1000,
            retries=0,
            reconnect_delay=0,
            trace_pdu=guard,
        )

    return ModbusConnection(client, settings, clock)
