"""Records: the signed statements of a gateway.

A record is a COSE_Sign1 message whose payload is zlib-compressed deterministic CBOR, described by ``record.cddl``
beside this file. Its identity is the SHA-256 of its bytes as they were sent. A gateway is a SCITT issuer and a record a
signed statement (RFC 9943): issuer = gateway id, subject = kind of record.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from wire import cbor, cose, schema
from wire.descriptor import Descriptor, descriptor_from_cbor, descriptor_to_cbor
from wire.errors import RecordError
from wire.event import Event, event_from_cbor, event_to_cbor
from wire.frame import (
    STATUS_CONNECTION,
    STATUS_MALFORMED,
    STATUS_OK,
    STATUS_TIMEOUT,
    AnswerFrame,
    AnyFrame,
    Frame,
    FrameBuilder,
    NodeFrame,
    frame_from_cbor,
    frame_to_cbor,
)
from wire.head import Head, head_from_cbor, head_to_cbor
from wire.keys import SigningKey, VerifyingKey
from wire.limits import MAXIMUM_FRAMES, MAXIMUM_INFLATED_BYTES, MAXIMUM_RECORD_BYTES, MAXIMUM_SEQUENCE

__all__ = [
    "STATUS_CONNECTION",
    "STATUS_MALFORMED",
    "STATUS_OK",
    "STATUS_TIMEOUT",
    "VERSION",
    "ZERO_HASH",
    "AnswerFrame",
    "AnyFrame",
    "Body",
    "ClockState",
    "Frame",
    "FrameBuilder",
    "Kind",
    "NodeFrame",
    "Payload",
    "Record",
    "inflate",
    "open_record",
    "peek_key_id",
    "record_hash",
    "sign_record",
]

VERSION = 1
HASH_LENGTH = 32
BOOT_ID_LENGTH = 16
ZERO_HASH = bytes(HASH_LENGTH)
"""``prev`` of the first record, and ``descriptor`` of the records before the first descriptor."""

_COMPRESSION_LEVEL = 9
_VERSION, _GATEWAY, _BOOT, _SEQ, _PREV, _DESCRIPTOR, _CLOCK, _TIME = range(8)
_FIRST_BODY = 8
_CLOCK_LIMIT_US = 2**62


class Kind(IntEnum):
    """Kinds of records; the body of kind ``k`` stands under key ``8 + k`` of the payload."""

    FRAMES = 0
    DESCRIPTOR = 1
    EVENT = 2
    HEAD = 3

    @property
    def subject(self) -> str:
        """The ``sub`` claim of such a record."""
        return _SUBJECTS[self]


_SUBJECTS = {kind: kind.name.lower() for kind in Kind}
_KINDS = {_FIRST_BODY + kind: kind for kind in Kind}
_FIELDS = {kind: frozenset({*range(_FIRST_BODY), body}) for body, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the gateway knew of its own clock: synchronised?, offset and error in microseconds; ``None`` = unknown."""

    synchronised: bool | None = None
    offset_us: int | None = None
    error_us: int | None = None


Body = tuple[AnyFrame, ...] | Descriptor | Event | Head


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record says.

    ``seq`` counts from 1 without gaps; ``prev`` is the hash of the record before (`ZERO_HASH` for the first);
    ``descriptor`` the hash of the record whose descriptor is in force; ``time_ms`` when the record was closed.
    """

    gateway: str
    boot_id: bytes
    seq: int
    prev: bytes
    descriptor: bytes
    clock: ClockState
    time_ms: int
    body: Body

    @property
    def kind(self) -> Kind:
        """The kind of the body."""
        if isinstance(self.body, tuple):
            return Kind.FRAMES
        if isinstance(self.body, Descriptor):
            return Kind.DESCRIPTOR
        return Kind.EVENT if isinstance(self.body, Event) else Kind.HEAD

    @property
    def frames(self) -> tuple[AnyFrame, ...]:
        """The frames of a frames record, of all three kinds; empty for other records."""
        return self.body if isinstance(self.body, tuple) else ()

    @property
    def register_frames(self) -> tuple[Frame, ...]:
        """Those of the frames that are reads of registers."""
        return tuple(frame for frame in self.frames if isinstance(frame, Frame))


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its bytes as sent, their SHA-256, the key they name, and what they say."""

    data: bytes
    hash: bytes
    key_id: bytes
    payload: Payload

    @property
    def seq(self) -> int:
        """The record's place in its gateway's chain."""
        return self.payload.seq


def record_hash(data: bytes) -> bytes:
    """Return the identity of a record: SHA-256 of its bytes as sent."""
    return hashlib.sha256(data).digest()


def sign_record(payload: Payload, key: SigningKey) -> Record:
    """Encode, compress and sign ``payload``.

    Raises `RecordError` (``oversized``) when the result would not be accepted by any reader.
    """
    inflated = cbor.encode(_payload_to_cbor(payload))
    data = cose.sign(zlib.compress(inflated, _COMPRESSION_LEVEL), key, payload.gateway, payload.kind.subject)
    if len(data) > MAXIMUM_RECORD_BYTES or len(inflated) > MAXIMUM_INFLATED_BYTES:
        raise RecordError("oversized", f"{len(data)} bytes; close records sooner, {MAXIMUM_RECORD_BYTES} are accepted")
    return Record(data, record_hash(data), key.public.key_id, payload)


