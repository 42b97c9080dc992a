"""Ed25519 keys (RFC 8032) of gateways and servers, their key ids, text forms and fingerprints."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wire.errors import KeyFormatError

KEY_LENGTH = 32
SIGNATURE_LENGTH = 64
KEY_ID_LENGTH = 8
_PREFIX = "ed25519:"
_PRIVATE_PREFIX = "ed25519-private:"


class VerifyingKey:
    """A public Ed25519 key.

    ``raw`` are its 32 bytes, ``key_id`` the first 8 bytes of their SHA-256 (what a record names), ``text`` the form in
    configuration files, ``fingerprint`` the form that two people compare aloud.
    """

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_LENGTH:
            raise KeyFormatError(f"a public key has {KEY_LENGTH} bytes, this one has {len(raw)}")
        self.raw = raw
        digest = hashlib.sha256(raw).digest()
        self.key_id = digest[:KEY_ID_LENGTH]
        self.fingerprint = " ".join(re.findall("....", digest[:16].hex()))
        try:
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise KeyFormatError(f"not an Ed25519 public key: {error}") from error

    @classmethod
    def from_bytes(cls, raw: bytes) -> VerifyingKey:
        """Make a key of its 32 raw bytes; raise `KeyFormatError` if they are none."""
        return cls(raw)

    @classmethod
    def from_text(cls, text: str) -> VerifyingKey:
        """Read the text form ``ed25519:<base64url without padding>``; raise `KeyFormatError` if it is not that."""
        text = text.strip()
        if not text.startswith(_PREFIX):
            raise KeyFormatError(f"a public key starts with '{_PREFIX}', this text starts with '{text[:8]}'")
        return cls(_from_base64url(text, _PREFIX))

    @property
    def text(self) -> str:
        """The key as ``ed25519:<base64url without padding>``."""
        return _PREFIX + _to_base64url(self.raw)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether ``signature`` (64 bytes) is this key's signature of ``data``."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.text})"


class SigningKey:
    """A private Ed25519 key. ``seed`` are its 32 secret bytes; ``public`` is the key that verifies."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_LENGTH:
            raise KeyFormatError(f"a private key has {KEY_LENGTH} bytes, this one has {len(seed)}")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = VerifyingKey(self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the operating system's random source."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_bytes(cls, seed: bytes) -> SigningKey:
        """Make a key of its 32 secret bytes; raise `KeyFormatError` if they are none."""
        return cls(seed)

    @classmethod
    def from_private_text(cls, text: str) -> SigningKey:
        """Read the form in key files, ``ed25519-private:<base64url>``; raise `KeyFormatError` if it is not that."""
        text = text.strip()
        if not text.startswith(_PRIVATE_PREFIX):
            raise KeyFormatError(f"does not begin with '{_PRIVATE_PREFIX}'")
        return cls(_from_base64url(text, _PRIVATE_PREFIX))

    @property
    def private_text(self) -> str:
        """The secret as ``ed25519-private:<base64url without padding>``: for key files that only their owner reads."""
        return _PRIVATE_PREFIX + _to_base64url(self.seed)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of ``data``."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.text})"


def _to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_base64url(text: str, prefix: str) -> bytes:
    encoded = text.removeprefix(prefix).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyFormatError(f"the part after '{prefix}' is not base64url; copy the whole line again") from error
