"""The end of the chain, kept a second time beside the spool.

No number of the chain may be used twice, whatever becomes of the database that holds the records. So the end of the
chain is written to a small file of its own, behind every commit and before the record is shown to anyone: what has ever
left the gateway is at or before the end that this file names. It has two slots that are written in turn, in place: a
torn write damages the slot that is being written and leaves the one before it, and a full disk cannot prevent it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wire import cbor, schema
from wire.errors import RecordError
from wire.limits import MAXIMUM_SEQUENCE

_SLOT_BYTES = 4096
_SLOTS = 2
_DIGEST_BYTES = 32
_LENGTH_BYTES = 2
_KEYS = set(range(8))


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Up to which record one server has everything, that record's hash, and when the server said so."""

    seq: int
    hash: bytes
    issued_ms: int


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the chain stands: last record, descriptor in force, and what each server has, by the uplink's id."""

    seq: int
    hash: bytes
    descriptor_seq: int
    descriptor_hash: bytes
    uplinks: Mapping[str, Acknowledged]

    @property
    def acknowledged(self) -> int:
        """The highest seq up to which every server has everything; 0 without uplinks."""
        return min((one.seq for one in self.uplinks.values()), default=0)


@dataclass(frozen=True, slots=True)
class KnownHead:
    """What the file says. ``certain``: both slots are whole, so nothing newer was ever written to it."""

    gateway: str
    key_id: bytes
    state: ChainState
    certain: bool


class HeadFile:
    """The file ``path`` of the chain of ``gateway`` and its key; see the module's text."""

    def __init__(self, path: Path, gateway: str, key_id: bytes) -> None:
        self._path = path
        self._gateway = gateway
        self._key_id = key_id
        self._file: int | None = None
        self._generation = 0
        self._whole = False

    def read(self) -> KnownHead | None:
        """Return what the file says, or ``None`` when there is none or none of it can be read."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        slots = [_parse(content[at : at + _SLOT_BYTES]) for at in range(0, _SLOTS * _SLOT_BYTES, _SLOT_BYTES)]
        whole = [slot for slot in slots if slot is not None]
        self._whole = len(whole) == _SLOTS
        if not whole:
            return None
        self._generation, known = max(whole, key=lambda slot: slot[0])
        return KnownHead(known.gateway, known.key_id, known.state, certain=self._whole)

    def write(self, state: ChainState) -> None:
        """Make ``state`` durable; raise `OSError` when the disk fails."""
        file = self._open() if self._file is None else self._file
        self._file = file
        # Both slots are written at first, so that a slot that cannot be read later is known to have been damaged.
        for _ in range(1 if self._whole else _SLOTS):
            self._generation += 1
            slot = _slot(self._generation, self._gateway, self._key_id, state)
            os.pwrite(file, slot, self._generation % _SLOTS * _SLOT_BYTES)
            os.fdatasync(file)
        self._whole = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size < _SLOTS * _SLOT_BYTES:
                os.pwrite(file, bytes(_SLOTS * _SLOT_BYTES), 0)
                os.fsync(file)
                sync_directory(self._path.parent)
        except OSError:
            os.close(file)
            raise
        return file


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _slot(generation: int, gateway: str, key_id: bytes, state: ChainState) -> bytes:
    uplinks = [[name, one.seq, one.hash, one.issued_ms] for name, one in sorted(state.uplinks.items())]
    fields = [generation, gateway, key_id, state.seq, state.hash, state.descriptor_seq, state.descriptor_hash, uplinks]
    payload = cbor.encode(dict(enumerate(fields)))
    content = hashlib.sha256(payload).digest() + len(payload).to_bytes(_LENGTH_BYTES, "big") + payload
    return content.ljust(_SLOT_BYTES, b"\0")


def _parse(slot: bytes) -> tuple[int, KnownHead] | None:
    start = _DIGEST_BYTES + _LENGTH_BYTES
    length = int.from_bytes(slot[_DIGEST_BYTES:start], "big")
    payload = slot[start : start + length]
    if len(slot) != _SLOT_BYTES or hashlib.sha256(payload).digest() != slot[:_DIGEST_BYTES]:
        return None
    try:
        fields = schema.mapping(cbor.decode(payload), "head", _KEYS)
        seqs = [schema.integer(fields[key], "head", 0, MAXIMUM_SEQUENCE) for key in (0, 3, 5)]
        uplinks = {name: Acknowledged(seq, hash_, issued_ms) for name, seq, hash_, issued_ms in fields[7]}
    except (RecordError, TypeError, ValueError):
        return None
    state = ChainState(seqs[1], fields[4], seqs[2], fields[6], uplinks)
    return seqs[0], KnownHead(fields[1], fields[2], state, certain=True)
