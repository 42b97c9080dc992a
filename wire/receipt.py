"""Acknowledgements: the server's signed word that it has committed a gateway's records.

A gateway frees its spool on nothing less: what a broker confirms, it may still lose.
"""

from __future__ import annotations

from dataclasses import dataclass

from wire import cbor, cose, schema
from wire.errors import ReceiptError, RecordError
from wire.keys import SigningKey, VerifyingKey
from wire.limits import MAXIMUM_SEQUENCE

SUBJECT = "acknowledgement"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """``seq`` is the highest record up to which everything is committed (0: nothing yet), ``hash`` that record's hash.

    ``issued_ms`` orders acknowledgements: a later one with a lower ``seq`` means that the server was restored from a
    copy and needs the records after ``seq`` again.
    """

    gateway: str
    seq: int
    hash: bytes
    issued_ms: int


def sign_acknowledgement(acknowledgement: Acknowledgement, key: SigningKey) -> bytes:
    """Return the COSE_Sign1 message that states ``acknowledgement``."""
    payload = cbor.encode(
        {
            0: _VERSION,
            1: acknowledgement.gateway,
            2: acknowledgement.seq,
            3: acknowledgement.hash,
            4: acknowledgement.issued_ms,
        }
    )
    return cose.sign(payload, key, acknowledgement.gateway, SUBJECT)


def open_acknowledgement(data: bytes, key: VerifyingKey) -> Acknowledgement:
    """Verify and decode an acknowledgement; raise `ReceiptError` with the fault."""
    try:
        message = cose.parse(data)
        message.verify(key)
        fields = schema.mapping(cbor.decode(message.payload), "acknowledgement", set(range(5)))
        if (
            schema.integer(fields[0], "version", 0, MAXIMUM_SEQUENCE) != _VERSION
            or message.subject != SUBJECT
            or message.issuer != fields[1]
        ):
            raise schema.fault("acknowledgement", "is of another version, subject or gateway")
        return Acknowledgement(
            gateway=schema.identifier(fields[1], "gateway"),
            seq=schema.integer(fields[2], "seq", 0, MAXIMUM_SEQUENCE),
            hash=schema.octets(fields[3], "hash", 32),
            issued_ms=schema.time_ms(fields[4], "issued_ms"),
        )
    except RecordError as error:
        raise ReceiptError(error.fault, str(error).removeprefix(f"{error.fault}: ")) from error
