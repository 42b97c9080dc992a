"""Frames of CJ/T 188-2004 and CJ/T 188-2018, clause 6: bytes on the wire to fields and back. Pure, no I/O.

68H, meter type T, seven bytes of address (low digits first), control code C, length L, L bytes of data, the sum of all
these modulo 256, 16H. Of the requests a master can make only reading is known here: `encode` refuses every other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import FrameError
from agent.frame_scan import END, START, check_trailer, checksum

READ = 0x01
"""Control code: read data."""

ANSWER = 0x80
"""Control bit D7: from the meter, not from the master."""

ABNORMAL = 0x40
"""Control bit D6: the meter could not do what was asked."""

IDENTIFIER_LENGTH = 2
WILDCARD = 0xAA
"""An address byte that every meter takes for its own."""

_TYPE_GROUPS = frozenset({0x1, 0x2, 0x3, 0x4})
_ADDRESS_LENGTH = 7
_MAXIMUM_DATA = 100
_HEADER = 11
_ADDRESS = re.compile(r"(?:[1-4][0-9]|AA)(?:[0-9]{2}|AA){7}")


@dataclass(frozen=True, slots=True)
class MeterAddress:
    """``type``: 10H-19H water, 20H-29H heat and cold, 30H-39H gas, 40H-49H others; ``octets`` in the wire's order."""

    type: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Cjt188Frame:
    """``control`` is the control code, ``data`` the whole data field: identifier, sequence number, contents."""

    address: MeterAddress
    control: int
    data: bytes

    @property
    def is_answer(self) -> bool:
        """Whether a meter sent it; otherwise it is a master's, such as the echo of one's own request."""
        return bool(self.control & ANSWER)


def parse_address(text: str) -> MeterAddress:
    """Return the address of a meter for its type (2 digits) and its number (14 digits), written together.

    The number stands as printed, highest digits (the maker's) first; ``AA`` in place of two digits is the wildcard, as
    in ``10AAAAAAAAAAAAAA`` for the only water meter on a bus. Raises `FrameError`.
    """
    if not _ADDRESS.fullmatch(text.upper()):
        raise FrameError(
            f"'{text}' is no meter address: write 2 digits of meter type and 14 of number, such as 10 + ..."
        )
    octets = bytes.fromhex(text)
    return MeterAddress(octets[0], octets[:0:-1])


def address_text(address: MeterAddress) -> str:
    """Return type and number of a meter as `parse_address` takes them; raise `FrameError` for what is no address."""
    text = bytes([address.type, *address.octets[::-1]]).hex().upper()
    parse_address(text)
    return text


def same_meter(asked: MeterAddress, answered: MeterAddress) -> bool:
    """Whether ``answered`` is an address that ``asked`` means, wildcards considered."""
    pairs = zip(asked.octets, answered.octets, strict=True)
    return asked.type in (WILDCARD, answered.type) and all(a in (WILDCARD, b) for a, b in pairs)


def encode(frame: Cjt188Frame) -> bytes:
    """Return ``frame`` as it travels, without preamble.

    Raises `FrameError` for lengths that no frame has, and for every master's request but reading.
    """
    if not frame.is_answer and frame.control != READ:
        raise FrameError(f"control code {frame.control:02X}H does not read; nothing else is sent to a meter")
    if len(frame.address.octets) != _ADDRESS_LENGTH or len(frame.data) > _MAXIMUM_DATA:
        raise FrameError(f"an address has {_ADDRESS_LENGTH} bytes, a data field up to {_MAXIMUM_DATA}")
    head = bytes([START, frame.address.type, *frame.address.octets, frame.control, len(frame.data)])
    return bytes([*head, *frame.data, checksum(head + frame.data), END])


def parse(data: bytes) -> tuple[Cjt188Frame, int] | None:
    """Return the frame at the beginning of ``data`` and its length, ``None`` while bytes are missing.

    Raises `FrameError` when no frame begins there.
    """
    if data[:1] != bytes([START]):
        raise FrameError(f"a frame begins with {START:02X}H")
    if len(data) > 1 and data[1] >> 4 not in _TYPE_GROUPS and data[1] != WILDCARD:
        raise FrameError(f"{data[1]:02X}H is no type of meter")
    if len(data) < _HEADER:
        return None
    if data[10] > _MAXIMUM_DATA:
        raise FrameError(f"a data field of {data[10]} bytes; the standard ends at {_MAXIMUM_DATA}")
    end = _HEADER + data[10]
    if len(data) < end + 2:
        return None
    check_trailer(data[: end + 2])
    return Cjt188Frame(MeterAddress(data[1], data[2:9]), data[9], data[_HEADER:end]), end + 2
