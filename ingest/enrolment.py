"""Letting gateways in, and putting them out: codes, requests, decisions of people, certificates.

A request changes nothing by itself: it waits until a person has compared the short fingerprint on both sides. Whatever
is refused becomes an incident. Every function works in the caller's transaction; a refusal is returned and not raised,
because what has to be kept of the attempt (a used-up try, an incident) must be committed.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest.certificate_authority import CertificateAuthority, common_name, serial_text
from ingest.errors import AuthorityError, EnrolmentError
from ingest.trust import stored_trust
from store import enrolment as kept
from store.database import Connection
from store.gateways import add_gateway, revoke_gateway
from store.gateways import gateway as stored_gateway
from store.incidents import add_incident
from wire.enrolment import (
    MAXIMUM_CLOCK_DIFFERENCE_MS,
    EnrolmentCode,
    enrolment_statement,
    short_fingerprint,
    status_statement,
)
from wire.keys import VerifyingKey

CODE_HOURS = 24
SECOND_KEY = "second-key"
"""Incident: a device with another key asks to be enrolled under the id of a gateway that is; it cannot be approved."""

ENROLMENT_REFUSED = "enrolment-refused"
"""Incident: somebody asked to be enrolled, or for a certificate, and was refused."""

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody was refused. ``reason`` is a stable word, ``text`` tells the rightful asker what to do."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """What a gateway sends: its code, signing request (DER), evidence key, and that key's signature."""

    code: EnrolmentCode
    request: bytes
    evidence_key: VerifyingKey
    proof: bytes


def issue_code(conn: Connection, gateway: str, authority: bytes, now_ms: int, actor: str) -> EnrolmentCode:
    """Make a one-time code for ``gateway``, valid for 24 hours; an unused earlier one is void from now on.

    ``authority`` is SHA-256 over the authority's certificate. Raises `EnrolmentError` for a gateway that is revoked.
    """
    known = stored_gateway(conn, gateway)
    if known is not None and known.revoked_ms is not None:
        raise EnrolmentError(f"gateway {gateway} is revoked, for good; give the device another id")
    code = EnrolmentCode.make(gateway, authority)
    kept.add_code(conn, code.id, gateway, code.secret_hash, now_ms, now_ms + CODE_HOURS * _HOUR_MS)
    kept.add_decision(conn, gateway, "code-issued", actor, {"code": code.id}, now_ms)
    return code


def request_enrolment(conn: Connection, asked: EnrolmentRequest, origin: str, now_ms: int) -> kept.Enrolment | Refusal:
    """Take a request in, to be decided on by a person; a refusal is an incident, and so is a second key of a gateway.

    The same request again (its answer was lost on the way) gets the same answer.
    """
    refusal = _improper(asked) or _unusable(conn, asked, now_ms)
    if refusal is None:
        code = asked.code
        known = stored_trust(conn, code.gateway)
        if known is not None and known.keys.newest.raw != asked.evidence_key.raw:
            detail = {"evidence_key": asked.evidence_key.text, "origin": origin}
            add_incident(conn, code.gateway, SECOND_KEY, None, detail, None, now_ms)
        return kept.add_enrolment(conn, code.id, code.gateway, asked.evidence_key.raw, asked.request, origin, now_ms)
    if refusal.reason == "used-code":
        earlier = kept.enrolment_of_code(conn, asked.code.id)
        if earlier is not None and (earlier.evidence_key, earlier.request) == (asked.evidence_key.raw, asked.request):
            return earlier
    note_refusal(conn, asked.code.gateway, refusal, origin, now_ms)
    return refusal


def note_refusal(conn: Connection, gateway: str, refusal: Refusal, origin: str, now_ms: int) -> None:
    """Make a refusal an incident."""
    add_incident(conn, gateway, ENROLMENT_REFUSED, None, {"reason": refusal.reason, "origin": origin}, None, now_ms)


def fingerprint_of(one: kept.Enrolment) -> str:
    """Return the short fingerprint of the keys in a request, as the gateway shows it."""
    request = x509.load_der_x509_csr(one.request)
    return short_fingerprint(VerifyingKey.from_bytes(one.evidence_key), _public_bytes(request))


