"""The agent's application certificate, and the list of servers it trusts (OPC 10000-4, 6.1; OPC 10000-12, 7.8).

A folder of files, so that an integrator needs no tool of ours: ``own/`` holds the agent's certificate and its key,
``trusted/`` the certificates of servers, or of those who issued them, ``refused/`` those that were met and not trusted.
A server is trusted when somebody moves its certificate from ``refused/`` to ``trusted/``.
"""

from __future__ import annotations

import datetime
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ConfigurationError, UntrustedServerError

_KEY_BITS = 2048
_NOT_BEFORE = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC)
"""Fixed, because the clock of a gateway may not be set yet when it starts for the first time."""


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key. ``application_uri`` is the name that the certificate is for."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def application_uri(self) -> str:
        """The URI of the application in the certificate; "" when there is none."""
        try:
            names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ""
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")


def ensure_identity(folder: Path) -> Identity:
    """Return the agent's own certificate and key under ``folder``; make them when there are none.

    Raises `ConfigurationError` when they cannot be read or written, or others may read the key.
    """
    certificate_file, key_file = folder / "own" / "certificate.der", folder / "own" / "key.pem"
    if not key_file.exists():
        _make(certificate_file, key_file)
    return load_identity(certificate_file, key_file)


def load_identity(certificate_file: Path, key_file: Path) -> Identity:
    """Read a certificate (DER or PEM) and its RSA key (PEM, not encrypted); raise `ConfigurationError`."""
    try:
        if key_file.stat().st_mode & 0o077:
            raise ConfigurationError(f"{key_file}: other users may read this key; run: chmod 600 {key_file}")
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        certificate = _certificate(certificate_file.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{certificate_file} with {key_file}: no certificate with its key: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigurationError(f"{certificate_file}: is not the certificate of the RSA key in {key_file}")
    return Identity(certificate, key)


def require_trusted(certificate: x509.Certificate, folder: Path) -> None:
    """Return when the server that showed ``certificate`` is trusted; otherwise put it aside and raise
    `UntrustedServerError`.

    Trusted is a certificate that stands in ``trusted/`` or was issued by one that does. Its dates are not looked at:
    whoever put it there has seen them, and the gateway's own clock may be wrong.
    """
    trusted = folder / "trusted"
    for path in sorted(trusted.glob("*")) if trusted.is_dir() else ():
        try:
            known = _certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: is no certificate: {error}") from error
        if known == certificate or _issued_by(certificate, known):
            return
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - OPC 10000-6 names certificates so
    aside = folder / "refused" / f"{thumbprint}.der"
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        trusted.mkdir(exist_ok=True)
        aside.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    except OSError as error:
        raise ConfigurationError(f"{aside}: cannot be written: {error}") from error
    raise UntrustedServerError(
        f"the certificate of the server ({certificate.subject.rfc4514_string()}, thumbprint {thumbprint}) is not "
        f"trusted; compare the thumbprint at the server, then accept it with: mv {aside} {trusted}/"
    )


def _make(certificate_file: Path, key_file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    host = socket.gethostname() or "gateway"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"shopfloor-agent@{host}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = [x509.UniformResourceIdentifier(f"urn:{host}:shopfloor:agent"), x509.DNSName(host)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        key_file.parent.mkdir(parents=True, exist_ok=True)
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        # The key last: a start that is killed in between makes both anew.
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"{key_file}: cannot be written: {error}") from error


def _certificate(data: bytes) -> x509.Certificate:
    load = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
    return load(data)


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return True
