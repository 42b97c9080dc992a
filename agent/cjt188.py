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
    address_text,
    encode,
    parse,
    parse_address,
    same_meter,
)
from agent.clock import Clock
from agent.errors import FrameError
from agent.meter_bus import MeterBus
from agent.meter_master import MeterMaster
from agent.meter_search import ANY, Heard
from wire.frame import STATUS_MALFORMED
from wire.limits import MAXIMUM_ANSWER_BYTES

_FUNCTION = 0x3F
_DEVICE_FAILURE = 4
_CONTENTS = IDENTIFIER_LENGTH + 1


class Cjt188Bus(MeterBus):
    """A bus on which meters speak CJ/T 188."""

    read_control = READ
    identifier_length = IDENTIFIER_LENGTH

    @classmethod
    def check_address(cls, address: str) -> None:
        """Raise `FrameError` for what is no meter address."""
        parse_address(address)

    def connection(self, clock: Clock) -> Cjt188Connection:
        """Return what reads this bus, not yet open."""
        return Cjt188Connection(self.link(), parse, self.timeout, clock)


class Cjt188Connection(MeterMaster[Cjt188Frame]):
    """The master of one bus."""

    anybody = 8 * ANY
    _sequence_number = 0
    _orders: tuple[bytes, ...] = (bytes.fromhex("1F90"), bytes.fromhex("901F"))

    async def hear(self, address: str) -> Heard:
        """Ask whatever ``address`` means for its reading; see `agent.meter_search.Searchable`.

        Makers want the identifier in one order of bytes or the other. Both are asked; when all meters are asked, those
        that nobody answers are not asked for parts of numbers. A type that no meter has is not asked for.
        """
        try:
            meter = parse_address(address)
        except FrameError:
            return Heard(frozenset(), noise=False)
        heard = {order: await self._heard(Cjt188Frame(meter, READ, order + b"\0")) for order in self._orders}
        if address == self.anybody:
            self._orders = tuple(order for order, one in heard.items() if not one.nothing)
        addresses = frozenset[str]().union(*(one.addresses for one in heard.values()))
        return Heard(addresses, any(one.noise for one in heard.values()))

    async def _heard(self, asked: Cjt188Frame) -> Heard:
        return await self.heard(
            encode(asked), lambda frame: _is_answer(frame, asked), lambda frame: address_text(frame.address)
        )

    async def _read(self, station: str, request: bytes) -> tuple[int, bytes | None]:
        address = parse_address(station)
        self._sequence_number = (self._sequence_number + 1) & 0xFF
        asked = Cjt188Frame(address, request[0], request[1:] + bytes([self._sequence_number]))
        status, answer = await self.line.ask(encode(asked), lambda frame: _answers(frame, asked))
        if answer is None:
            return status, None
        if answer.control & ABNORMAL:
            return _DEVICE_FAILURE, None
        data = answer.data[_CONTENTS:]
        return (status, data) if 0 < len(data) <= MAXIMUM_ANSWER_BYTES else (STATUS_MALFORMED, None)


def _is_answer(frame: Cjt188Frame, asked: Cjt188Frame) -> bool:
    understood = frame.is_answer and frame.control & _FUNCTION == asked.control
    return understood and same_meter(asked.address, frame.address)


def _answers(frame: Cjt188Frame, asked: Cjt188Frame) -> bool:
    if not _is_answer(frame, asked):
        return False
    # Many meters do not count sequence numbers: what tells a late answer is that the line is cleared before a request.
    return bool(frame.control & ABNORMAL) or frame.data[:IDENTIFIER_LENGTH] == asked.data[:IDENTIFIER_LENGTH]
