"""Our payloads read by Google's Protocol Buffers, and commands that they have written read by us."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import SparkplugPayloadError
from agent.sparkplug_payload import Command, DataType, Metric, Property, decode_commands, encode_payload

FIELDS = {
    DataType.INT64: "long_value",
    DataType.UINT64: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
}
BITS = {
    DataType.INT32: 32, DataType.INT64: 64, DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT64: 64,
}  # fmt: skip


def bounds(datatype: DataType) -> tuple[int, int]:
    bits = BITS[datatype]
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if datatype.name.startswith("INT") else (0, 2**bits - 1)


def values(datatype: DataType) -> st.SearchStrategy[Any]:
    if datatype in BITS:
        return st.integers(*bounds(datatype))
    return {
        DataType.FLOAT: st.floats(width=32, allow_nan=False),
        DataType.DOUBLE: st.floats(allow_nan=False),
        DataType.BOOLEAN: st.booleans(),
        DataType.STRING: st.text(max_size=40),
    }[datatype]


@st.composite
def properties(draw: st.DrawFn) -> Property:
    datatype = draw(st.sampled_from(list(DataType)))
    return Property(draw(st.text(max_size=10)), datatype, draw(values(datatype)))


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    datatype = draw(st.sampled_from(list(DataType)))
    return Metric(
        datatype,
        draw(st.none() | values(datatype)),
        draw(st.integers(0, 2**42)),
        name=draw(st.none() | st.text(max_size=20)),
        alias=draw(st.none() | st.integers(0, 2**64 - 1)),
        properties=tuple(draw(st.lists(properties(), max_size=3))),
    )


def signed(datatype: DataType, value: Any) -> Any:
    if datatype not in BITS or not datatype.name.startswith("INT"):
        return value
    bits = BITS[datatype]
    assert 0 <= value < 2**bits, "in the width of its type: strict readers refuse more"
    return value - 2**bits if value >> bits - 1 else value


def read_value(one: Any, datatype: DataType) -> Any:
    assert one.WhichOneof("value") == FIELDS.get(datatype, "int_value")
    return signed(datatype, getattr(one, one.WhichOneof("value")))


@given(st.lists(metrics(), max_size=6), st.integers(0, 2**42), st.none() | st.integers(0, 255))
def test_what_is_encoded_is_what_protocol_buffers_read(
    payload_type: Any, sent: list[Metric], time_ms: int, seq: int | None
) -> None:
    encoded = encode_payload(sent, time_ms=time_ms, seq=seq)
    read = payload_type.FromString(encoded)
    assert read.SerializeToString(deterministic=True) == encoded, "the canonical form, nothing unknown in it"
    assert read.timestamp == time_ms
    assert (read.seq if read.HasField("seq") else None) == seq
    assert len(read.metrics) == len(sent)
    for ours, theirs in zip(sent, read.metrics, strict=True):
        assert (theirs.name if theirs.HasField("name") else None) == ours.name
        assert (theirs.alias if theirs.HasField("alias") else None) == ours.alias
        assert theirs.timestamp == ours.time_ms
        assert theirs.HasField("datatype") == (ours.name is not None), "told where the metric is defined, only there"
        assert theirs.datatype in (0, ours.datatype)
        assert theirs.is_null == (ours.value is None)
        if ours.value is None:
            assert theirs.WhichOneof("value") is None
        else:
            assert read_value(theirs, ours.datatype) == ours.value
        assert list(theirs.properties.keys) == [one.key for one in ours.properties]
        for mine, other in zip(ours.properties, theirs.properties.values, strict=True):
            assert other.type == mine.datatype
            assert read_value(other, mine.datatype) == mine.value


@given(st.data())
def test_commands_that_protocol_buffers_wrote_are_understood(payload_type: Any, data: st.DataObject) -> None:
    payload = payload_type(timestamp=data.draw(st.integers(0, 2**42)), uuid="u", body=b"\x00")
    expected = []
    for _ in range(data.draw(st.integers(0, 4))):
        datatype = data.draw(st.sampled_from(list(DataType)))
        value = data.draw(values(datatype))
        unsigned = value % 2 ** BITS[datatype] if datatype in BITS else value
        metric = payload.metrics.add(name=data.draw(st.text(max_size=9)), alias=data.draw(st.integers(0, 2**64 - 1)))
        metric.datatype, metric.is_historical = int(datatype), True
        setattr(metric, FIELDS.get(datatype, "int_value"), unsigned)
        expected.append(Command(metric.name, metric.alias, unsigned))
    assert decode_commands(payload.SerializeToString()) == tuple(expected)


@given(st.binary(max_size=200))
def test_whatever_comes_as_a_command_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SparkplugPayloadError):
        assert all(isinstance(one, Command) for one in decode_commands(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x12", "ends within a number"),
        (b"\x12\x05ab", "longer than the message"),
        (b"\x80" * 10 + b"\x01", "more than 64 bits"),
        (b"\x0b", "unknown wire type 3"),
        (b"\x00\x01", "number 0"),
        (b"\x12\x03\x0a\x01\xff", "not UTF-8"),
        (b"\x12\x04\x52\x02\x01\x02", "bytes stand where a number belongs"),
        (b"\x12\x02\x78\x01", "a number stands where a text belongs"),
        (b"\x12\x04\x6a\x02\x00\x00", "not as long as its type"),
    ],
)
def test_a_damaged_command_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SparkplugPayloadError, match=reason):
        decode_commands(data)


@given(st.sampled_from(sorted(BITS)), st.booleans())
def test_a_number_that_its_type_does_not_hold_is_refused(datatype: DataType, above: bool) -> None:
    low, high = bounds(datatype)
    with pytest.raises(SparkplugPayloadError, match=datatype.name):
        encode_payload([Metric(datatype, high + 1 if above else low - 1, 0)], time_ms=0, seq=0)


@pytest.mark.parametrize(("datatype", "value"), [(DataType.FLOAT, 1e300), (DataType.STRING, 1), (DataType.INT32, 0.5)])
def test_a_value_of_another_type_is_refused(datatype: DataType, value: Any) -> None:
    with pytest.raises(SparkplugPayloadError, match="is no"):
        encode_payload([Metric(datatype, value, 0)], time_ms=0, seq=0)


def test_a_message_byte_by_byte() -> None:
    """Worked out by hand from the encoding's rules: key, length, content."""
    metric = Metric(DataType.INT32, -2, 1, name="t", alias=300)
    content = b"\x0a\x01t" + b"\x10\xac\x02" + b"\x18\x01" + b"\x20\x03" + b"\x50\xfe\xff\xff\xff\x0f"
    assert encode_payload([metric], time_ms=2, seq=255) == b"\x08\x02" + b"\x12\x10" + content + b"\x18\xff\x01"


def test_a_float_keeps_all_its_digits(payload_type: Any) -> None:
    value = struct.unpack("<f", struct.pack("<f", math.pi))[0]
    read = payload_type.FromString(encode_payload([Metric(DataType.FLOAT, value, 0)], time_ms=0, seq=0))
    assert read.metrics[0].float_value == value
