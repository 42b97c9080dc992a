"""Files of records: a CBOR sequence of byte strings, read back byte for byte or not at all."""

from __future__ import annotations

import io

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import RecordFileError
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.record_file import read_records, write_record


def written(*datas: bytes) -> bytes:
    file = io.BytesIO()
    assert sum(write_record(file, data) for data in datas) == len(file.getvalue())
    return file.getvalue()


@given(st.lists(st.one_of(st.binary(max_size=30), st.binary(min_size=250, max_size=300)), max_size=6))
def test_records_come_back_as_they_were(datas: list[bytes]) -> None:
    content = written(*datas)
    assert list(read_records(io.BytesIO(content))) == datas
    assert content == b"".join(cbor2.dumps(data) for data in datas), "any CBOR library writes and reads it"


def test_the_largest_record_fits_and_nothing_larger() -> None:
    largest = bytes(MAXIMUM_RECORD_BYTES)
    assert list(read_records(io.BytesIO(written(largest)))) == [largest]
    with pytest.raises(RecordFileError, match="at most"):
        list(read_records(io.BytesIO(written(largest + b"\0"))))


@pytest.mark.parametrize("kept", range(1, 6))
def test_a_file_that_was_cut_gives_what_is_whole_and_says_so(kept: int) -> None:
    content = written(b"first", bytes(300))
    reading = read_records(io.BytesIO(content[: 6 + kept]))
    assert next(reading) == b"first"
    with pytest.raises(RecordFileError, match="byte 6: the file ends in the middle of a record"):
        next(reading)


@pytest.mark.parametrize("content", [b"not records", b"\x80", b"\x5f", b"\x5b" + bytes(8), b"\xf6"])
def test_a_file_of_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(RecordFileError, match="byte 0: no record begins here"):
        list(read_records(io.BytesIO(content)))
