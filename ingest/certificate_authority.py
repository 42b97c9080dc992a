"""The certificate authority of a site: it vouches for the server, for ingestion itself, and for enrolled gateways.

X.509 (RFC 5280) with P-256 keys. Its private key lies encrypted in a file; the passphrase comes from the environment or
from a file that a secret store mounts. For serious deployments make the key on another machine and keep it there as
well: who has key and passphrase can let in any gateway, but he cannot sign records.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from ingest.errors import AuthorityError
from wire.errors import fault_text

AUTHORITY_DAYS = 3650
SERVER_DAYS = 398
CLIENT_DAYS = 90
RENEW_AFTER = 2 / 3
"""Share of a certificate's life after which it is to be renewed."""

CRL_DAYS = 30
"""A revocation list that is older than this is refused by brokers; it is written again long before."""

SERVICE = "shopfloor-ingest"
"""Name of ingestion itself in its client certificate."""

PASSPHRASE_VARIABLE = "SHOPFLOOR_AUTHORITY_PASSPHRASE"  # noqa: S105 - its name
_MINIMUM_PASSPHRASE = 12
_BACKDATED = datetime.timedelta(minutes=5)
"""Clocks of gateways may be slow: a new certificate is valid from a little while ago on."""

_SCHEME = "urn:shopfloor:client:"


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """Where brokers and servers find what they show and trust; all but the authority's key can be read by them."""

    directory: Path

    @property
    def authority_key(self) -> Path:
        """The authority's private key, encrypted."""
        return self.directory / "authority.key"

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.directory / "authority.pem"

    @property
    def server(self) -> Path:
        """The server's certificate; its key is `server_key`."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's private key."""
        return self.directory / "server.key"

    @property
    def service(self) -> Path:
        """The certificate with which ingestion shows itself to the broker; its key is `service_key`."""
        return self.directory / "service.pem"

    @property
    def service_key(self) -> Path:
        """The private key of ingestion as a client."""
        return self.directory / "service.key"

    @property
    def revocations(self) -> Path:
        """The newest list of revoked certificates."""
        return self.directory / "revoked.pem"


