"""Enrolling this gateway at a server, and keeping the certificate that it gets fresh.

Everything of one uplink lies in a folder of its own in the data directory: the TLS key, which is made here and never
leaves, the signing request, the certificates, and how far the enrolment has come. Asking again with the same code is
harmless: the same request is sent, and the same answer comes.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import ssl
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config import ENROLMENT_FOLDER, GatewayConfig, UplinkConfig
from agent.errors import ConfigurationError, EnrolmentError, EnrolmentRefusedError, UnreachableServerError
from agent.keyfile import ensure_key, load_key
from wire.enrolment import (
    AUTHORITY_PATH,
    RENEWAL_PATH,
    REQUEST_PATH,
    STATUS_PATH,
    EnrolmentCode,
    enrolment_statement,
    short_fingerprint,
    status_statement,
)
from wire.errors import fault_text
from wire.keys import SigningKey

PENDING, APPROVED, REFUSED = "pending", "approved", "refused"
_TIMEOUT_SECONDS = 15.0
_MAXIMUM_ANSWER = 65_536
_RENEW_AFTER = 2 / 3


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an enrolment has come; kept in ``enrolment.json``. Times in ms UTC, 0 before there is a certificate."""

    gateway: str
    uplink: str
    server: str
    code: str
    state: str
    fingerprint: str
    request: str
    broker: str = ""
    server_key: str = ""
    renew_ms: int = 0
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class EnrolmentFiles:
    """The files of one uplink in its folder."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key for TLS."""
        return self.folder / "tls.key"

    @property
    def certificate(self) -> Path:
        """The certificate of that key."""
        return self.folder / "gateway.pem"

    @property
    def authority(self) -> Path:
        """The certificate of the server's authority."""
        return self.folder / "authority.pem"

    def read(self) -> Standing | None:
        """Return how far it has come, ``None`` when nothing was begun; raise `EnrolmentError` for a damaged file."""
        path = self.folder / "enrolment.json"
        try:
            return Standing(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise EnrolmentError(f"{path}: cannot be read ({error}); remove {self.folder} and enrol again") from error

    def write(self, standing: Standing) -> None:
        """Keep how far it has come."""
        write_private(self.folder / "enrolment.json", json.dumps(asdict(standing), indent=1).encode())


def files_of(data_directory: Path, uplink: str) -> EnrolmentFiles:
    """Return the files of the uplink with this id."""
    return EnrolmentFiles(data_directory / ENROLMENT_FOLDER / uplink)


def standings(data_directory: Path) -> list[Standing]:
    """Return how far each enrolment of the gateway has come, by uplink."""
    folders = sorted((data_directory / ENROLMENT_FOLDER).glob("*"))
    return [standing for folder in folders if (standing := EnrolmentFiles(folder).read()) is not None]


def begin(config: GatewayConfig, code: EnrolmentCode, server: str, uplink: str) -> Standing:
    """Make the keys that are missing and ask ``server`` to let this gateway in; return how it stands.

    Raises `EnrolmentError` when the server is not the one that made the code, or the code is for another gateway,
    `EnrolmentRefusedError` when it says no, `UnreachableServerError` when it does not answer.
    """
    if code.gateway != config.gateway:
        raise EnrolmentError(
            f"the code is for gateway '{code.gateway}', the gateway file says '{config.gateway}'; "
            "have a code made for this one, or correct the id in the file"
        )
    files = files_of(config.data_directory, uplink)
    evidence = ensure_key(config.key_file)
    authority = _fetch_authority(server, code)
    write_private(files.authority, authority.encode())
    known = files.read()
    if known is None or (known.code, known.server) != (code.id, server):
        request, fingerprint = _make_request(files, config.gateway, evidence)
        encoded = base64.b64encode(request).decode()
        known = Standing(config.gateway, uplink, server, code.id, PENDING, fingerprint, encoded)
    request = base64.b64decode(known.request)
    proof = evidence.sign(enrolment_statement(config.gateway, code.id, request))
    files.write(known)
    document = {
        "code": code.text,
        "request": known.request,
        "evidence_key": evidence.public.text,
        "proof": base64.b64encode(proof).decode(),
    }
    answer = _post(server, REQUEST_PATH, document, _context(files, show=False))
    if _word(answer, "fingerprint") != known.fingerprint:
        raise EnrolmentError(f"{server} knows other keys under this code than this gateway has; have a new code made")
    known = replace(known, state=_word(answer, "state"))
    files.write(known)
    return known


def ask(config: GatewayConfig, uplink: str) -> Standing:
    """Ask the server how the enrolment stands; when it is approved, keep what the uplink needs.

    Raises as `begin`.
    """
    files = files_of(config.data_directory, uplink)
    known = files.read()
    if known is None:
        raise EnrolmentError(f"uplink '{uplink}' was never enrolled; give the code: shopfloor agent enrol CODE CONFIG")
    evidence, at_ms = load_key(config.key_file), time.time_ns() // 1_000_000
    document = {
        "gateway": config.gateway,
        "evidence_key": evidence.public.text,
        "at_ms": at_ms,
        "proof": base64.b64encode(evidence.sign(status_statement(config.gateway, at_ms))).decode(),
    }
    answer = _post(known.server, STATUS_PATH, document, _context(files, show=False))
    state = _word(answer, "state")
    known = replace(known, state=state)
    if state == APPROVED:
        known = replace(known, broker=_word(answer, "broker"), server_key=_word(answer, "server_key"))
        known = _keep_certificate(files, known, _word(answer, "certificate"))
    files.write(known)
    return known


def renew(data_directory: Path, uplink: str) -> Standing:
    """Have the certificate of ``uplink`` renewed, showing the one there is; raises as `begin`."""
    files = files_of(data_directory, uplink)
    known = files.read()
    if known is None or known.state != APPROVED:
        raise EnrolmentError(f"uplink '{uplink}' is not enrolled")
    answer = _post(known.server, RENEWAL_PATH, {"request": known.request}, _context(files, show=True))
    known = _keep_certificate(files, known, _word(answer, "certificate"))
    files.write(known)
    return known


def uplink_config(files: EnrolmentFiles, standing: Standing) -> UplinkConfig:
    """Return the uplink that an approved enrolment makes possible."""
    from wire.document import validated  # noqa: PLC0415 - a running agent renews certificates and adds no uplink

    uplink = {
        "id": standing.uplink,
        "url": standing.broker,
        "server_key": standing.server_key,
        "ca_file": files.authority,
        "client_certificate": files.certificate,
        "client_key": files.key,
    }
    return validated(UplinkConfig, uplink)


def write_private(path: Path, content: bytes) -> None:
    """Write a file for this user alone, so that whoever reads it sees the old one or the new one, whole.

    Raises `ConfigurationError` when it cannot be written.
    """
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {fault_text(error)}") from error


def _make_request(files: EnrolmentFiles, gateway: str, evidence: SigningKey) -> tuple[bytes, str]:
    """Return a signing request (DER) for the TLS key, which is made when there is none, and the short fingerprint."""
    from cryptography import x509  # noqa: PLC0415 - memory that a gateway which is enrolled does without
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    if files.key.exists():
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise EnrolmentError(f"{files.key}: is no P-256 key; remove it to have one made")
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(files.key, private)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gateway)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return request.public_bytes(serialization.Encoding.DER), short_fingerprint(evidence.public, public)


