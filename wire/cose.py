"""COSE_Sign1 messages (RFC 9052, section 4.2) as this product uses them.

Algorithm EdDSA (RFC 9053, 2.2) with Ed25519; the protected header holds the algorithm (1), the key id (4) and the CWT
claims (15, RFC 9597) issuer (1) and subject (2); the unprotected header is empty; the payload is attached. The message
carries its tag 18. Bytes are parsed once and never serialised again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from wire import cbor
from wire.errors import RecordError
from wire.keys import KEY_ID_LENGTH, SIGNATURE_LENGTH, SigningKey, VerifyingKey
from wire.limits import MAXIMUM_RECORD_BYTES

ALGORITHM_EDDSA = -8
_TAG_SIGN1 = 0xD2
_ALGORITHM, _CRITICAL, _KEY_ID, _CLAIMS = 1, 2, 4, 15
_ISSUER, _SUBJECT = 1, 2
_HEADERS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Sign1:
    """A parsed message; nothing is verified by parsing. ``protected`` is its protected header as it came."""

    issuer: str
    subject: str
    key_id: bytes
    protected: bytes
    payload: bytes
    signature: bytes

    @property
    def to_be_signed(self) -> bytes:
        """The Sig_structure (RFC 9052, 4.4)."""
        return _to_be_signed(self.protected, self.payload)

    def verify(self, key: VerifyingKey) -> None:
        """Raise `RecordError` (``wrong-key`` or ``bad-signature``) unless ``key`` made the signature."""
        if key.key_id != self.key_id:
            raise RecordError("wrong-key", f"it names key {self.key_id.hex()}, it was checked with {key.key_id.hex()}")
        if not key.verify(self.signature, self.to_be_signed):
            raise RecordError("bad-signature", f"the signature is not that of key {key.key_id.hex()} over these bytes")


def sign(payload: bytes, key: SigningKey, issuer: str, subject: str) -> bytes:
    """Return the tagged COSE_Sign1 message over ``payload``."""
    protected = cbor.encode(
        {_ALGORITHM: ALGORITHM_EDDSA, _KEY_ID: key.public.key_id, _CLAIMS: {_ISSUER: issuer, _SUBJECT: subject}}
    )
    signature = key.sign(_to_be_signed(protected, payload))
    return bytes([_TAG_SIGN1]) + cbor.encode([protected, {}, payload, signature])


def parse(data: bytes) -> Sign1:
    """Parse a message without verifying it.

    Raises `RecordError`: ``oversized``, ``not-a-record``, ``truncated``, ``trailing-bytes``, ``not-canonical``,
    ``unsupported-algorithm``, ``unknown-critical-header``, ``unexpected-header``, ``unprotected-header``.
    """
    if len(data) > MAXIMUM_RECORD_BYTES:
        raise RecordError("oversized", f"{len(data)} bytes; at most {MAXIMUM_RECORD_BYTES} are accepted")
    if not data:
        raise RecordError("truncated", "no bytes at all")
    if data[0] != _TAG_SIGN1:
        raise RecordError("not-a-record", "the bytes do not begin with the tag of a COSE_Sign1 message (18)")
    parts = cbor.decode(data[1:])
    if not isinstance(parts, list) or len(parts) != 4:
        raise RecordError("not-a-record", "a COSE_Sign1 message is an array of four parts")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise RecordError("not-a-record", "protected header, payload and signature must be byte strings")
    if unprotected != {}:
        raise RecordError("unprotected-header", "the unprotected header must be empty: nobody signs what stands there")
    if len(signature) != SIGNATURE_LENGTH:
        raise RecordError("bad-signature", f"the signature has {len(signature)} bytes, Ed25519 has {SIGNATURE_LENGTH}")
    issuer, subject, key_id = _header(protected)
    return Sign1(issuer, subject, key_id, protected, payload, signature)


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return cbor.encode(["Signature1", protected, b"", payload])


@lru_cache(maxsize=_HEADERS_KEPT)
def _header(protected: bytes) -> tuple[str, str, bytes]:
    """Return issuer, subject and key id of a protected header.

    It is the same for every record of a gateway of one kind. What raises is not kept, so that nobody fills the memory
    with headers that are none.
    """
    header = cbor.decode(protected)
    if not isinstance(header, dict):
        raise RecordError("not-a-record", "the protected header must be a map")
    if _CRITICAL in header:
        raise RecordError("unknown-critical-header", f"it demands headers that are not known here: {header[_CRITICAL]}")
    unexpected = set(header) - {_ALGORITHM, _KEY_ID, _CLAIMS}
    if unexpected:
        raise RecordError(
            "unexpected-header", f"header labels {sorted(map(str, unexpected))} have no place in a record"
        )
    algorithm = header.get(_ALGORITHM)
    if type(algorithm) is not int or algorithm != ALGORITHM_EDDSA:
        raise RecordError("unsupported-algorithm", f"algorithm {algorithm!r}; EdDSA ({ALGORITHM_EDDSA}) is used")
    key_id = header.get(_KEY_ID)
    if not isinstance(key_id, bytes) or len(key_id) != KEY_ID_LENGTH:
        raise RecordError("not-a-record", f"the key id must be a byte string of {KEY_ID_LENGTH} bytes")
    claims = header.get(_CLAIMS)
    if not isinstance(claims, dict) or set(claims) != {_ISSUER, _SUBJECT}:
        raise RecordError("not-a-record", "the CWT claims must hold issuer (1) and subject (2) and nothing else")
    issuer, subject = claims[_ISSUER], claims[_SUBJECT]
    if not isinstance(issuer, str) or not isinstance(subject, str):
        raise RecordError("not-a-record", "issuer and subject must be texts")
    return issuer, subject, key_id
