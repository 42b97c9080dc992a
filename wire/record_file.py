"""Files of records: what a gateway without an uplink hands over on a stick.

A CBOR sequence (RFC 8742) of byte strings, each the bytes of one record as it was signed, in the order of the chain;
extension ``.records``. There is no header and no index: files can be cut between records and put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from wire import cbor
from wire.errors import RecordFileError
from wire.limits import MAXIMUM_RECORD_BYTES

_BYTE_STRING = 2
_SHORT = 24
_LONGEST = 26


def write_record(file: BinaryIO, data: bytes) -> int:
    """Append the bytes of one record to ``file``; return how many bytes that took."""
    return file.write(cbor.encode(data))


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of each record of ``file``; nothing is verified.

    Raises `RecordFileError` behind the last whole record when the file goes on with something else, or ends too early.
    """
    position = 0
    while initial := file.read(1):
        major, additional = initial[0] >> 5, initial[0] & 31
        if major != _BYTE_STRING or additional > _LONGEST:
            raise RecordFileError(f"byte {position}: no record begins here; is this a file of records?")
        argument = file.read(1 << (additional - _SHORT)) if additional >= _SHORT else bytes([additional])
        size = int.from_bytes(argument, "big")
        if size > MAXIMUM_RECORD_BYTES:
            raise RecordFileError(f"byte {position}: {size} bytes, a record has at most {MAXIMUM_RECORD_BYTES}")
        data = file.read(size)
        if len(data) != size or not argument:
            raise RecordFileError(f"byte {position}: the file ends in the middle of a record; copy it again")
        yield data
        position = file.tell()
