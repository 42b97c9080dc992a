"""CJ/T 188-2004 and CJ/T 188-2018 (water, gas and heat meters) on a serial bus or behind a transparent serial server,
reading only.

What a device model calls a request is the control code 01H and the two identifier bytes in the order of the wire: both
1F 90 and 90 1F are made of what the standard prints as 901F, meters answer in the order they are asked in. The answer
is the data behind identifier and sequence number. A meter that reports it could not do what was asked gives status 4.
"""

from __future__ import annotations

from agent.cjt188_frame import (
    ABNORMAL,
    IDENTIFIER_LENGTH,
    READ,
    Cjt188Frame,
    MeterAddress,
    encode,
    parse,
    parse_address,
    same_meter,
)
from agent.clock import Clock
from agent.drivers import Reading
from agent.errors import FrameError
from agent.half_duplex import HalfDuplex
from agent.meter_bus import MeterBus
from agent.octet_link import OctetLink
from wire.frame import STATUS_MALFORMED
from wire.limits import MAXIMUM_ANSWER_BYTES

_FUNCTION = 0x3F
_DEVICE_FAILURE = 4
_CONTENTS = IDENTIFIER_LENGTH + 1


class Cjt188Bus(MeterBus):
    """A bus on which meters speak CJ/T 188."""

    @classmethod
    def check_request(cls, address: str, request: bytes) -> None:
        """Raise `FrameError` for what is no meter address, or no request to read one datum."""
        parse_address(address)
        if request[:1] != bytes([READ]) or len(request) != 1 + IDENTIFIER_LENGTH:
            raise FrameError(
                f"'{request.hex(' ').upper()}' is no request: {READ:02X} and {IDENTIFIER_LENGTH} bytes of identifier"
            )

    def connection(self, clock: Clock) -> Cjt188Connection:
        """Return what reads this bus, not yet open."""
        return Cjt188Connection(self.link(), self.timeout, clock)


class Cjt188Connection:
    """The master of one bus."""

    def __init__(self, link: OctetLink, timeout_ms: int, clock: Clock) -> None:
        self._link = link
        self._line = HalfDuplex(link, parse, timeout_ms)
        self._clock = clock
        self._sequence_number = 0

    @property
    def is_open(self) -> bool:
        """Whether the port or the TCP connection is open, as far as is known."""
        return self._link.is_open

    async def open(self) -> bool:
        """Open the port or connect; tell whether it worked."""
        return await self._link.open()

    async def ask(self, station: str, request: bytes) -> Reading:
        """Read what ``request`` names from the meter with type and number ``station``."""
        clock = self._clock
        time_ms, started = clock.now_ms(), clock.elapsed_ms()
        status, data = await self._read(parse_address(station), request)
        round_trip_ms = clock.elapsed_ms() - started
        return Reading(time_ms + round_trip_ms // 2, status, data, round_trip_ms)

    def close(self) -> None:
        """Close the port or disconnect."""
        self._link.close()

    async def _read(self, address: MeterAddress, request: bytes) -> tuple[int, bytes | None]:
        self._sequence_number = (self._sequence_number + 1) & 0xFF
        asked = Cjt188Frame(address, request[0], request[1:] + bytes([self._sequence_number]))
        status, answer = await self._line.ask(encode(asked), lambda frame: _answers(frame, asked))
        if answer is None:
            return status, None
        if answer.control & ABNORMAL:
            return _DEVICE_FAILURE, None
        data = answer.data[_CONTENTS:]
        return (status, data) if 0 < len(data) <= MAXIMUM_ANSWER_BYTES else (STATUS_MALFORMED, None)


def _answers(frame: Cjt188Frame, asked: Cjt188Frame) -> bool:
    if (
        not frame.is_answer
        or frame.control & _FUNCTION != asked.control
        or not same_meter(asked.address, frame.address)
    ):
        return False
    # Many meters do not count sequence numbers: what tells a late answer is that the line is cleared before a request.
    return bool(frame.control & ABNORMAL) or frame.data[:IDENTIFIER_LENGTH] == asked.data[:IDENTIFIER_LENGTH]
