"""What an attacker would try on a city's server, in his order: get in, be somebody else, read along, wear it down.

Every attempt is made against the real thing (nats-server, mosquitto, PostgreSQL, TLS), is refused, and leaves a trace:
an incident, a message in quarantine, or a line in a log.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.config import parse_config
from agent.enrolment import begin
from agent.errors import EnrolmentError as AgentEnrolmentError
from ingest import enrolment_server
from ingest.broker import EmbeddedBroker
from ingest.certificate_authority import CertificateAuthority, serial_text
from ingest.enrolment import approve, fingerprint_of, issue_code, refuse, revoke
from ingest.enrolment_http import ATTEMPTS, MAXIMUM_BODY_BYTES, Site
from ingest.errors import EnrolmentError, ListenError
from ingest.gate import Gate
from ingest.service import IngestService
from store.database import connect
from store.embedded import EmbeddedPostgres
from store.enrolment import IssuedCertificate, add_certificate, decisions, enrolments
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.quarantine import list_quarantine, quarantine_reasons
from store.records import read_records
from wire.chain import ChainWriter
from wire.enrolment import AUTHORITY_PATH, RENEWAL_PATH, REQUEST_PATH, STATUS_PATH
from wire.event import Event
from wire.keys import SigningKey
from wire.limits import MAXIMUM_RECORD_BYTES
from wire.topics import RECORD_FILTER, ack_topic, health_topic, record_topic

EVERY_BROKER = pytest.mark.parametrize("site", ["nats", "nats-account", "mosquitto"], indirect=True)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def stored(site: Any, gateway: str) -> list[bytes]:
    with connect(site.database_url) as conn:
        return [record.data for record in read_records(conn, gateway)]


def await_stored(site: Any, wait: Callable[..., Any], gateway: str, count: int) -> list[bytes]:
    wait(lambda: len(stored(site, gateway)) >= count, f"{count} records of {gateway}")
    return stored(site, gateway)


def sent_once(site: Any, gateway: Any, data: bytes) -> bool:
    """Send a record on a connection of its own; whether it is stored a second later."""
    peer = site.peer(gateway.pair)
    peer.publish(record_topic(gateway.id), data)
    peer.close()
    time.sleep(1)
    return data in stored(site, gateway.id)


def ended(connection: socket.socket) -> bool:
    """Whether the other side ends the connection without a word."""
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True


@pytest.fixture
def wait() -> Callable[..., Any]:
    def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"waited for: {what}"
            time.sleep(0.05)

    return wait_for


# --- getting in ------------------------------------------------------------------------------------------------------


def test_guessing_the_secret_of_a_code_voids_it(site: Any) -> None:
    code, attacker, rightful = site.code("gw-01"), site.gateway("gw-01"), site.gateway("gw-01")
    for guess in range(5):
        status, answer = site.post(REQUEST_PATH, attacker.asking(replace(code, secret=bytes([guess]) * 32)))
        assert (status, answer["error"]) == (403, "unknown-code")
    status, answer = site.post(REQUEST_PATH, rightful.asking(code))
    assert (status, answer["error"]) == (403, "blocked-code")
    assert site.refusals("gw-01") == ["unknown-code"] * 5 + ["blocked-code"]


def test_a_made_up_code_is_unknown(site: Any) -> None:
    code = replace(site.code("gw-01"), id="0123456789ab")
    assert site.post(REQUEST_PATH, site.gateway("gw-01").asking(code))[1]["error"] == "unknown-code"
    assert site.refusals("gw-01") == ["unknown-code"]


def test_a_code_does_not_let_in_another_gateway_than_it_was_made_for(site: Any) -> None:
    code = replace(site.code("gw-01"), gateway="gw-02")
    status, answer = site.post(REQUEST_PATH, site.gateway("gw-02").asking(code))
    assert (status, answer["error"]) == (403, "unknown-code")
    assert site.refusals("gw-02") == ["unknown-code"]


def test_a_code_that_was_used_does_not_let_in_another_device(site: Any) -> None:
    code, first, second = site.code("gw-01"), site.gateway("gw-01"), site.gateway("gw-01")
    assert site.post(REQUEST_PATH, first.asking(code))[0] == 202
    status, answer = site.post(REQUEST_PATH, second.asking(code))
    assert (status, answer["error"]) == (403, "used-code")
    assert site.refusals("gw-01") == ["used-code"]
    # The first one, whose answer was lost on the way, asks again and is answered as before.
    assert site.post(REQUEST_PATH, first.asking(code))[0] == 202


def test_a_stolen_code_used_by_many_at_once_lets_one_ask(site: Any) -> None:
    code = site.code("gw-01")
    devices = [site.gateway("gw-01") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda device: site.post(REQUEST_PATH, device.asking(code))[0], devices))
    assert sorted(outcomes) == [202] + [403] * 7
    assert site.refusals("gw-01") == ["used-code"] * 7


def test_who_wins_the_race_for_a_code_is_found_out_by_the_fingerprint(site: Any) -> None:
    code, thief, rightful = site.code("gw-01"), site.gateway("gw-01"), site.gateway("gw-01")
    assert site.post(REQUEST_PATH, thief.asking(code))[0] == 202
    assert site.post(REQUEST_PATH, rightful.asking(code))[1]["error"] == "used-code"
    with connect(site.database_url) as conn:
        [request] = enrolments(conn)
        with pytest.raises(EnrolmentError, match="somebody else may have used the code"):
            approve(conn, request.id, "0000-1111-2222-3333-4444", "operator", now_ms())
        refuse(conn, request.id, "operator", now_ms())
        with pytest.raises(EnrolmentError, match="refused already"):
            approve(conn, request.id, fingerprint_of(request), "operator", now_ms())
    assert site.post(STATUS_PATH, thief.question())[1]["state"] == "refused"
    assert site.refusals("gw-01") == ["used-code"]


def test_a_code_expires(site: Any) -> None:
    code = site.code("gw-01")
    with connect(site.database_url) as conn:
        conn.execute("UPDATE enrolment_code SET expires = now() - interval '1 s'")
    assert site.post(REQUEST_PATH, site.gateway("gw-01").asking(code))[1]["error"] == "expired-code"
    assert site.refusals("gw-01") == ["expired-code"]


def test_an_older_code_is_void_when_a_new_one_is_made(site: Any) -> None:
    old, new = site.code("gw-01"), site.code("gw-01")
    assert site.post(REQUEST_PATH, site.gateway("gw-01").asking(old))[1]["error"] == "expired-code"
    assert site.post(REQUEST_PATH, site.gateway("gw-01").asking(new))[0] == 202
    assert site.refusals("gw-01") == ["expired-code"]


def test_somebody_else_s_evidence_key_cannot_be_enrolled(site: Any) -> None:
    attacker, victim = site.gateway("gw-01"), site.gateway("gw-02")
    asking = attacker.asking(site.code("gw-01")) | {"evidence_key": victim.key.public.text}
    assert site.post(REQUEST_PATH, asking)[1]["error"] == "bad-proof"
    assert site.refusals("gw-01") == ["bad-proof"]


def test_the_proof_of_another_request_is_none(site: Any) -> None:
    gateway, other = site.gateway("gw-01"), site.gateway("gw-01")
    code = site.code("gw-01")
    asking = gateway.asking(code) | {"request": base64.b64encode(other.csr).decode()}
    assert site.post(REQUEST_PATH, asking)[1]["error"] == "bad-proof"
    assert site.refusals("gw-01") == ["bad-proof"]


def test_a_signing_request_for_a_key_that_one_does_not_hold_is_refused(site: Any) -> None:
    gateway, victim = site.gateway("gw-01"), site.gateway("gw-02")
    public = {
        name: one.tls_key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        for name, one in (("mine", gateway), ("victim", victim))
    }
    csr = gateway.csr.replace(public["mine"], public["victim"])
    assert csr != gateway.csr
    assert site.post(REQUEST_PATH, gateway.asking(site.code("gw-01"), csr))[1]["error"] == "bad-request"
    assert site.refusals("gw-01") == ["bad-request"]


def test_a_weak_or_foreign_kind_of_key_is_refused(site: Any) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what is refused
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    gateway = site.gateway("gw-01")
    asking = gateway.asking(site.code("gw-01"), csr.public_bytes(serialization.Encoding.DER))
    assert site.post(REQUEST_PATH, asking)[1]["error"] == "bad-request"
    assert site.refusals("gw-01") == ["bad-request"]


def test_names_in_the_signing_request_are_worth_nothing(site: Any) -> None:
    gateway = site.gateway("gw-01")
    gateway.csr = gateway.signing_request("gw-02", "localhost", "broker.example")
    status, answer = site.post(REQUEST_PATH, gateway.asking(site.code("gw-01")))
    assert status == 202
    with connect(site.database_url) as conn:
        approve(conn, answer["enrolment"], answer["fingerprint"], "operator", now_ms())
    certificate = x509.load_pem_x509_certificate(
        site.post(STATUS_PATH, gateway.question())[1]["certificate"].encode("ascii")
    )
    assert certificate.subject.rfc4514_string() == "CN=gw-01"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [f"urn:shopfloor:client:gw-01:{serial_text(certificate)}"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usage] == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_nobody_gets_a_certificate_before_a_person_has_approved(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gateway = site.gateway("gw-01")
    site.post(REQUEST_PATH, gateway.asking(site.code("gw-01")))
    status, answer = site.post(STATUS_PATH, gateway.question())
    assert (status, answer["state"], "certificate" in answer) == (200, "pending", False)
    assert "gateway gw-01 asks to be enrolled" in caplog.text


def test_the_standing_of_a_gateway_is_told_to_the_holder_of_its_key_alone(site: Any) -> None:
    victim, attacker = site.enrolled("gw-01"), site.gateway("gw-01")
    forged = attacker.question() | {"evidence_key": victim.key.public.text}
    assert site.post(STATUS_PATH, forged)[1]["error"] == "bad-proof"
    assert site.post(STATUS_PATH, attacker.question())[1]["error"] == "unknown-enrolment"
    assert site.refusals("gw-01") == ["bad-proof", "unknown-enrolment"]


def test_a_device_cannot_take_the_place_of_an_enrolled_gateway(site: Any) -> None:
    site.enrolled("gw-01")
    thief = site.gateway("gw-01")
    answer = site.post(REQUEST_PATH, thief.asking(site.code("gw-01")))[1]
    with connect(site.database_url) as conn, pytest.raises(Exception, match="enrolled with another key"):
        approve(conn, answer["enrolment"], answer["fingerprint"], "operator", now_ms())
    assert site.post(STATUS_PATH, thief.question())[1]["state"] == "pending"
    with connect(site.database_url) as conn:
        [told] = list_incidents(conn, "gw-01")
    assert (told.kind, told.detail["evidence_key"]) == ("second-key", thief.key.public.text)


def test_after_too_many_refusals_an_address_is_not_listened_to(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    code, attacker = site.code("gw-01"), site.gateway("gw-01")
    outcomes = [
        site.post(REQUEST_PATH, attacker.asking(replace(code, id=f"{number:012x}")))[0]
        for number in range(ATTEMPTS + 2)
    ]
    assert outcomes == [403] * ATTEMPTS + [429] * 2
    assert "is not listened to" in caplog.text
    assert len(site.refusals("gw-01")) == ATTEMPTS


def test_decisions_cannot_be_rewritten_in_the_database(site: Any, embedded_server: EmbeddedPostgres) -> None:
    site.enrolled("gw-01")
    for statement in (
        "UPDATE access_decision SET actor = 'nobody'",
        "DELETE FROM access_decision",
        "TRUNCATE access_decision",
    ):
        with connect(site.database_url) as conn, pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            conn.execute(statement)
        said = embedded_server._log.read_text(errors="replace")
        assert "ERROR:  access_decision is append-only\n" in said
        assert f"STATEMENT:  {statement}\n" in said


# --- being somebody else ---------------------------------------------------------------------------------------------


def test_records_under_a_forged_identity_go_to_quarantine(site: Any, wait: Callable[..., Any]) -> None:
    victim, attacker = site.enrolled("gw-01"), site.enrolled("gw-02")
    victim.make(3)
    forger = ChainWriter("gw-01", attacker.key)
    forged = [forger.append(Event("start"), time_ms=victim.time_ms) for _ in range(3)]
    peer = site.peer(attacker.pair)
    # On its own topic, the only one that it may write to: as another, with its own key and with the other's.
    for data in (forged[0].data, victim.records[0].data):
        peer.publish(record_topic("gw-02"), data)
    wait(lambda: site.quarantined() == {"foreign-gateway": 2}, "both in quarantine")
    assert site.incident_kinds("gw-02") == ["foreign-gateway"]
    assert stored(site, "gw-01") == []


def test_a_record_signed_by_another_key_is_refused(site: Any, wait: Callable[..., Any]) -> None:
    gateway, attacker = site.enrolled("gw-01"), site.gateway("gw-01")
    attacker.chain.key = attacker.key
    peer = site.peer(gateway.pair)
    peer.publish(record_topic("gw-01"), attacker.make(1)[0].data)
    wait(lambda: site.quarantined() == {"wrong-key": 1}, "quarantine")
    assert site.incident_kinds("gw-01") == ["unknown-key"]
    assert stored(site, "gw-01") == []


def test_replayed_records_are_stored_once(site: Any, wait: Callable[..., Any]) -> None:
    gateway = site.enrolled("gw-01")
    peer = site.peer(gateway.pair)
    made = [record.data for record in gateway.make(5)]
    for data in [*made, *made, made[2], made[0]]:
        peer.publish(record_topic("gw-01"), data)
    wait(lambda: site.service.stats().duplicates == 7, "seven duplicates counted")
    assert stored(site, "gw-01") == made
    assert site.quarantined() == {}
    counted = site.service.meter.registry.get_sample_value
    assert counted("shopfloor_ingest_records_total", {"outcome": "duplicate"}) == 7


def test_a_forked_chain_is_an_incident_with_its_bytes(site: Any, wait: Callable[..., Any]) -> None:
    gateway = site.enrolled("gw-01")
    copy = site.gateway("gw-01")
    copy.key = copy.chain.key = gateway.key
    peer = site.peer(gateway.pair)
    true, forged = gateway.make(3), copy.make(2)
    forged.append(copy.chain.append(Event("stop", {"reason": "another history"}), time_ms=1))
    for record in [*true, forged[2]]:
        peer.publish(record_topic("gw-01"), record.data)
    wait(lambda: "fork" in site.incident_kinds("gw-01"), "the incident")
    assert stored(site, "gw-01") == [record.data for record in true]


@EVERY_BROKER
def test_a_gateway_cannot_publish_as_another(site: Any, wait: Callable[..., Any]) -> None:
    victim, attacker = site.enrolled("gw-01"), site.enrolled("gw-02")
    peer = site.peer(attacker.pair)
    assert peer.let_in
    made = victim.make(1)[0].data
    for topic in (
        record_topic("gw-01"),
        health_topic("gw-01"),
        ack_topic("gw-01"),
        ack_topic("gw-02"),
        "other/topic",
    ):
        peer.publish(topic, made)
    peer.publish(record_topic("gw-02"), attacker.make(1)[0].data)
    await_stored(site, wait, "gw-02", 1)
    assert stored(site, "gw-01") == []
    assert site.quarantined() == {}, "what was forbidden has come through to ingestion"
    site.await_log("Publish Violation" if "nats" in site.broker_log.name else "Denied PUBLISH from gw-02")


@EVERY_BROKER
def test_a_gateway_cannot_read_what_is_another_s(site: Any, wait: Callable[..., Any]) -> None:
    victim, attacker = site.enrolled("gw-01"), site.enrolled("gw-02")
    spy, peer = site.peer(attacker.pair), site.peer(victim.pair)
    for topic in (
        ack_topic("gw-01"),
        record_topic("gw-01"),
        RECORD_FILTER,
        "shopfloor/#",
        "#",
        "$MQTT/sub/#",
    ):
        spy.subscribe(topic)
    assert peer.subscribe(ack_topic("gw-01")) == "Granted QoS 1"
    peer.publish(record_topic("gw-01"), victim.make(1)[0].data)
    wait(lambda: peer.messages, "the acknowledgement")
    # What was sent after it has arrived: what the spy has not got by now, it will not get.
    spy.publish(record_topic("gw-02"), attacker.make(1)[0].data)
    await_stored(site, wait, "gw-02", 1)
    # Its own acknowledgement is all that a subscription to everything brings it.
    assert {topic for topic, _ in spy.messages} <= {ack_topic("gw-02")}
    nats = "nats" in site.broker_log.name
    # Mosquitto takes every subscription, says so, and delivers nothing of it.
    site.await_log(
        'Subscription Violation - Subject "shopfloor.v1.gw-01.ack"' if nats else f"gw-02 1 {ack_topic('gw-01')}"
    )


@EVERY_BROKER
def test_what_is_for_another_is_not_had_by_taking_over_its_session(site: Any, wait: Callable[..., Any]) -> None:
    """Mosquitto gives everybody the client id of his certificate; nats-server asks again what the new one may read."""
    victim, attacker = site.enrolled("gw-01"), site.enrolled("gw-02")
    peer = site.peer(victim.pair, client_id="shopfloor-gw-01-server")
    peer.subscribe(ack_topic("gw-01"))
    for taken in ("shopfloor-ingest", "shopfloor-gw-01-server"):
        thief = site.peer(attacker.pair, client_id=taken)
        wait(lambda: site.service.stats().connected, "ingestion is connected, or again")
        made = victim.make(1)[0].data
        # As an agent does: sent again until it is stored.
        wait(lambda: sent_once(site, victim, made), "stored")  # noqa: B023
        assert thief.messages == []
    nats = "nats" in site.broker_log.name
    site.await_log("Client connection closed: Duplicate Client ID" if nats else "Client gw-02 already connected")


@EVERY_BROKER
def test_without_a_certificate_nobody_gets_to_the_broker(site: Any) -> None:
    assert not site.peer(None).let_in
    site.await_log("handshake error" if "nats" in site.broker_log.name else "peer did not return a certificate")


@EVERY_BROKER
def test_a_certificate_of_another_authority_is_worth_nothing(
    site: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.enrolled("gw-01")
    own = CertificateAuthority.open_or_create(tmp_path / "own", b"the attacker's own one")
    attacker = site.gateway("gw-01")
    certificate = own.issue("gw-01", x509.load_der_x509_csr(attacker.csr))
    attacker.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    assert not site.peer(attacker.pair).let_in
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        site.post(RENEWAL_PATH, attacker.renewal(), attacker.pair)
    site.await_log("handshake error" if "nats" in site.broker_log.name else "verify failed")
    assert "shows a foreign certificate" in caplog.text


@EVERY_BROKER
def test_an_expired_certificate_is_worth_nothing(site: Any) -> None:
    gateway = site.enrolled("gw-01")
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=91)
    certificate = site.authority.issue("gw-01", x509.load_der_x509_csr(gateway.csr), past)
    gateway.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    data = certificate.public_bytes(serialization.Encoding.DER)
    with connect(site.database_url) as conn:
        expired = IssuedCertificate(serial_text(certificate), "gw-01", data, now_ms(), now_ms() - 86_400_000, None)
        add_certificate(conn, expired)
    assert not site.peer(gateway.pair).let_in
    assert site.post(RENEWAL_PATH, gateway.renewal(), gateway.pair)[1]["error"] == "expired-certificate"
    assert site.refusals("gw-01") == ["expired-certificate"]
    site.await_log("handshake error" if "nats" in site.broker_log.name else "verify failed")


def test_the_certificate_of_ingestion_cannot_be_renewed_by_a_gateway_s_route(site: Any) -> None:
    gateway = site.gateway("shopfloor-ingest")
    shown = (site.authority.files.service, site.authority.files.service_key)
    assert site.post(RENEWAL_PATH, gateway.renewal(), shown)[1]["error"] == "foreign-certificate"
    assert site.post(RENEWAL_PATH, gateway.renewal())[1]["error"] == "no-certificate"
    assert site.refusals() == ["foreign-certificate", "no-certificate"]


# --- after somebody was put out --------------------------------------------------------------------------------------


@EVERY_BROKER
def test_an_open_connection_ends_when_its_gateway_is_revoked(site: Any, wait: Callable[..., Any]) -> None:
    stolen, other = site.enrolled("gw-01"), site.enrolled("gw-02")
    peer, bystander = site.peer(stolen.pair), site.peer(other.pair)
    assert peer.let_in
    site.revoke("gw-01")
    wait(lambda: not peer.let_in, "the connection has ended")
    again = site.peer(stolen.pair)
    wait(lambda: not again.let_in, "it is not let in again")
    assert bystander.let_in
    bystander.publish(record_topic("gw-02"), other.make(1)[0].data)
    await_stored(site, wait, "gw-02", 1)
    site.await_log("authentication error" if "nats" in site.broker_log.name else "certificate verify failed")
    with connect(site.database_url) as conn:
        assert decisions(conn, "gw-01")[-1].kind == "revoked"


def test_a_revoked_certificate_is_not_renewed(site: Any) -> None:
    gateway = site.enrolled("gw-01")
    site.revoke("gw-01")
    assert site.post(RENEWAL_PATH, gateway.renewal(), gateway.pair)[1]["error"] == "revoked-certificate"
    assert site.post(STATUS_PATH, gateway.question())[1]["error"] == "revoked"
    with connect(site.database_url) as conn, pytest.raises(EnrolmentError, match="revoked"):
        issue_code(conn, "gw-01", site.authority.fingerprint, now_ms(), "operator")
    assert site.refusals("gw-01") == ["revoked-certificate", "revoked"]


def test_a_running_ingestion_takes_nothing_more_from_a_revoked_key(
    database_url: str, broker: EmbeddedBroker, gateway: Any, new_publisher: Callable[..., Any], wait: Callable[..., Any]
) -> None:
    """The thief has the evidence key, and a broker that lets him in: what he says was made before does not help him."""
    server = SigningKey.generate()
    with connect(database_url) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    with IngestService(database_url, broker.url, server) as service:
        publisher = new_publisher(broker.url, gateway, server.public)
        publisher.send(*gateway.make(3))
        publisher.wait_until_acknowledged(3)
        with connect(database_url) as conn:
            assert revoke(conn, gateway.id, "the key was stolen", "operator", now_ms()) == []
        publisher.send(*gateway.make(2))
        wait(lambda: service.stats().quarantined == 2, "both in quarantine")
    with connect(database_url) as conn:
        assert len(list(read_records(conn, gateway.id))) == 3
        assert quarantine_reasons(conn) == {"revoked-key": 2}
        assert [one.kind for one in list_incidents(conn, gateway.id)] == ["revoked-key"]
    assert publisher.acknowledged == 3


# --- wearing it down -------------------------------------------------------------------------------------------------


def test_oversized_requests_are_cut_off(site: Any) -> None:
    status, answer = site.post(REQUEST_PATH, b"[" * (MAXIMUM_BODY_BYTES + 1))
    assert (status, answer["error"]) == (413, "oversized")
    assert site.refusals() == ["oversized"]


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"[" * 9000, b'{"code": 5}', b'{"code": "sfe1.a.b.c.d"}'])
def test_garbage_is_answered_politely(site: Any, body: bytes) -> None:
    status, answer = site.post(REQUEST_PATH, body)
    assert (status, answer["error"]) == (403, "bad-request")
    assert "Traceback" not in json.dumps(answer)
    assert site.refusals() == ["bad-request"]


def test_an_oversized_record_goes_no_further_than_quarantine(site: Any, wait: Callable[..., Any]) -> None:
    gateway = site.enrolled("gw-01")
    peer = site.peer(gateway.pair)
    peer.publish(record_topic("gw-01"), bytes(MAXIMUM_RECORD_BYTES + 1))
    wait(lambda: site.quarantined() == {"oversized": 1}, "quarantine")
    with connect(site.database_url) as conn:
        [refused] = list_quarantine(conn)
    assert (refused.topic, str(MAXIMUM_RECORD_BYTES + 1) in refused.detail) == (record_topic("gw-01"), True)


@EVERY_BROKER
def test_a_packet_beyond_all_measure_ends_the_connection(site: Any, wait: Callable[..., Any]) -> None:
    gateway = site.enrolled("gw-01")
    peer = site.peer(gateway.pair)
    peer.publish(record_topic("gw-01"), bytes(8 * MAXIMUM_RECORD_BYTES))
    wait(lambda: not peer.let_in, "the connection has ended")
    assert site.quarantined() == {}
    site.await_log("maximum payload" if "nats" in site.broker_log.name else "gw-01")


def test_slow_clients_of_the_enrolment_server_are_cut_off_and_hold_nobody_up(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(enrolment_server, "CONNECTION_SECONDS", 1.0)
    context = ssl.create_default_context(cafile=str(site.authority.files.authority))
    slow = []
    for _ in range(50):
        connection = context.wrap_socket(
            socket.create_connection(("127.0.0.1", site.gate.port)), server_hostname="127.0.0.1"
        )
        connection.sendall(f"POST {REQUEST_PATH} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode())
        slow.append(connection)
    assert site.post(REQUEST_PATH, site.gateway("gw-01").asking(site.code("gw-01")))[0] == 202
    for connection in slow:
        connection.settimeout(20)
        assert ended(connection)
    assert "closed a slow connection" in caplog.text


@EVERY_BROKER
def test_slow_clients_of_the_broker_hold_nobody_up(site: Any, wait: Callable[..., Any]) -> None:
    gateway = site.enrolled("gw-01")
    slow = [socket.create_connection(("127.0.0.1", site.mqtt_port)) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
    peer = site.peer(gateway.pair)
    peer.publish(record_topic("gw-01"), gateway.make(1)[0].data)
    await_stored(site, wait, "gw-01", 1)
    if "nats" in site.broker_log.name:
        site.await_log("TLS handshake timeout")
    else:
        # It waits for them, says who they are, and serves the others.
        assert site.broker_log.read_text(errors="replace").count("New connection from 127.0.0.1") > len(slow)
    for connection in slow:
        connection.close()


# --- around the encryption -------------------------------------------------------------------------------------------


def test_nothing_is_said_without_encryption(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", site.gate.port), timeout=20) as plain:
        plain.sendall(f"GET {AUTHORITY_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert ended(plain)
    assert "is not TLS" in caplog.text


@EVERY_BROKER
def test_plain_mqtt_is_not_spoken(site: Any) -> None:
    with socket.create_connection(("127.0.0.1", site.mqtt_port), timeout=20) as plain:
        plain.sendall(bytes.fromhex("101000044d5154540402003c0004") + b"gw-1")
        assert ended(plain)
    site.await_log("not look like a TLS" if "nats" in site.broker_log.name else "wrong version number")


def test_old_versions_of_tls_are_refused(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    for port in (site.gate.port, site.mqtt_port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain)
    site.await_log("unsupported")
    assert "UNSUPPORTED_PROTOCOL" in caplog.text


def test_nothing_listens_for_others_without_encryption(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="without TLS"):
        EmbeddedBroker(tmp_path, host="0.0.0.0")  # noqa: S104 - that is what is refused
    with pytest.raises(ListenError, match="without TLS"):
        EmbeddedBroker(tmp_path, host="broker.example")


def test_a_server_that_stands_between_is_known_by_the_code(site: Any, tmp_path: Path, database_url: str) -> None:
    own = CertificateAuthority.open_or_create(tmp_path / "between", b"the attacker's own one")
    config = parse_config(
        "gateway: gw-01\nkey_file: k\ndata_directory: d\nconnections:\n  - {id: c, protocol: modbus-tcp, host: h,"
        " devices: [{id: m, model: pulse-meter, interval: 1min}]}\n",
        "gateway.yaml",
        tmp_path,
    )
    code = site.code("gw-01")
    with Gate(database_url, own, None, Site("", "")) as between:
        address = f"https://127.0.0.1:{between.port}"
        with pytest.raises(AgentEnrolmentError, match="stands between"):
            begin(config, code, address, "city")
    assert site.refusals() == [], "the code was not sent to anybody"
    assert begin(config, code, f"https://127.0.0.1:{site.gate.port}", "city").state == "pending"
