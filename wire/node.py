"""Node frames: the values of one OPC UA node over time, with what the server said about them.

Three times belong to a value (OPC 10000-4, 7.11): when its source took it, when the server got it, and when the agent
received it, which is the sample time here: it is the only clock of the three whose state stands in the record. Values
are kept in the type they came in, status codes as the server sent them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from wire import schema
from wire.limits import MAXIMUM_DEVICES, MAXIMUM_SAMPLES_A_FRAME, MAXIMUM_TEXT_BYTES, MAXIMUM_TIME_MS
from wire.sampling import MAXIMUM_DELTA_MS, columns, deltas, refuse_steps, rows, times

NODE = "node"
OPC_GOOD = 0
OPC_BAD = 0x8000_0000
"""Status codes from here on are bad (OPC 10000-4, 7.39): the server says that the value must not be used."""

OPC_UNCERTAIN = 0x4000_0000
OPC_OVERFLOW = 0x0480
"""Info type "data value" and the overflow bit: values before this one were lost in the server's queue."""

_ABSENT = -(2**63)
_NODE_ID = re.compile(r"(ns=[0-9]{1,5};)?(i=[0-9]{1,10}|[sgb]=.+)", re.DOTALL)

NodeValue = bool | int | float | str


class Variant(IntEnum):
    """Built-in types of OPC UA that a frame carries (OPC 10000-6, 5.1.2); ``NULL``: no value at all."""

    NULL = 0
    BOOLEAN = 1
    SBYTE = 2
    BYTE = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT = 10
    DOUBLE = 11
    STRING = 12

    @property
    def format(self) -> str:
        """The `struct` format of one value, big-endian, without the mark of the byte order; "" without one."""
        return _FORMATS.get(self, "")

    @property
    def width(self) -> int:
        """Bytes of one value; 0 for texts and for no value."""
        return struct.calcsize(f">{self.format}")


_FORMATS = {
    Variant.BOOLEAN: "B",
    Variant.SBYTE: "b",
    Variant.BYTE: "B",
    Variant.INT16: "h",
    Variant.UINT16: "H",
    Variant.INT32: "i",
    Variant.UINT32: "I",
    Variant.INT64: "q",
    Variant.UINT64: "Q",
    Variant.FLOAT: "f",
    Variant.DOUBLE: "d",
}


@dataclass(frozen=True, slots=True)
class NodeSample:
    """One value as it was received.

    ``time_ms``: when, milliseconds since the Unix epoch, UTC, by the gateway's clock. ``status``: the status code, 32
    bits. ``value`` is ``None`` when there is none: always when the status is bad. ``source_ms`` and ``server_ms``: the
    time stamps of source and server, ``None`` when absent.
    """

    time_ms: int
    status: int
    value: NodeValue | None
    source_ms: int | None = None
    server_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NodeFrame:
    """Samples of one node.

    ``device`` is an index into the descriptor's devices; ``node`` the NodeId in its string form (OPC 10000-6, 5.3.1).
    ``times_ms``, ``status``, ``source_ms`` and ``server_ms`` hold one entry a sample (see `NodeSample`). ``variant`` is
    the type of all values; ``values`` holds those of the samples that are not bad: numbers as columns of bytes,
    big-endian, texts as texts. ``round_trip_ms``: the longest time a read took; 0 for what a subscription brought.
    """

    device: int
    node: str
    times_ms: tuple[int, ...]
    status: tuple[int, ...]
    variant: Variant
    values: bytes | tuple[str, ...]
    source_ms: tuple[int | None, ...]
    server_ms: tuple[int | None, ...]
    round_trip_ms: int

    @property
    def n(self) -> int:
        """Number of samples, with a value or not."""
        return len(self.times_ms)

    @property
    def n_ok(self) -> int:
        """Number of samples with a value that the server calls good."""
        return sum(status < OPC_UNCERTAIN for status in self.status) if self.variant is not Variant.NULL else 0

    @property
    def size(self) -> int:
        """Bytes that values, time stamps and status codes take before compression."""
        values = self.values if isinstance(self.values, bytes) else b"".join(text.encode() for text in self.values)
        return len(values) + 20 * self.n

    def samples(self) -> Iterator[NodeSample]:
        """Yield every sample."""
        values = iter(self._unpacked())
        for time_ms, status, source_ms, server_ms in zip(
            self.times_ms, self.status, self.source_ms, self.server_ms, strict=True
        ):
            has_value = status < OPC_BAD and self.variant is not Variant.NULL
            yield NodeSample(time_ms, status, next(values) if has_value else None, source_ms, server_ms)

    def _unpacked(self) -> Sequence[NodeValue]:
        if not isinstance(self.values, bytes):
            return self.values
        if self.variant is Variant.NULL:
            return ()
        count = len(self.values) // self.variant.width
        numbers = struct.unpack(f">{count}{self.variant.format}", rows(self.values, count))
        return [bool(number) for number in numbers] if self.variant is Variant.BOOLEAN else numbers


