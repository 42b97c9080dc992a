"""What all Modbus connections share: function codes 1 to 4 (MODBUS Application Protocol V1.1b3) on pymodbus.

pymodbus's own retries, reconnects and log output are off: a retry would hide a failed read from the record, and when to
reconnect is decided by the owner of the connection. Nothing but a read can leave: the connection passes no other
request, and every request is looked at once more on its way out.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
)

from agent.clock import Clock
from agent.config import ConnectionConfig, Duration
from agent.drivers import Reading
from agent.errors import ForbiddenRequestError
from agent.models import load_template
from agent.setting import setting, settings
from wire.frame import STATUS_CONNECTION, STATUS_MALFORMED, STATUS_OK, STATUS_TIMEOUT

_MAXIMUM_EXCEPTION_CODE = 127
_EXCEPTION = 0x80
_UNLIMITED = 2**31
_READS: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
_BITS = frozenset({1, 2})

log = logging.getLogger(__name__)
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


@settings
class ModbusLine(ConnectionConfig):
    """The fields of every Modbus connection.

    ``pause_after_connect`` and ``pause_between_requests`` are for devices and converters that need time to themselves.
    """

    pause_after_connect: Duration | None = setting(default=None, le=60_000)
    pause_between_requests: Duration | None = setting(default=None, le=60_000)

    def __post_init__(self) -> None:
        for device in self.devices:
            for name, series in (load_template(device.model).model.series | device.extra_series).items():
                if not series.function:
                    raise ValueError(f"device {device.id}: {name} of {device.model} does not stand in registers")


@settings
class ModbusHost(ModbusLine):
    """The fields of Modbus over a network."""

    host: str = setting(min_length=1)
    port: int = setting(default=502, ge=1, le=65_535)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"


class _HoldingRegisters(ReadHoldingRegistersResponse):
    """The answer to function code 3, in a fifth of the time: unpacked at once and not register by register, and named
    in short, because pymodbus words every answer for its log, written or not."""

    def decode(self, data: bytes) -> None:
        size = data[0]
        if size >= len(data):
            raise ModbusIOException(f"{size} bytes of registers announced, {len(data) - 1} came", self.function_code)
        self.registers = list(struct.unpack_from(f">{size // 2}H", data, 1))

    def __str__(self) -> str:
        return f"{len(self.registers)} registers"


class _InputRegisters(_HoldingRegisters):
    """The answer to function code 4."""

    function_code = 4


REGISTER_ANSWERS: tuple[type[ModbusPDU], ...] = (_HoldingRegisters, _InputRegisters)

Guard = Callable[[bool, ModbusPDU], ModbusPDU]
"""What a pymodbus client calls with every message, and whether it is on its way out."""


class ModbusConnection:
    """One Modbus connection. A read without answer leaves it open: other devices may live behind it.

    ``make_client`` gets a `Guard` to call and returns an unconnected client without retries and reconnects.
    ``silence_seconds`` is how long the line must have been quiet before a request.
    """

    def __init__(
        self,
        make_client: Callable[[Guard], ModbusBaseClient],
        settings: ModbusLine,
        clock: Clock,
        silence_seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._silence = max(silence_seconds, (settings.pause_between_requests or 0) / 1000)
        self._settling = (settings.pause_after_connect or 0) / 1000
        self._client = make_client(_only_reads)
        self._client.set_max_no_responses(_UNLIMITED)
        for answer in REGISTER_ANSWERS:
            self._client.register(answer)
        self._decode = self._client.ctx.callback_data
        self._client.ctx.callback_data = self._received  # type: ignore[method-assign]
        self._create = self._client.ctx.call_create
        self._client.ctx.call_create = self._created
        self._numbered = isinstance(self._client.ctx.framer, FramerSocket)
        self._name = settings.id
        self._reason = self._told = ""
        self._heard = False
        self._last_activity = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._client.connected

    async def open(self) -> bool:
        """Connect within the time-out; tell whether it worked. Why it did not is logged once."""
        self._client.close()
        self._reason = "no answer within the time-out"
        if await self._client.connect():
            self._told = ""
            await asyncio.sleep(self._settling)
            return True
        if self._reason != self._told:
            log.warning("%s: cannot be opened: %s", self._name, self._reason)
            self._told = self._reason
        return False

    async def read(self, unit: int, function: int, address: int, count: int) -> Reading:
        """Read ``count`` registers, or bits (function codes 1 and 2) as one word each, 0 or 1."""
        if self._silence:
            await self._quiet()
        clock = self._clock
        time_ms, started = clock.now_ms(), clock.elapsed_ms()
        request = _READS[function](address=address, count=count, dev_id=unit)
        words = None
        self._heard = False
        try:
            answer = await self._client.execute(False, request)
        except ConnectionException:
            status = STATUS_CONNECTION
        except ModbusException:
            status = self._unanswered()
        else:
            status, words = _result(answer, function, count)
        self._last_activity = time.monotonic()
        round_trip_ms = clock.elapsed_ms() - started
        return Reading(time_ms + round_trip_ms // 2, status, words, round_trip_ms)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    async def _created(self) -> Any:
        """Let pymodbus connect, which does not tell why it could not."""
        try:
            return await self._create()
        except (OSError, ValueError, termios.error) as error:
            # The last two: a serial port that does not know the baud rate, or the parity.
            self._reason = str(error)
            raise OSError(self._reason) from error

    def _unanswered(self) -> int:
        if not self._client.connected:
            return STATUS_CONNECTION
        return STATUS_MALFORMED if self._heard else STATUS_TIMEOUT

    async def _quiet(self) -> None:
        wait = self._last_activity + self._silence - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def _received(self, data: bytes, addr: tuple[str, int] | None = None) -> int:
        """Let pymodbus decode ``data``, which it gives up on with all sorts of exceptions when it is garbage."""
        self._last_activity = time.monotonic()
        try:
            used = self._decode(data, addr)
        except Exception:
            waiting = self._client.ctx.response_future
            if not waiting.done():
                waiting.set_result(ExceptionResponse(0))
            used, self._heard = len(data), True
        # Where answers are numbered, a whole one that is not used up belongs to an earlier request: it is only late.
        self._heard = self._heard or used < len(data) or not self._numbered
        return used


def _only_reads(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
    if sending and type(pdu) is not _READS.get(pdu.function_code):
        raise ForbiddenRequestError(f"function code {pdu.function_code} is no read and is not sent")
    return pdu


def _result(answer: ModbusPDU, function: int, count: int) -> tuple[int, Sequence[int] | None]:
    if answer.isError():
        code = answer.exception_code
        known = answer.function_code == function | _EXCEPTION and 0 < code <= _MAXIMUM_EXCEPTION_CODE
        return (code if known else STATUS_MALFORMED), None
    if answer.function_code != function:
        return STATUS_MALFORMED, None
    if function in _BITS:
        # The answer is padded to whole bytes (MODBUS Application Protocol V1.1b3, 6.1).
        if len(answer.bits) != -(-count // 8) * 8:
            return STATUS_MALFORMED, None
        return STATUS_OK, [int(bit) for bit in answer.bits[:count]]
    if len(answer.registers) != count:
        return STATUS_MALFORMED, None
    return STATUS_OK, answer.registers