def open_record(data: bytes, key: VerifyingKey | None) -> Record:
    """Decode a record and, with a key, verify its signature first.

    Without a key nothing is verified: the caller has the signature of a later record that vouches for this one, or is
    looking for the key. Raises `RecordError` with the fault.
    """
    message = cose.parse(data)
    if key is not None:
        message.verify(key)
    payload = _payload_from_cbor(cbor.decode(inflate(message.payload)))
    if payload.gateway != message.issuer:
        raise RecordError("issuer-mismatch", f"signed by {message.issuer}, but speaking for {payload.gateway}")
    if payload.kind.subject != message.subject:
        raise RecordError("subject-mismatch", f"signed as {message.subject}, but holding {payload.kind.subject}")
    return Record(data, record_hash(data), message.key_id, payload)


def peek_key_id(data: bytes) -> tuple[str, bytes]:
    """Return gateway id and key id that a record names, unverified; raise `RecordError` when it cannot be parsed."""
    message = cose.parse(data)
    return message.issuer, message.key_id


def inflate(compressed: bytes) -> bytes:
    """Return what the payload of a record holds; raise `RecordError` (``not-zlib``, ``inflated-too-large``,
    ``trailing-bytes``)."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(compressed, MAXIMUM_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise RecordError("not-zlib", f"the payload does not inflate: {error}") from error
    if len(inflated) > MAXIMUM_INFLATED_BYTES:
        raise RecordError("inflated-too-large", f"the payload inflates beyond {MAXIMUM_INFLATED_BYTES} bytes")
    if not stream.eof:
        raise RecordError("not-zlib", "the compressed payload ends too early")
    if stream.unused_data:
        raise RecordError("trailing-bytes", f"{len(stream.unused_data)} bytes follow the compressed payload")
    return inflated


def _payload_to_cbor(payload: Payload) -> dict[int, Any]:
    clock, body = payload.clock, payload.body
    encoded: Any
    if isinstance(body, tuple):
        encoded = [frame_to_cbor(frame) for frame in body]
    elif isinstance(body, Descriptor):
        encoded = descriptor_to_cbor(body)
    elif isinstance(body, Event):
        encoded = event_to_cbor(body)
    else:
        encoded = head_to_cbor(body)
    return {
        _VERSION: VERSION,
        _GATEWAY: payload.gateway,
        _BOOT: payload.boot_id,
        _SEQ: payload.seq,
        _PREV: payload.prev,
        _DESCRIPTOR: payload.descriptor,
        _CLOCK: [clock.synchronised, clock.offset_us, clock.error_us],
        _TIME: payload.time_ms,
        _FIRST_BODY + payload.kind: encoded,
    }


def _payload_from_cbor(value: Any) -> Payload:
    if not isinstance(value, dict):
        raise schema.fault("payload", "must be a map")
    version = value.get(_VERSION)
    if type(version) is not int or version != VERSION:
        raise RecordError("unsupported-version", f"version {version!r}; this reader knows {VERSION}")
    bodies = [key for key in value if isinstance(key, int) and key >= _FIRST_BODY]
    kind = _KINDS.get(bodies[0]) if len(bodies) == 1 else None
    if kind is None:
        raise schema.fault("payload", "must hold exactly one body: frames, descriptor, event or head")
    fields = schema.mapping(value, "payload", _FIELDS[kind])
    gateway = schema.identifier(fields[_GATEWAY], "gateway")
    seq = schema.integer(fields[_SEQ], "seq", 1, MAXIMUM_SEQUENCE)
    prev = schema.octets(fields[_PREV], "prev", HASH_LENGTH)
    if (seq == 1) != (prev == ZERO_HASH):
        raise RecordError("prev-mismatch", "the first record, and only the first, has no record before it")
    body = _body_from_cbor(kind, fields[_FIRST_BODY + kind])
    if isinstance(body, Descriptor) and body.gateway != gateway:
        raise RecordError("issuer-mismatch", f"the descriptor is that of {body.gateway}, the record is of {gateway}")
    if isinstance(body, Head) and (body.seq, body.hash) != (seq - 1, prev):
        raise RecordError("prev-mismatch", f"a head at seq {seq} states record {seq - 1}, this one states another")
    return Payload(
        gateway=gateway,
        boot_id=schema.octets(fields[_BOOT], "boot_id", BOOT_ID_LENGTH),
        seq=seq,
        prev=prev,
        descriptor=schema.octets(fields[_DESCRIPTOR], "descriptor", HASH_LENGTH),
        clock=_clock_from_cbor(fields[_CLOCK]),
        time_ms=schema.time_ms(fields[_TIME], "time_ms"),
        body=body,
    )


def _body_from_cbor(kind: Kind, value: Any) -> Body:
    if kind is Kind.FRAMES:
        frames = schema.array(value, "frames", maximum=MAXIMUM_FRAMES)
        return tuple(frame_from_cbor(frame, f"frames[{index}]") for index, frame in enumerate(frames))
    if kind is Kind.DESCRIPTOR:
        return descriptor_from_cbor(value)
    return event_from_cbor(value) if kind is Kind.EVENT else head_from_cbor(value)


def _clock_from_cbor(value: Any) -> ClockState:
    synchronised, offset, error = schema.array(value, "clock", length=3)
    return ClockState(
        synchronised=None if synchronised is None else schema.boolean(synchronised, "clock.synchronised"),
        offset_us=None
        if offset is None
        else schema.integer(offset, "clock.offset_us", -_CLOCK_LIMIT_US, _CLOCK_LIMIT_US),
        error_us=None if error is None else schema.integer(error, "clock.error_us", 0, _CLOCK_LIMIT_US),
    )
