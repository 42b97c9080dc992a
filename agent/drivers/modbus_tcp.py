"""Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b) on pymodbus.

pymodbus's own retries, reconnects and log output are off: a retry would hide a failed read from the record, and when
to reconnect is decided by the owner of the connection.
"""

from __future__ import annotations

import logging

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from agent.clock import Clock
from agent.drivers import Reading
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

_NEVER = 2**31
_MAXIMUM_EXCEPTION_CODE = 127

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class ModbusTcpConnection:
    """A Modbus TCP client. A read without answer leaves the connection open: others may live behind it."""

    def __init__(self, host: str, port: int, timeout_ms: int, clock: Clock) -> None:
        self._clock = clock
        self._client = AsyncModbusTcpClient(host, port=port, timeout=timeout_ms / 1000, retries=0, reconnect_delay=0)
        self._client.set_max_no_responses(_NEVER)
        self._reads = {
            3: self._client.read_holding_registers,
            4: self._client.read_input_registers,
        }

    @property
    def is_open(self) -> bool:
        """Whether the TCP connection stands, as far as is known."""
        return self._client.connected

    async def open(self) -> bool:
        """Connect within the time-out; tell whether it worked."""
        self._client.close()
        try:
            return await self._client.connect()
        except OSError:
            return False

    async def read(self, unit: int, function: int, address: int, count: int) -> Reading:
        """Read ``count`` registers with function code 3 or 4."""
        clock = self._clock
        time_ms, started = clock.now_ms(), clock.elapsed_ms()
        words = None
        try:
            answer = await self._reads[function](address, count=count, device_id=unit)
        except ConnectionException:
            status = STATUS_CONNECTION
        except ModbusException:
            status = STATUS_TIMEOUT if self._client.connected else STATUS_CONNECTION
        else:
            if answer.isError():
                code = answer.exception_code
                status = code if 0 < code <= _MAXIMUM_EXCEPTION_CODE else STATUS_MALFORMED
            elif answer.function_code != function or len(answer.registers) != count:
                status = STATUS_MALFORMED
            else:
                status, words = STATUS_OK, answer.registers
        round_trip_ms = clock.elapsed_ms() - started
        return Reading(time_ms + round_trip_ms // 2, status, words, round_trip_ms)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def connect(host: str, port: int, timeout_ms: int, clock: Clock) -> ModbusTcpConnection:
    """Return an unopened connection."""
    return ModbusTcpConnection(host, port, timeout_ms, clock)
