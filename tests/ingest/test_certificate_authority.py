"""The authority of a site: what it issues, what it keeps fresh, and how its key is guarded."""

from __future__ import annotations

import datetime
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingest.certificate_authority import (
    CertificateAuthority,
    client_identity,
    passphrase,
    renewal_due,
    serial_text,
)
from ingest.errors import AuthorityError

SECRET = b"only for tests, not secret"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def reopened(authority: CertificateAuthority, *hosts: str) -> CertificateAuthority:
    return CertificateAuthority.open_or_create(authority.files.directory, SECRET, hosts)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def request(name: str = "whatever") -> x509.CertificateSigningRequest:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def names(certificate: x509.Certificate) -> list[str]:
    value = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in value]


def test_an_authority_that_exists_is_opened_and_nothing_made_again(authority: CertificateAuthority) -> None:
    before = {path.name: path.read_bytes() for path in authority.files.directory.iterdir()}
    assert reopened(authority).fingerprint == authority.fingerprint
    assert {path.name: path.read_bytes() for path in authority.files.directory.iterdir()} == before


def test_keys_are_for_their_owner_and_the_authority_s_is_encrypted(authority: CertificateAuthority) -> None:
    for path in authority.files.directory.glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert b"ENCRYPTED" in authority.files.authority_key.read_bytes()
    with pytest.raises(AuthorityError, match="cannot be opened with this passphrase"):
        CertificateAuthority.open_or_create(authority.files.directory, b"another passphrase")
    authority.files.authority_key.chmod(0o644)
    with pytest.raises(AuthorityError, match="chmod 600"):
        reopened(authority)


def test_the_key_of_another_authority_is_not_taken(authority: CertificateAuthority, tmp_path: Path) -> None:
    other = CertificateAuthority.open_or_create(tmp_path / "other", SECRET)
    shutil.copy(other.files.authority_key, authority.files.authority_key)
    with pytest.raises(AuthorityError, match="do not belong together"):
        reopened(authority)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "at least 12 characters"),
        ({"SHOPFLOOR_AUTHORITY_PASSPHRASE": "short"}, "at least 12 characters"),
        ({"SHOPFLOOR_AUTHORITY_PASSPHRASE_FILE": "/no/such/file"}, "/no/such/file"),
    ],
    ids=["none", "short", "no-file"],
)
def test_without_a_good_passphrase_there_is_a_message(environment: dict[str, str], said: str) -> None:
    with pytest.raises(AuthorityError, match=said):
        passphrase(environment)


def test_a_passphrase_comes_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("long enough for this\n")
    assert passphrase({"SHOPFLOOR_AUTHORITY_PASSPHRASE_FILE": str(tmp_path / "secret")}) == b"long enough for this"


def test_the_server_s_certificate_has_all_names_that_were_ever_given(authority: CertificateAuthority) -> None:
    first = names(read(authority.files.server))
    assert first == ["localhost", "127.0.0.1"]
    reopened(authority, "ingest.example", "192.0.2.7")
    reopened(authority)
    assert names(read(authority.files.server)) == [*first, "ingest.example", "192.0.2.7"]


def test_the_server_s_certificate_is_renewed_after_two_thirds_of_its_life(authority: CertificateAuthority) -> None:
    before = read(authority.files.server)
    authority.refresh(now=NOW + datetime.timedelta(days=264))
    assert read(authority.files.server) == before
    authority.refresh(now=NOW + datetime.timedelta(days=266))
    renewed = read(authority.files.server)
    assert renewed.serial_number != before.serial_number
    assert names(renewed) == names(before)


@pytest.mark.parametrize("lost", ["server.key", "server.pem", "service.key", "revoked.pem"])
def test_what_can_be_made_again_is(authority: CertificateAuthority, lost: str) -> None:
    path = authority.files.directory / lost
    path.unlink()
    again = reopened(authority)
    assert path.exists()
    ssl.create_default_context(cafile=str(again.files.authority)).load_cert_chain(
        again.files.service, again.files.service_key
    )
    again.server_context(ask_client=True)


def test_a_key_that_does_not_fit_its_certificate_is_replaced(authority: CertificateAuthority) -> None:
    """As after a power cut between the two files."""
    shutil.copy(authority.files.service_key, authority.files.server_key)
    reopened(authority).server_context(ask_client=False)


def test_a_gateway_s_certificate_lasts_ninety_days_and_is_due_after_sixty(authority: CertificateAuthority) -> None:
    certificate = authority.issue("gw-01", request(), NOW)
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=90)
    assert not renewal_due(certificate, NOW + datetime.timedelta(days=59))
    assert renewal_due(certificate, NOW + datetime.timedelta(days=61))
    assert client_identity(certificate) == f"urn:shopfloor:client:gw-01:{serial_text(certificate)}"
    assert authority.is_mine(certificate)


def test_no_certificate_outlives_the_authority(authority: CertificateAuthority) -> None:
    late = authority.certificate.not_valid_after_utc - datetime.timedelta(days=5)
    assert authority.issue("gw-01", request(), late).not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_certificates_of_others_are_not_its_own(authority: CertificateAuthority, tmp_path: Path) -> None:
    other = CertificateAuthority.open_or_create(tmp_path / "other", SECRET)
    assert not authority.is_mine(other.issue("gw-01", request()))
    assert not authority.is_mine(other.certificate)


def test_the_list_of_revoked_certificates_names_them(authority: CertificateAuthority) -> None:
    certificate = authority.issue("gw-01", request(), NOW)
    authority.write_revocations([(certificate.serial_number, int(NOW.timestamp() * 1000))], NOW)
    crl = x509.load_pem_x509_crl(authority.files.revocations.read_bytes())
    key = authority.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    revoked = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    assert revoked is not None
    assert revoked.revocation_date_utc == NOW
    assert crl.next_update_utc == NOW + datetime.timedelta(days=30)
    assert authority.certificate.public_bytes(serialization.Encoding.PEM).decode() == authority.pem
