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
    READ_ADDRESS,
    READ_FOLLOWING,
    Dlt645Frame,
    address_text,
    encode,
    parse,
    parse_address,
    same_meter,
)
from agent.meter_bus import MeterBus
from agent.meter_master import MeterMaster
from agent.meter_search import ANY, Heard
from wire.frame import STATUS_MALFORMED, STATUS_OK
from wire.limits import MAXIMUM_ANSWER_BYTES

_FUNCTION = 0x1F
_ERROR_BITS = 0x7F
_LAST_SEQUENCE_NUMBER = 255
_TOTAL_ENERGY = bytes.fromhex("00010000")[::-1]


class Dlt645Bus(MeterBus):
    """A bus on which meters speak DL/T 645-2007."""

    read_control = READ
    identifier_length = IDENTIFIER_LENGTH

    @classmethod
    def check_address(cls, address: str) -> None:
        """Raise `FrameError` for what is no meter address."""
        parse_address(address)

    def connection(self, clock: Clock) -> Dlt645Connection:
        """Return what reads this bus, not yet open."""
        return Dlt645Connection(self.link(), parse, self.timeout, clock)


class Dlt645Connection(MeterMaster[Dlt645Frame]):
    """The master of one bus."""

    anybody = 6 * ANY

    async def hear(self, address: str) -> Heard:
        """Ask for the number of the only meter, then whatever ``address`` means for its energy; see `Searchable`."""
        heard = Heard(frozenset(), noise=False)
        if address == self.anybody:
            heard = await self._heard(Dlt645Frame(parse_address(address), READ_ADDRESS, b""))
        if heard.nothing:
            heard = await self._heard(Dlt645Frame(parse_address(address), READ, _TOTAL_ENERGY))
        return heard

    async def _heard(self, asked: Dlt645Frame) -> Heard:
        return await self.heard(
            encode(asked), lambda frame: _is_answer(frame, asked), lambda frame: address_text(frame.address)
        )

    async def _read(self, station: str, request: bytes) -> tuple[int, bytes | None]:
        address = parse_address(station)
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
        return await self.line.ask(encode(asked), lambda frame: _answers(frame, asked))


def _is_answer(frame: Dlt645Frame, asked: Dlt645Frame) -> bool:
    understood = frame.is_answer and frame.control & _FUNCTION == asked.control
    return understood and same_meter(asked.address, frame.address)


def _answers(frame: Dlt645Frame, asked: Dlt645Frame) -> bool:
    if not _is_answer(frame, asked):
        return False
    if frame.control & ABNORMAL:
        return len(frame.data) == 1
    identifier, sequence = asked.data[:IDENTIFIER_LENGTH], asked.data[IDENTIFIER_LENGTH:]
    if len(frame.data) < len(asked.data):
        return False
    return frame.data.startswith(identifier) and frame.data.endswith(sequence)
