"""The strict decoder against a general one: what it accepts has one encoding only, and nothing makes it fall over."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import cbor
from wire.errors import RecordError
from wire.limits import MAXIMUM_DEPTH

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        | st.dictionaries(st.integers(0, 23), inner, max_size=4)
    ),
    max_leaves=12,
).filter(lambda value: depth(value) <= MAXIMUM_DEPTH)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_what_is_encoded_is_decoded(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.binary(max_size=200))
def test_whatever_is_accepted_has_no_other_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except RecordError:
        return
    assert cbor.encode(value) == data
    assert cbor2.loads(data) == value


@given(VALUES, st.data())
def test_a_spoilt_byte_is_another_value_or_refused_but_never_a_crash(value: object, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = cbor.decode(bytes(encoded))
    except RecordError:
        return
    assert cbor.encode(decoded) == bytes(encoded)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("1817", "not-canonical"),
        ("1900ff", "not-canonical"),
        ("3817", "not-canonical"),
        ("fa3f800000", "not-canonical"),
        ("f97e00", "not-finite"),
        ("f97c00", "not-finite"),
        ("9fff", "not-canonical"),
        ("5f4100ff", "not-canonical"),
        ("c000", "not-canonical"),
        ("f7", "not-canonical"),
        ("f0", "not-canonical"),
        ("a2616200616100", "not-canonical"),
        ("a2616100616100", "not-canonical"),
        ("a1f500", "not-cbor"),
        ("a1400000", "not-cbor"),
        ("61ff", "not-cbor"),
        ("8200", "truncated"),
        ("1a00", "truncated"),
        ("", "truncated"),
        ("0000", "trailing-bytes"),
        ("81" * (MAXIMUM_DEPTH + 1) + "00", "too-deep"),
    ],
)
def test_refused_with_its_fault(data: str, fault: str) -> None:
    with pytest.raises(RecordError) as caught:
        cbor.decode(bytes.fromhex(data))
    assert caught.value.fault == fault