class NodeFrameBuilder:
    """Collects samples of one node until a record is closed."""

    def __init__(self, device: int, node: str) -> None:
        self.device = device
        self.node = node
        self._clear()

    def _clear(self) -> None:
        self._samples: list[NodeSample] = []
        self._times: list[int] = []
        self._variant: Variant | None = None
        self._round_trip_ms = 0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def full(self) -> bool:
        """Whether the frame has as many samples as a record accepts."""
        return len(self._samples) >= MAXIMUM_SAMPLES_A_FRAME

    def add(self, sample: NodeSample, variant: Variant, round_trip_ms: int = 0) -> None:
        """Add one sample; ``variant`` is the type of its value, ``NULL`` exactly when it has none.

        Raises `ValueError` when the time falls or the type of the value is another than before (build this frame first
        and begin anew), and when value, type and status contradict each other.
        """
        refuse_steps(self._times, sample.time_ms)
        has_value, is_bad = sample.value is not None, sample.status >= OPC_BAD
        if has_value != (variant is not Variant.NULL) or (is_bad and has_value):
            raise ValueError("a sample has a value exactly when it has a type, and none when its status is bad")
        if not is_bad:
            if self._variant not in (None, variant):
                raise ValueError(f"the values of a frame are of one type: {self._variant!r}, this one {variant!r}")
            if variant is Variant.STRING:
                _refuse_long(sample.value)
            else:
                _packed((sample.value,) * bool(variant), variant)
            self._variant = variant
        self._samples.append(sample)
        self._times.append(sample.time_ms)
        self._round_trip_ms = max(self._round_trip_ms, round_trip_ms)

    def build(self) -> NodeFrame:
        """Return the frame of the samples so far, and begin anew."""
        variant = Variant.NULL if self._variant is None else self._variant
        values = tuple(sample.value for sample in self._samples if sample.value is not None)
        frame = NodeFrame(
            device=self.device,
            node=self.node,
            times_ms=tuple(self._times),
            status=tuple(sample.status for sample in self._samples),
            variant=variant,
            values=tuple(str(value) for value in values)
            if variant is Variant.STRING
            else columns(_packed(values, variant), variant.width),
            source_ms=tuple(sample.source_ms for sample in self._samples),
            server_ms=tuple(sample.server_ms for sample in self._samples),
            round_trip_ms=self._round_trip_ms,
        )
        self._clear()
        return frame


def node_frame_to_cbor(frame: NodeFrame) -> list[Any]:
    """Return the frame as the CDDL's ``node-frame`` array."""
    status = columns(struct.pack(f">{frame.n}I", *frame.status), 4)
    return [
        NODE,
        frame.device,
        frame.node,
        frame.times_ms[0],
        deltas(frame.times_ms),
        status if any(frame.status) else None,
        int(frame.variant),
        frame.values if isinstance(frame.values, bytes) else list(frame.values),
        _stamps(frame.source_ms, frame.times_ms),
        _stamps(frame.server_ms, frame.times_ms),
        frame.round_trip_ms,
    ]


