"""A gateway's own side of enrolment against the real server: asking again, renewing, and what goes wrong on the way."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent import enrolment
from agent.config import GatewayConfig, parse_config
from agent.errors import EnrolmentError, EnrolmentRefusedError, UnreachableServerError
from agent.renewal import renew_due
from ingest.certificate_authority import CertificateAuthority
from ingest.enrolment import approve, fingerprint_of, refuse
from ingest.enrolment_http import Site
from ingest.gate import Gate
from store.database import connect
from store.enrolment import certificates, decisions, enrolments
from store.gateways import gateway as stored_gateway
from wire.keys import VerifyingKey

FILE = """\
gateway: gw-01
key_file: gw-01.key
data_directory: data
connections:
  - {id: c, protocol: modbus-tcp, host: h, devices: [{id: m, model: pulse-meter, interval: 1min}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> GatewayConfig:
    return parse_config(FILE, "gateway.yaml", tmp_path)


@pytest.fixture
def enrolled(site: Any, config: GatewayConfig) -> enrolment.Standing:
    """The gateway, enrolled as uplink ``city``."""
    enrolment.begin(config, site.code("gw-01"), address(site), "city")
    let_in(site)
    return enrolment.ask(config, "city")


def address(site: Any) -> str:
    return f"https://127.0.0.1:{site.gate.port}"


def let_in(site: Any) -> None:
    with connect(site.database_url) as conn:
        [request] = [one for one in enrolments(conn) if one.state == "pending"]
        approve(conn, request.id, fingerprint_of(request), "operator", time.time_ns() // 1_000_000)


def certificate(config: GatewayConfig) -> x509.Certificate:
    files = enrolment.files_of(config.data_directory, "city")
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


def due(config: GatewayConfig) -> None:
    """Have the certificate be due now."""
    files = enrolment.files_of(config.data_directory, "city")
    standing = files.read()
    assert standing is not None
    files.write(replace(standing, renew_ms=1))


def test_asked_again_with_the_same_code_nothing_is_made_twice(site: Any, config: GatewayConfig) -> None:
    code = site.code("gw-01")
    first = enrolment.begin(config, code, address(site), "city")
    assert enrolment.begin(config, code, address(site), "city") == first
    assert enrolment.ask(config, "city").state == "pending"
    let_in(site)
    assert enrolment.begin(config, code, address(site), "city").state == "approved"
    assert enrolment.ask(config, "city") == enrolment.ask(config, "city")
    with connect(site.database_url) as conn:
        assert len(enrolments(conn)) == len(certificates(conn)) == 1
        known = stored_gateway(conn, "gw-01")
    assert known is not None
    assert known.public_key == VerifyingKey.from_text(_evidence(config)).raw


def _evidence(config: GatewayConfig) -> str:
    return enrolment.load_key(config.key_file).public.text


def test_what_the_uplink_needs_is_there_and_works(
    site: Any, config: GatewayConfig, enrolled: enrolment.Standing
) -> None:
    files = enrolment.files_of(config.data_directory, "city")
    uplink = enrolment.uplink_config(files, enrolled)
    assert (uplink.id, uplink.port, uplink.tls) == ("city", site.mqtt_port, True)
    assert uplink.server_key == site.server_key.public.text
    assert site.peer((files.certificate, files.key)).let_in
    for path in files.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_refusal_is_told(site: Any, config: GatewayConfig) -> None:
    code = site.code("gw-01")
    enrolment.begin(config, code, address(site), "city")
    with connect(site.database_url) as conn:
        refuse(conn, enrolments(conn)[0].id, "operator", 1)
    assert enrolment.ask(config, "city").state == "refused"
    other = replace(config, key_file=config.key_file.with_name("other.key"))
    with pytest.raises(EnrolmentRefusedError, match="used before") as caught:
        enrolment.begin(other, code, address(site), "other")
    assert caught.value.exit_code == 1


def test_a_certificate_is_renewed_when_it_is_due_and_not_before(
    site: Any, config: GatewayConfig, enrolled: enrolment.Standing
) -> None:
    first = certificate(config)
    assert enrolled.renew_ms > time.time_ns() // 1_000_000
    assert renew_due(config.data_directory) == []
    due(config)
    assert renew_due(config.data_directory) == ["city"]
    second = certificate(config)
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()
    assert renew_due(config.data_directory) == []
    files = enrolment.files_of(config.data_directory, "city")
    assert site.peer((files.certificate, files.key)).let_in
    with connect(site.database_url) as conn:
        assert [one.kind for one in decisions(conn)][-2:] == ["certificate-issued"] * 2


def test_the_connection_that_has_the_old_certificate_goes_on(
    site: Any, config: GatewayConfig, enrolled: enrolment.Standing
) -> None:
    files = enrolment.files_of(config.data_directory, enrolled.uplink)
    peer = site.peer((files.certificate, files.key))
    due(config)
    assert renew_due(config.data_directory) == ["city"]
    assert peer.publish("shopfloor/v1/gw-01/health", b"{}") == "Success"
    assert peer.let_in


def test_what_cannot_be_renewed_is_said_and_tried_again(
    site: Any, config: GatewayConfig, enrolled: enrolment.Standing, caplog: pytest.LogCaptureFixture
) -> None:
    before = certificate(config)
    files = enrolment.files_of(config.data_directory, "city")
    files.write(replace(enrolled, renew_ms=1, server="https://127.0.0.1:1"))
    assert renew_due(config.data_directory) == []
    assert "89 days are left" in caplog.text or "90 days are left" in caplog.text
    site.revoke("gw-01")
    files.write(replace(enrolled, renew_ms=1))
    assert renew_due(config.data_directory) == []
    assert "gateway gw-01 is revoked" in caplog.text
    assert certificate(config) == before


def test_a_server_that_shows_a_renewed_certificate_is_still_known(
    site: Any, config: GatewayConfig, enrolled: enrolment.Standing
) -> None:
    assert enrolled.state == "approved"

    def shown() -> int:
        pem = ssl.get_server_certificate(("127.0.0.1", site.gate.port))
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    before = shown()
    site.authority.refresh(["another.example"])
    site.gate._refreshed()
    assert shown() != before
    due(config)
    assert renew_due(config.data_directory) == ["city"]


def test_a_name_that_the_server_does_not_have_is_explained(site: Any, config: GatewayConfig) -> None:
    """127.0.0.2 is the same machine, but not in the certificate: the code must not be sent there."""
    authority = site.authority
    with (
        Gate(site.database_url, authority, None, Site("", ""), host="127.0.0.2") as other,
        pytest.raises(EnrolmentError, match="--public-name"),
    ):
        enrolment.begin(config, site.code("gw-01"), f"https://127.0.0.2:{other.port}", "city")
    assert site.refusals() == []


def test_a_code_of_another_server_is_noticed_before_anything_is_sent(
    site: Any, config: GatewayConfig, tmp_path: Path
) -> None:
    other = CertificateAuthority.open_or_create(tmp_path / "other", b"only for tests, not secret")
    code = replace(site.code("gw-01"), authority=other.fingerprint)
    with pytest.raises(EnrolmentError, match="another fingerprint"):
        enrolment.begin(config, code, address(site), "city")
    with pytest.raises(UnreachableServerError, match="does not answer"):
        enrolment.begin(config, code, "https://127.0.0.1:1", "city")
    assert enrolment.standings(config.data_directory) == []


def test_damaged_files_are_named(config: GatewayConfig) -> None:
    folder = config.data_directory / "enrolment" / "city"
    folder.mkdir(parents=True)
    (folder / "enrolment.json").write_text("{")
    with pytest.raises(EnrolmentError, match=r"enrolment\.json"):
        enrolment.standings(config.data_directory)
    assert renew_due(config.data_directory) == []


def test_many_gateways_enrol_at_once(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    made: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: made.append(site.enrolled(f"gw-{n:02}"))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 12
    assert all(site.peer(one.pair).let_in for one in made)
    assert caplog.text == ""
