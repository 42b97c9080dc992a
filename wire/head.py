"""Heads: a gateway's own statement of how far its chain has come. Transparency logs take in heads, not every record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wire import schema
from wire.limits import MAXIMUM_SEQUENCE


@dataclass(frozen=True, slots=True)
class Head:
    """``hash`` is the hash of record ``seq``: every record up to it is fixed by this statement."""

    seq: int
    hash: bytes


def head_to_cbor(head: Head) -> dict[str, Any]:
    """Return the head as the CDDL's ``head`` map."""
    return {"seq": head.seq, "hash": head.hash}


def head_from_cbor(value: Any) -> Head:
    """Read the CDDL's ``head`` map; raise `RecordError` (``bad-payload``) naming the field that is off."""
    fields = schema.mapping(value, "head", {"seq", "hash"})
    return Head(
        seq=schema.integer(fields["seq"], "head.seq", 1, MAXIMUM_SEQUENCE),
        hash=schema.octets(fields["hash"], "head.hash", 32),
    )