def node_frame_from_cbor(value: Any, where: str) -> NodeFrame:
    """Read the CDDL's ``node-frame`` array; raise `RecordError` naming what is off."""
    _, device, node, start, steps, status, kind, values, source, server, round_trip = schema.array(
        value, where, length=11
    )
    sample_times = times(start, steps, where)
    states = _status(status, len(sample_times), where)
    variant = Variant(schema.integer(kind, f"{where}.variant", 0, max(Variant)))
    return NodeFrame(
        device=schema.integer(device, f"{where}.device", 0, MAXIMUM_DEVICES - 1),
        node=node_id(node, f"{where}.node"),
        times_ms=sample_times,
        status=states,
        variant=variant,
        values=_values(values, variant, sum(code < OPC_BAD for code in states), where),
        source_ms=_stamped(source, sample_times, f"{where}.source"),
        server_ms=_stamped(server, sample_times, f"{where}.server"),
        round_trip_ms=schema.integer(round_trip, f"{where}.round_trip_ms", 0, MAXIMUM_DELTA_MS),
    )


def node_id(value: Any, field: str) -> str:
    """Return ``value`` if it is a NodeId, such as ``i=85`` or ``ns=2;s=Line.Power``."""
    text = schema.text(value, field)
    if not valid_node_id(text):
        raise schema.fault(field, f"is {text!r}, which is no NodeId such as ns=2;s=Line.Power")
    return text


def valid_node_id(text: str) -> bool:
    """Whether ``text`` is a NodeId in its string form, with the index of its namespace, not its address."""
    return _NODE_ID.fullmatch(text) is not None and len(text.encode()) <= MAXIMUM_TEXT_BYTES


def _refuse_long(text: Any) -> None:
    if not isinstance(text, str) or len(text.encode()) > MAXIMUM_TEXT_BYTES:
        raise ValueError(f"a text has at most {MAXIMUM_TEXT_BYTES} bytes in UTF-8")


def _packed(values: Sequence[Any], variant: Variant) -> bytes:
    try:
        return struct.pack(f">{len(values)}{variant.format}", *values) if variant.format else b""
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{values!r} is not of the type {variant!r}") from error


def _stamps(stamps: Sequence[int | None], times_ms: Sequence[int]) -> bytes | None:
    if all(stamp is None for stamp in stamps):
        return None
    offsets = [_ABSENT if stamp is None else stamp - time for stamp, time in zip(stamps, times_ms, strict=True)]
    return columns(struct.pack(f">{len(offsets)}q", *offsets), 8)


def _stamped(packed: Any, times_ms: Sequence[int], where: str) -> tuple[int | None, ...]:
    if packed is None:
        return (None,) * len(times_ms)
    offsets = struct.unpack(f">{len(times_ms)}q", rows(schema.octets(packed, where, 8 * len(times_ms)), len(times_ms)))
    if all(offset == _ABSENT for offset in offsets):
        raise schema.fault(where, "must be null when every time stamp is absent")
    stamps = tuple(None if offset == _ABSENT else time + offset for offset, time in zip(offsets, times_ms, strict=True))
    for stamp in stamps:
        if stamp is not None and abs(stamp) > MAXIMUM_TIME_MS:
            raise schema.fault(where, f"{stamp} ms is further from 1970 than the year 9999")
    return stamps


def _status(packed: Any, count: int, where: str) -> tuple[int, ...]:
    if packed is None:
        return (OPC_GOOD,) * count
    codes = schema.octets(packed, f"{where}.status", 4 * count)
    if not any(codes):
        raise schema.fault(f"{where}.status", "must be null when every sample is good")
    return struct.unpack(f">{count}I", rows(codes, count))


def _values(value: Any, variant: Variant, count: int, where: str) -> bytes | tuple[str, ...]:
    field = f"{where}.values"
    if variant is Variant.STRING:
        return tuple(schema.text(item, field) for item in schema.array(value, field, length=count))
    packed = schema.octets(value, field, variant.width * count)
    if variant is Variant.BOOLEAN and any(octet > 1 for octet in packed):
        raise schema.fault(field, "hold a boolean that is neither 0 nor 1")
    return packed
