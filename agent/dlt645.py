"""DL/T 645-2007 on a serial bus or behind a transparent serial server, reading only.

What a device model calls a request is the control code 11H and the four identifier bytes in the order of the wire (the
standard prints them the other way round: 00 01 00 00 travels as 00 00 01 00). The answer is the data behind the
identifier, put together where the meter sent it in several frames. A refusal gives the bits of the error word as
status: 02H no such data, 04H not allowed, 01H other.
"""

from __future__ import annotations

from agent.clock import Clock
from agent.dlt645_frame import (
    ABNORMAL,
    FOLLOWS,
    IDENTIFIER_LENGTH,
    READ,
    READ_FOLLOWING,
    Dlt645Frame,
    encode,
    parse,
    parse_address,
    same_meter,
)
from agent.drivers import Reading
from agent.errors import FrameError
from agent.half_duplex import HalfDuplex
from agent.meter_bus import MeterBus
from agent.octet_link import OctetLink
from wire.frame import STATUS_MALFORMED, STATUS_OK
from wire.limits import MAXIMUM_ANSWER_BYTES

_FUNCTION = 0x1F
_ERROR_BITS = 0x7F
_LAST_SEQUENCE_NUMBER = 255


class Dlt645Bus(MeterBus):
    """A bus on which meters speak DL/T 645-2007."""

    @classmethod
    def check_request(cls, address: str, request: bytes) -> None:
        """Raise `FrameError` for what is no meter address, or no request to read one datum."""
        parse_address(address)
        if request[:1] != bytes([READ]) or len(request) != 1 + IDENTIFIER_LENGTH:
            raise FrameError(
                f"'{request.hex(' ').upper()}' is no request: {READ:02X} and {IDENTIFIER_LENGTH} bytes of identifier"
            )

    def connection(self, clock: Clock) -> Dlt645Connection:
        """Return what reads this bus, not yet open."""
        return Dlt645Connection(self.link(), self.timeout, clock)


class Dlt645Connection:
    """The master of one bus."""

    def __init__(self, link: OctetLink, timeout_ms: int, clock: Clock) -> None:
        self._link = link
        self._line = HalfDuplex(link, parse, timeout_ms)
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether the port or the TCP connection is open, as far as is known."""
        return self._link.is_open

    async def open(self) -> bool:
        """Open the port or connect; tell whether it worked."""
        return await self._link.open()

    async def ask(self, station: str, request: bytes) -> Reading:
        """Read what ``request`` names from the meter with the address ``station``."""
        clock = self._clock
        time_ms, started = clock.now_ms(), clock.elapsed_ms()
        status, data = await self._read(parse_address(station), request)
        round_trip_ms = clock.elapsed_ms() - started
        return Reading(time_ms + round_trip_ms // 2, status, data, round_trip_ms)

    def close(self) -> None:
        """Close the port or disconnect."""
        self._link.close()

    async def _read(self, address: bytes, request: bytes) -> tuple[int, bytes | None]:
        asked = Dlt645Frame(address, request[0], request[1:])
        status, answer = await self._exchange(asked)
        collected = bytearray()
        while answer is not None:
            if answer.control & ABNORMAL:
                return answer.data[0] & _ERROR_BITS or STATUS_MALFORMED, None
            sequence = asked.data[IDENTIFIER_LENGTH:]
            collected += answer.data[IDENTIFIER_LENGTH : len(answer.data) - len(sequence)]
            if not answer.control & FOLLOWS:
                break
            number = sequence[0] + 1 if sequence else 1
            if number > _LAST_SEQUENCE_NUMBER or len(collected) > MAXIMUM_ANSWER_BYTES:
                return STATUS_MALFORMED, None
            asked = Dlt645Frame(address, READ_FOLLOWING, request[1:] + bytes([number]))
            status, answer = await self._exchange(asked)
        if status == STATUS_OK and not 0 < len(collected) <= MAXIMUM_ANSWER_BYTES:
            return STATUS_MALFORMED, None
        return status, bytes(collected) if status == STATUS_OK else None

    async def _exchange(self, asked: Dlt645Frame) -> tuple[int, Dlt645Frame | None]:
        return await self._line.ask(encode(asked), lambda frame: _answers(frame, asked))


def _answers(frame: Dlt645Frame, asked: Dlt645Frame) -> bool:
    if (
        not frame.is_answer
        or frame.control & _FUNCTION != asked.control
        or not same_meter(asked.address, frame.address)
    ):
        return False
    if frame.control & ABNORMAL:
        return len(frame.data) == 1
    identifier, sequence = asked.data[:IDENTIFIER_LENGTH], asked.data[IDENTIFIER_LENGTH:]
    if len(frame.data) < len(asked.data):
        return False
    return frame.data.startswith(identifier) and frame.data.endswith(sequence)