def passphrase(environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the passphrase of the authority's key, from ``SHOPFLOOR_AUTHORITY_PASSPHRASE`` or the file named by
    ``SHOPFLOOR_AUTHORITY_PASSPHRASE_FILE``; raise `AuthorityError` when there is none, or a short one."""
    text = environment.get(PASSPHRASE_VARIABLE, "")
    if path := environment.get(f"{PASSPHRASE_VARIABLE}_FILE"):
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AuthorityError(f"{path}: the passphrase cannot be read: {fault_text(error)}") from error
    text = text.strip()
    if len(text) < _MINIMUM_PASSPHRASE:
        raise AuthorityError(
            f"the authority's key needs a passphrase of at least {_MINIMUM_PASSPHRASE} characters: set "
            f"{PASSPHRASE_VARIABLE}, or {PASSPHRASE_VARIABLE}_FILE to the file that holds it"
        )
    return text.encode()


def client_identity(certificate: x509.Certificate) -> str:
    """Return what a broker knows a client by: a name that contains the certificate's serial number.

    So that a broker which has no revocation lists can let in this certificate and not an older one of the same name.
    """
    return f"{_SCHEME}{common_name(certificate)}:{serial_text(certificate)}"


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name that the authority has put into a certificate."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def serial_text(certificate: x509.Certificate) -> str:
    """Return the serial number in hexadecimal."""
    return f"{certificate.serial_number:x}"


def fingerprint_text(digest: bytes) -> str:
    """Return a SHA-256 as tools show it: ``AB:CD:...``."""
    return digest.hex(":").upper()


def renewal_due(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """Tell whether two thirds of the certificate's life are over."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_before_utc + life * RENEW_AFTER


class CertificateAuthority:
    """An opened authority. Make it with `open_or_create`; used by one thread at a time."""

    def __init__(self, files: SiteFiles, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.files = files
        self.certificate = certificate
        self._key = key

    @classmethod
    def open_or_create(cls, directory: Path, passphrase: bytes, hosts: Sequence[str] = ()) -> Self:
        """Open the authority in ``directory``, or make one when there is none, and see to the certificates it shows.

        ``hosts`` are names and addresses under which gateways reach the server; they are added to those that the
        server's certificate has. Raises `AuthorityError` for a wrong passphrase, and for files that cannot be used.
        """
        files = SiteFiles(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            opened = cls._open(files, passphrase) if files.authority_key.exists() else cls._create(files, passphrase)
            opened.refresh(hosts)
        except OSError as error:
            raise AuthorityError(f"{directory}: {fault_text(error)}") from error
        return opened

    @property
    def pem(self) -> str:
        """The authority's certificate as PEM."""
        return _pem(self.certificate).decode()

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over the authority's certificate: what a code pins."""
        return self.certificate.fingerprint(hashes.SHA256())

    def refresh(self, hosts: Sequence[str] = (), now: datetime.datetime | None = None) -> None:
        """Renew the certificates of server and ingestion when two thirds of their life are over, or hosts are new."""
        now = _now() if now is None else now
        known = (
            _hosts(_read_certificate(self.files.server)) if self.files.server.exists() else ("localhost", "127.0.0.1")
        )
        wanted = tuple(dict.fromkeys([*known, *hosts]))
        if not self._serves(self.files.server, now) or wanted != known:
            names = x509.SubjectAlternativeName([_general_name(host) for host in wanted])
            self._write_pair(self.files.server, self.files.server_key, wanted[-1], SERVER_DAYS, names, now)
        if not self._serves(self.files.service, now):
            self._write_pair(self.files.service, self.files.service_key, SERVICE, SERVER_DAYS, None, now)
        if not self.files.revocations.exists():
            self.write_revocations((), now)

    def issue(
        self, gateway: str, request: x509.CertificateSigningRequest, now: datetime.datetime | None = None
    ) -> x509.Certificate:
        """Return a client certificate for the key of ``request``; what names the request states is not looked at.

        Raises `AuthorityError` when the request is not signed by its own key, or the key is none that is accepted.
        """
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise AuthorityError("a certificate is made for P-256 keys only; let the agent make its own key")
        if not _is_signed(request):
            raise AuthorityError("the request is not signed by the key that it names")
        return self._client_certificate(gateway, key, CLIENT_DAYS, _now() if now is None else now)

    def is_mine(self, certificate: x509.Certificate) -> bool:
        """Tell whether this authority has signed ``certificate``."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def write_revocations(self, revoked: Iterable[tuple[int, int]], now: datetime.datetime | None = None) -> None:
        """Write the list of revoked certificates: serial numbers, and since when (ms UTC)."""
        now = _now() if now is None else now
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - _BACKDATED)
            .next_update(now + datetime.timedelta(days=CRL_DAYS))
            .add_extension(self._authority_key_identifier(), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        )
        for serial, at_ms in revoked:
            at = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(one)
        crl = builder.sign(self._key, hashes.SHA256())
        _replace(self.files.revocations, crl.public_bytes(serialization.Encoding.PEM), 0o644)

    def server_context(self, *, ask_client: bool) -> ssl.SSLContext:
        """Return the context of a server of this site, TLS 1.2 or later; with ``ask_client`` it asks for theirs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.files.server, self.files.server_key)
        if ask_client:
            context.load_verify_locations(self.files.authority)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _serves(self, path: Path, now: datetime.datetime) -> bool:
        try:
            certificate = _read_certificate(path)
            key = serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
        except (FileNotFoundError, ValueError):
            return False
        whole = key.public_key() == certificate.public_key()
        return whole and self.is_mine(certificate) and not renewal_due(certificate, now)

    def _write_pair(  # noqa: PLR0917 - the parts of a certificate
        self,
        path: Path,
        key_path: Path,
        name: str,
        days: int,
        hosts: x509.SubjectAlternativeName | None,
        now: datetime.datetime,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        if hosts is None:
            certificate = self._client_certificate(name, key.public_key(), days, now)
        else:
            usage = ExtendedKeyUsageOID.SERVER_AUTH
            certificate = self._sign(name, key.public_key(), days, now, usage, x509.random_serial_number(), hosts)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _replace(key_path, private, 0o600)
        _replace(path, _pem(certificate), 0o644)

    def _client_certificate(
        self, name: str, key: ec.EllipticCurvePublicKey, days: int, now: datetime.datetime
    ) -> x509.Certificate:
        serial = x509.random_serial_number()
        identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{_SCHEME}{name}:{serial:x}")])
        return self._sign(name, key, days, now, ExtendedKeyUsageOID.CLIENT_AUTH, serial, identity)

    def _sign(  # noqa: PLR0917 - the parts of a certificate
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        days: int,
        now: datetime.datetime,
        usage: ObjectIdentifier,
        serial: int,
        names: x509.SubjectAlternativeName,
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + datetime.timedelta(days=days), self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signing=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(names, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(self._authority_key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    @classmethod
    def _create(cls, files: SiteFiles, passphrase: bytes) -> Self:
        key, now = ec.generate_private_key(ec.SECP256R1()), _now()
        identity = hashlib.sha256(
            key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        name = _name(f"shopfloor authority {identity.hexdigest()[:8]}")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signing=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
        _replace(files.authority, _pem(certificate), 0o644)
        _replace(files.authority_key, encrypted, 0o600)
        return cls(files, key, certificate)

    @classmethod
    def _open(cls, files: SiteFiles, passphrase: bytes) -> Self:
        path = files.authority_key
        if path.stat().st_mode & 0o077:
            raise AuthorityError(f"{path}: other users may read this key; run: chmod 600 {path}")
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
        except (ValueError, TypeError) as error:
            raise AuthorityError(
                f"{path}: cannot be opened with this passphrase; set the one it was made with"
            ) from error
        certificate = _read_certificate(files.authority)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(f"{path} and {files.authority} do not belong together; restore both from one copy")
        return cls(files, key, certificate)


def service_context(files: SiteFiles) -> ssl.SSLContext:
    """Return the context with which ingestion reaches a broker of the site: its own certificate, and this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(files.authority)
        context.load_cert_chain(files.service, files.service_key)
    except (OSError, ssl.SSLError) as error:
        raise AuthorityError(f"{files.directory}: its certificates cannot be used: {error}") from error
    return context


def _is_signed(request: x509.CertificateSigningRequest) -> bool:
    try:
        return request.is_signature_valid
    except ValueError:
        return False


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signing,
        crl_sign=signing,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in names)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise AuthorityError(f"{path}: is no certificate; restore it, or remove it to have a new one made") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that whoever reads it sees the old one or the new one, whole."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