def _keep_certificate(files: EnrolmentFiles, known: Standing, pem: str) -> Standing:
    from cryptography import x509  # noqa: PLC0415 - memory that a gateway which is enrolled does without

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise EnrolmentError(f"{known.server} has sent a certificate that is none") from error
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    renewed = begins + (ends - begins) * _RENEW_AFTER
    write_private(files.certificate, pem.encode())
    return replace(known, renew_ms=int(renewed.timestamp() * 1000), expires_ms=int(ends.timestamp() * 1000))


def _fetch_authority(server: str, code: EnrolmentCode) -> str:
    """Return the certificate of the server's authority, which nothing vouches for but the code; nothing is said yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pem = _exchange(server, "GET", AUTHORITY_PATH, None, context).decode("ascii", "replace")
    try:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    except ValueError:
        digest = b""
    if digest != code.authority:
        raise EnrolmentError(
            f"{server} is not the server that made the code: its authority has another fingerprint. "
            "Check the address; if it is right, somebody stands between. Nothing was sent"
        )
    return pem


def _context(files: EnrolmentFiles, *, show: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(files.authority)
        if show:
            context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise EnrolmentError(f"{files.folder}: its certificates cannot be used ({error}); enrol again") from error
    return context


def _post(server: str, path: str, document: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    answer = json.loads(_exchange(server, "POST", path, json.dumps(document).encode(), context))
    if not isinstance(answer, dict):
        raise UnreachableServerError(f"{server} does not answer as an enrolment server does; check the address")
    return answer


def _exchange(server: str, method: str, path: str, body: bytes | None, context: ssl.SSLContext) -> bytes:
    parts = urlsplit(server)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/"):
        raise EnrolmentError(f"'{server}' cannot be the address of the server; write it like https://name:8443")
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=_TIMEOUT_SECONDS, context=context
    )
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        content = response.read(_MAXIMUM_ANSWER)
    except ssl.SSLCertVerificationError as error:
        raise EnrolmentError(
            f"{server}: its certificate is not for this name, or not of its authority ({error.verify_message}). Use a "
            "name that the server was started with (--public-name)"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableServerError(f"{server} does not answer: {error}; check address and network") from error
    finally:
        connection.close()
    if response.status >= http.client.BAD_REQUEST:
        raise _problem(server, response.status, content)
    return content


def _problem(server: str, status: int, content: bytes) -> Exception:
    try:
        document = json.loads(content)
        reason, text = str(document["error"]), str(document["detail"])
    except (ValueError, KeyError, TypeError):
        return UnreachableServerError(f"{server} answers with status {status}: is this the address for enrolment?")
    if status in (http.client.SERVICE_UNAVAILABLE, http.client.TOO_MANY_REQUESTS):
        return UnreachableServerError(f"{server}: {text}")
    return EnrolmentRefusedError(f"{server} refuses ({reason}): {text}")


def _word(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str):
        raise UnreachableServerError(f"the server's answer lacks '{key}'; is it of another version?")
    return value
