"""Frames of DL/T 645-2007, clause 5.2: bytes on the wire to fields and back. Pure, no I/O.

68H, six bytes of address (low digits first), 68H, control code C, length L, L bytes of data each raised by 33H, the sum
of all these modulo 256, 16H. Of a master's requests only reading is known here: `encode` refuses every other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import FrameError
from agent.frame_scan import END, START, check_trailer, checksum

READ = 0x11
"""Control code: read data (7.1)."""

READ_FOLLOWING = 0x12
"""Control code: read the data that did not fit into the answer before (7.2)."""

READ_ADDRESS = 0x13
"""Control code: read the address of the only meter on the line (7.3), asked with wildcards alone."""

ANSWER = 0x80
"""Control bit D7: from the meter, not from the master."""

ABNORMAL = 0x40
"""Control bit D6: the meter refuses; one error word is the data."""

FOLLOWS = 0x20
"""Control bit D5: more data follows, to be asked for with `READ_FOLLOWING`."""

IDENTIFIER_LENGTH = 4
WILDCARD = 0xAA
"""An address byte that every meter takes for its own (5.2.2)."""

_MAXIMUM_DATA = 200
_ADDRESS_LENGTH = 6
_OFFSET = 0x33
_HEADER = 10
_ADDRESS = re.compile(r"(?:[0-9]{2}|AA){6}")


@dataclass(frozen=True, slots=True)
class Dlt645Frame:
    """``address`` as `parse_address` gives it; ``control`` the control code; ``data`` without the 33H."""

    address: bytes
    control: int
    data: bytes

    @property
    def is_answer(self) -> bool:
        """Whether a meter sent it; otherwise it is a master's, such as the echo of one's own request."""
        return bool(self.control & ANSWER)


def parse_address(text: str) -> bytes:
    """Return the six address bytes in the order of the wire for 1 to 12 digits as printed on the meter.

    Missing high digits are 0; ``AA`` in place of two digits is the wildcard. Raises `FrameError`.
    """
    padded = text.upper().rjust(2 * _ADDRESS_LENGTH, "0")
    if not text or not _ADDRESS.fullmatch(padded):
        raise FrameError(f"'{text}' is no meter address: write up to 12 digits, or AA for two of them")
    return bytes.fromhex(padded)[::-1]


def address_text(octets: bytes) -> str:
    """Return the 12 digits of an address as printed on the meter; raise `FrameError` for what is no address."""
    text = octets[::-1].hex().upper()
    parse_address(text)
    return text


def same_meter(asked: bytes, answered: bytes) -> bool:
    """Whether ``answered`` is an address that ``asked`` means, wildcards considered."""
    return all(a in (WILDCARD, b) for a, b in zip(asked, answered, strict=True))


def encode(frame: Dlt645Frame) -> bytes:
    """Return ``frame`` as it travels, without preamble.

    Raises `FrameError` for lengths that no frame has, and for every master's request but reading.
    """
    if not frame.is_answer and frame.control not in (READ, READ_FOLLOWING, READ_ADDRESS):
        raise FrameError(f"control code {frame.control:02X}H does not read; nothing else is sent to a meter")
    if len(frame.address) != _ADDRESS_LENGTH or len(frame.data) > _MAXIMUM_DATA:
        raise FrameError(f"an address has {_ADDRESS_LENGTH} bytes, a data field up to {_MAXIMUM_DATA}")
    raised = bytes((octet + _OFFSET) & 0xFF for octet in frame.data)
    head = bytes([START, *frame.address, START, frame.control, len(raised)])
    return bytes([*head, *raised, checksum(head + raised), END])


def parse(data: bytes) -> tuple[Dlt645Frame, int] | None:
    """Return the frame at the beginning of ``data`` and its length, ``None`` while bytes are missing.

    Raises `FrameError` when no frame begins there.
    """
    if data[:1] != bytes([START]):
        raise FrameError(f"a frame begins with {START:02X}H")
    if len(data) > _ADDRESS_LENGTH + 1 and data[_ADDRESS_LENGTH + 1] != START:
        raise FrameError(f"no {START:02X}H stands behind the address")
    if len(data) < _HEADER:
        return None
    if data[9] > _MAXIMUM_DATA:
        raise FrameError(f"a data field of {data[9]} bytes; the standard ends at {_MAXIMUM_DATA}")
    end = _HEADER + data[9]
    if len(data) < end + 2:
        return None
    check_trailer(data[: end + 2])
    lowered = bytes((octet - _OFFSET) & 0xFF for octet in data[_HEADER:end])
    return Dlt645Frame(data[1:7], data[8], lowered), end + 2
