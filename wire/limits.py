"""What a decoder accepts at most. Bytes from outside are measured against these before anything is made of them."""

from __future__ import annotations

MAXIMUM_RECORD_BYTES = 256 * 1024
"""A whole record as sent, signature included; below the 1 MiB default message limit of common brokers."""

MAXIMUM_INFLATED_BYTES = 4 * 1024 * 1024
"""A payload after zlib: bounds what one record can cost in memory, whatever it claims to be."""

MAXIMUM_DEPTH = 8
"""Nesting of CBOR arrays and maps; a descriptor needs six."""

MAXIMUM_ITEMS = 65_536
"""CBOR data items in one payload; a descriptor of 2,000 series needs about 60,000."""

MAXIMUM_TEXT_BYTES = 1024
"""One text string, in UTF-8."""

MAXIMUM_FRAMES = 1024
"""Frames in one record."""

MAXIMUM_SAMPLES_A_FRAME = 65_536
"""Reads in one frame."""

MAXIMUM_REQUEST_BYTES = 64
"""The request of an answer frame, without address and checksum."""

MAXIMUM_ANSWER_BYTES = 1024
"""One answer of an answer frame; the protocols it is for stop at 255."""

MAXIMUM_DECIMAL_BYTES = 8
"""Packed decimal digits of one number: 16 of them, what 64 bits hold."""

MAXIMUM_REGISTERS = 125
"""Registers in one Modbus read (MODBUS Application Protocol V1.1b3, 6.3 and 6.4)."""

MAXIMUM_SEQUENCE = 2**63 - 1
"""The largest ``seq``: the range of a signed 64-bit database column."""

MAXIMUM_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

MAXIMUM_DEVICES = 1024
"""Devices in one descriptor."""

MAXIMUM_SERIES = 4096
"""Series of one device in a descriptor."""

MAXIMUM_WINDOW_RECORDS = 10_000
"""How far a gateway may send ahead of what its server has acknowledged."""