def approve(conn: Connection, id: int, fingerprint: str, actor: str, now_ms: int) -> kept.Enrolment:
    """Trust the evidence key of a request; ``fingerprint`` is what stands on the gateway's screen.

    Raises `EnrolmentError` when it is another, when there is no such request or it was decided on before, and
    `store.errors.DuplicateGatewayError` when the gateway is registered with another key.
    """
    one = _pending(conn, id)
    if (shown := fingerprint_of(one)) != fingerprint.strip().lower().replace(" ", "-"):
        raise EnrolmentError(
            f"request {id} has fingerprint {shown}, not {fingerprint}: somebody else may have used the code. "
            f"If the gateway does not show {shown}, refuse it: shopfloor ingest refuse {id}"
        )
    known = stored_gateway(conn, one.gateway)
    if known is not None and known.revoked_ms is not None:
        raise EnrolmentError(f"gateway {one.gateway} is revoked, for good; give the device another id")
    trust = stored_trust(conn, one.gateway)
    if trust is None or trust.keys.newest.raw != one.evidence_key:
        add_gateway(conn, one.gateway, one.evidence_key)
    kept.set_enrolment_state(conn, id, "approved")
    key = VerifyingKey.from_bytes(one.evidence_key)
    detail = {"enrolment": id, "fingerprint": shown, "evidence_key": key.text}
    kept.add_decision(conn, one.gateway, "enrolment-approved", actor, detail, now_ms)
    return one


def refuse(conn: Connection, id: int, actor: str, now_ms: int) -> kept.Enrolment:
    """Turn a request down; raise `EnrolmentError` when there is no such request or it was decided on before."""
    one = _pending(conn, id)
    kept.set_enrolment_state(conn, id, "refused")
    detail = {"enrolment": id, "fingerprint": fingerprint_of(one)}
    kept.add_decision(conn, one.gateway, "enrolment-refused", actor, detail, now_ms)
    return one


def revoke(conn: Connection, gateway: str, reason: str, actor: str, now_ms: int) -> list[str]:
    """Take nothing from a gateway any more; return the serial numbers of the certificates that are void with it.

    Records stored before stay what they are. Raises `EnrolmentError` when there is no such gateway, or it is revoked.
    """
    if not revoke_gateway(conn, gateway, now_ms):
        raise EnrolmentError(f"no gateway '{gateway}' is trusted here; shopfloor ingest status lists those that are")
    serials = kept.revoke_certificates(conn, gateway, now_ms)
    detail = {"reason": reason, "certificates": serials}
    kept.add_decision(conn, gateway, "revoked", actor, detail, now_ms)
    return serials


def standing(  # noqa: PLR0917 - what was asked, and when
    conn: Connection, gateway: str, evidence_key: VerifyingKey, at_ms: int, proof: bytes, now_ms: int
) -> kept.Enrolment | Refusal:
    """Return the newest request of this gateway and key; the asker proves that he holds the key."""
    if not evidence_key.verify(proof, status_statement(gateway, at_ms)):
        return Refusal("bad-proof", "the question is not signed by the key that it names")
    if abs(now_ms - at_ms) > MAXIMUM_CLOCK_DIFFERENCE_MS:
        return Refusal("old-proof", "the clock of the gateway is more than a day off; set it and ask again")
    for one in kept.enrolments(conn, gateway):
        if one.evidence_key == evidence_key.raw:
            return one
    return Refusal("unknown-enrolment", f"no request of gateway '{gateway}' with this key is known; enrol with a code")


def collect(
    conn: Connection, authority: CertificateAuthority, one: kept.Enrolment, now_ms: int
) -> x509.Certificate | Refusal:
    """Return the certificate of an approved request: made the first time, the same one afterwards."""
    known = stored_gateway(conn, one.gateway)
    if known is None or known.revoked_ms is not None:
        return Refusal("revoked", f"gateway {one.gateway} is revoked; ask the operator of the server")
    request = x509.load_der_x509_csr(one.request)
    for issued in kept.certificates(conn, one.gateway, at_ms=now_ms):
        certificate = x509.load_der_x509_certificate(issued.data)
        if issued.revoked_ms is None and certificate.public_key() == request.public_key():
            return certificate
    return _issue(conn, authority, one.gateway, request, now_ms)


