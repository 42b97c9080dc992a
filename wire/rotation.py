"""The keys of a gateway along its chain: which one signs from which record on, and how one hands over to the next.

A key is replaced on record: an event ``key_rotated``, signed by the key in force, names the next one and carries that
one's own signature, so that nobody can name a key that he does not hold. The records behind the event are signed by the
successor, and by nobody else. Whoever trusts the first key of a chain can therefore follow the chain over any number of
rotations without being told another key.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from wire import cbor, schema
from wire.errors import RecordError
from wire.event import Event
from wire.keys import KEY_LENGTH, SIGNATURE_LENGTH, SigningKey, VerifyingKey
from wire.record import Record, open_record, peek_key_id

_PURPOSE = "shopfloor key rotation 1"


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """The key that signs from the next record on, and its signature over gateway, predecessor and itself."""

    successor: VerifyingKey
    proof: bytes

    @classmethod
    def make(cls, gateway: str, predecessor: VerifyingKey, successor: SigningKey) -> KeyRotation:
        """Return the statement by which ``successor`` follows ``predecessor``."""
        return cls(successor.public, successor.sign(_statement(gateway, predecessor, successor.public)))

    def to_event(self) -> Event:
        """Return the event that puts this rotation on record."""
        return Event("key_rotated", {"public_key": self.successor.raw, "proof": self.proof})

    @classmethod
    def from_event(cls, event: Event) -> KeyRotation:
        """Read an event ``key_rotated``; raise `RecordError` (``bad-payload``) when a field is off."""
        fields = schema.mapping(event.detail, "key_rotated", {"public_key", "proof"})
        return cls(
            VerifyingKey.from_bytes(schema.octets(fields["public_key"], "key_rotated.public_key", KEY_LENGTH)),
            schema.octets(fields["proof"], "key_rotated.proof", SIGNATURE_LENGTH),
        )


def rotates_key(record: Record) -> bool:
    """Tell whether ``record`` says that another key follows."""
    return isinstance(record.payload.body, Event) and record.payload.body.name == "key_rotated"


class KeyHistory:
    """The keys of one gateway. ``first`` signs from record 1 on, each of ``successors`` from the seq it is kept under.

    Immutable; equal when the keys and their places are.
    """

    __slots__ = ("_keys", "_starts")

    def __init__(self, first: VerifyingKey, successors: Mapping[int, VerifyingKey] | None = None) -> None:
        followed = sorted((successors or {}).items())
        self._starts = (1, *(seq for seq, _ in followed))
        self._keys = (first, *(key for _, key in followed))

    @classmethod
    def of(cls, key: VerifyingKey | KeyHistory) -> KeyHistory:
        """Return ``key`` as the history of a gateway that has never had another."""
        return key if isinstance(key, KeyHistory) else cls(key)

    @property
    def first(self) -> VerifyingKey:
        """The key that the trust in all others rests on."""
        return self._keys[0]

    @property
    def newest(self) -> VerifyingKey:
        """The key that signs now."""
        return self._keys[-1]

    @property
    def successors(self) -> dict[int, VerifyingKey]:
        """The keys that followed the first one, by the seq from which they sign."""
        return dict(zip(self._starts[1:], self._keys[1:], strict=True))

    def knows(self, key_id: bytes) -> bool:
        """Tell whether one of the keys has this id."""
        return any(key.key_id == key_id for key in self._keys)

    def at(self, seq: int) -> VerifyingKey:
        """Return the key that signs record ``seq``."""
        return self._keys[max(0, bisect_right(self._starts, seq) - 1)]

    def open(self, data: bytes) -> Record:
        """Verify and decode one record; raise `RecordError` (``wrong-key``, ``bad-signature``, ...)."""
        key_id = peek_key_id(data)[1]
        record = open_record(data, next((key for key in self._keys if key.key_id == key_id), self.newest))
        if (expected := self.at(record.seq).key_id) != key_id:
            raise RecordError(
                "wrong-key", f"it names key {key_id.hex()}, but record {record.seq} is {expected.hex()}'s"
            )
        return record

    def through(self, record: Record) -> KeyHistory:
        """Return the keys behind ``record``, whose own signature has been checked: one more if it is a rotation.

        Only the newest key can name a successor, and only behind where it came into force itself: a key that has been
        replaced has no say any more. Raises `RecordError` (``bad-rotation``) when the successor has not proven itself.
        """
        body = record.payload.body
        if not isinstance(body, Event) or body.name != "key_rotated" or record.seq < self._starts[-1]:
            return self
        rotation = KeyRotation.from_event(body)
        statement = _statement(record.payload.gateway, self.newest, rotation.successor)
        if not rotation.successor.verify(rotation.proof, statement):
            raise RecordError(
                "bad-rotation", f"key {rotation.successor.key_id.hex()} has not signed that it follows the one before"
            )
        return KeyHistory(self.first, self.successors | {record.seq + 1: rotation.successor})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyHistory) and (self._starts, self._keys) == (other._starts, other._keys)

    def __hash__(self) -> int:
        return hash((self._starts, self._keys))

    def __repr__(self) -> str:
        return f"KeyHistory({dict(zip(self._starts, self._keys, strict=True))})"


def _statement(gateway: str, predecessor: VerifyingKey, successor: VerifyingKey) -> bytes:
    return cbor.encode([_PURPOSE, gateway, predecessor.raw, successor.raw])
