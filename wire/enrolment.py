"""Enrolment as gateway and server speak of it: the one-time code, and what the gateway's key signs.

The gateway makes two keys that never leave it: one for TLS (P-256), whose certificates come and go, and the evidence
key (Ed25519), whose signatures outlive them. With the code it sends a certificate signing request (PKCS #10), signed by
the TLS key, and a signature of the evidence key over that request: possession of both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Self

from wire import cbor
from wire.errors import EnrolmentCodeError
from wire.keys import VerifyingKey
from wire.topics import valid_identifier

AUTHORITY_PATH = "/v1/enrol/authority"
REQUEST_PATH = "/v1/enrol"
STATUS_PATH = "/v1/enrol/status"
RENEWAL_PATH = "/v1/enrol/renewal"

MAXIMUM_CLOCK_DIFFERENCE_MS = 86_400_000
"""How far the clock of a gateway that asks how its enrolment stands may be off: a signature is not good for ever."""

_VERSION = "sfe1"
_SECRET_BYTES = 32
_ID_BYTES = 6
_DIGEST_BYTES = 32
_PARTS = 5
_GROUPS = 5


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """A one-time code: for which gateway, its id, its secret, and SHA-256 over the authority's certificate.

    A gateway that has the code knows by the last part whom it talks to.
    """

    gateway: str
    id: str
    secret: bytes
    authority: bytes

    @classmethod
    def make(cls, gateway: str, authority: bytes) -> Self:
        """Make a code from the operating system's random source."""
        return cls(gateway, secrets.token_hex(_ID_BYTES), secrets.token_bytes(_SECRET_BYTES), authority)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the text form; raise `EnrolmentCodeError` when it is none."""
        parts = text.strip().split(".")
        if len(parts) != _PARTS or parts[0] != _VERSION or not valid_identifier(parts[1]):
            raise EnrolmentCodeError(
                f"this is no enrolment code; it has {_PARTS} parts with dots between and begins with {_VERSION}. "
                "Copy the whole line that the server printed"
            )
        try:
            secret, authority = (_from_base64url(part) for part in parts[3:])
        except (binascii.Error, ValueError) as error:
            raise EnrolmentCodeError("the code has a character that does not belong there; copy it again") from error
        if len(secret) != _SECRET_BYTES or len(authority) != _DIGEST_BYTES or not parts[2].isalnum():
            raise EnrolmentCodeError("a part of the code is missing or too long; copy the whole line again")
        return cls(parts[1], parts[2], secret, authority)

    @property
    def text(self) -> str:
        """The code as people pass it on."""
        return ".".join([_VERSION, self.gateway, self.id, _to_base64url(self.secret), _to_base64url(self.authority)])

    @property
    def secret_hash(self) -> bytes:
        """SHA-256 over the secret: what the server keeps."""
        return hashlib.sha256(self.secret).digest()

    def __repr__(self) -> str:
        return f"EnrolmentCode({self.gateway}, {self.id})"


def enrolment_statement(gateway: str, code: str, request: bytes) -> bytes:
    """Return what the evidence key signs to enrol: gateway, id of the code, SHA-256 over the signing request (DER)."""
    return cbor.encode(["shopfloor enrolment 1", gateway, code, hashlib.sha256(request).digest()])


def status_statement(gateway: str, at_ms: int) -> bytes:
    """Return what the evidence key signs to ask how the enrolment stands."""
    return cbor.encode(["shopfloor enrolment status 1", gateway, at_ms])


def short_fingerprint(evidence_key: VerifyingKey, tls_key: bytes) -> str:
    """Return what two people compare before one approves: 80 bits over both keys, like ``1f3a-...``.

    ``tls_key`` is the SubjectPublicKeyInfo (DER) of the key in the signing request.
    """
    digest = hashlib.sha256(cbor.encode([evidence_key.raw, tls_key])).hexdigest()
    return "-".join(re.findall("....", digest)[:_GROUPS])


def _to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