def renew(
    conn: Connection, authority: CertificateAuthority, shown: x509.Certificate, request: bytes, now_ms: int
) -> x509.Certificate | Refusal:
    """Return a certificate for the key of ``request``, for the gateway that ``shown`` (a certificate it holds) names.

    The old one stays valid until it expires: a gateway that loses the answer can ask again.
    """
    issued = kept.certificate(conn, serial_text(shown))
    if not authority.is_mine(shown) or issued is None:
        return Refusal("foreign-certificate", "the certificate shown is not one that this server gave to a gateway")
    known = stored_gateway(conn, issued.gateway)
    if issued.revoked_ms is not None or known is None or known.revoked_ms is not None:
        return Refusal("revoked-certificate", f"gateway {common_name(shown)} is revoked")
    if issued.expires_ms <= now_ms:
        return Refusal("expired-certificate", "the certificate has expired; enrol again with a new code")
    try:
        asked = x509.load_der_x509_csr(request)
    except ValueError:
        return Refusal("bad-request", "the signing request is none")
    try:
        return _issue(conn, authority, issued.gateway, asked, now_ms)
    except AuthorityError as error:
        return Refusal("bad-request", str(error))


def _issue(
    conn: Connection,
    authority: CertificateAuthority,
    gateway: str,
    request: x509.CertificateSigningRequest,
    now_ms: int,
) -> x509.Certificate:
    certificate = authority.issue(gateway, request)
    issued = kept.IssuedCertificate(
        serial=serial_text(certificate),
        gateway=gateway,
        data=certificate.public_bytes(serialization.Encoding.DER),
        issued_ms=now_ms,
        expires_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
        revoked_ms=None,
    )
    kept.add_certificate(conn, issued)
    detail = {"serial": issued.serial, "expires_ms": issued.expires_ms}
    kept.add_decision(conn, gateway, "certificate-issued", "authority", detail, now_ms)
    return certificate


def _pending(conn: Connection, id: int) -> kept.Enrolment:
    one = kept.enrolment(conn, id)
    if one is None:
        raise EnrolmentError(f"there is no request {id}; list them with: shopfloor ingest enrolments")
    if one.state != "pending":
        raise EnrolmentError(f"request {id} of gateway {one.gateway} is {one.state} already")
    return one


def _improper(asked: EnrolmentRequest) -> Refusal | None:
    """Whether both keys are proven; looked at before the code, which is not used up by what is wrong in itself."""
    statement = enrolment_statement(asked.code.gateway, asked.code.id, asked.request)
    if not asked.evidence_key.verify(asked.proof, statement):
        return Refusal("bad-proof", "the request is not signed by the evidence key that it names")
    try:
        request = x509.load_der_x509_csr(asked.request)
        key = request.public_key()
        signed = request.is_signature_valid
    except ValueError:
        return Refusal("bad-request", "the signing request is none")
    if not signed or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return Refusal("bad-request", "the signing request must have a P-256 key and be signed by it")
    return None


def _unusable(conn: Connection, asked: EnrolmentRequest, now_ms: int) -> Refusal | None:
    """Use the code up, or say why it cannot be; the sentence tells more only to who has the secret."""
    code = asked.code
    if kept.use_code(conn, code.id, code.gateway, code.secret_hash, now_ms):
        return None
    known = kept.code_with_secret(conn, code.id, code.secret_hash)
    if known is None or known.gateway != code.gateway:
        return Refusal("unknown-code", "the server knows no such code; copy it again, or have a new one made")
    if known.used_ms is not None:
        return Refusal("used-code", "the code was used before. If it was not you, tell the operator of the server")
    if known.failures >= kept.MAXIMUM_FAILURES:
        return Refusal("blocked-code", "the code is void after too many attempts with a wrong one; have a new one made")
    return Refusal("expired-code", f"the code is older than {CODE_HOURS} hours; have a new one made")


def _public_bytes(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
