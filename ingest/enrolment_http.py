"""The HTTP side of enrolment: four routes, and nothing else on their port.

Whoever can reach the port can send anything, at any speed: sizes, times and attempts are bounded before anything is
looked at, answers say no more than the asker can know anyway, and what is refused is an incident.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from ingest.certificate_authority import CertificateAuthority
from ingest.enrolment import (
    EnrolmentRequest,
    Refusal,
    collect,
    fingerprint_of,
    note_refusal,
    renew,
    request_enrolment,
    standing,
)
from ingest.transaction import now_ms
from store.database import Connection
from store.enrolment import Enrolment
from wire.enrolment import AUTHORITY_PATH, RENEWAL_PATH, REQUEST_PATH, STATUS_PATH, EnrolmentCode
from wire.errors import ShopfloorError, WireError
from wire.keys import VerifyingKey
from wire.topics import valid_identifier

MAXIMUM_BODY_BYTES = 16_384
ATTEMPTS = 20
ATTEMPTS_SECONDS = 60.0
"""From one address so many requests may be refused in that time; then it is not listened to for a while."""

_ORIGINS_KEPT = 10_000
_FORBIDDEN, _BAD_REQUEST, _TOO_LARGE, _TOO_MANY, _ACCEPTED, _UNAVAILABLE = 403, 400, 413, 429, 202, 503

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What a gateway is told when it is let in: the key that acknowledges, and where the broker is."""

    server_key: str
    broker_url: str


class AttemptLimit:
    """Counts refusals by address; bounded in memory, the address that has been silent longest is forgotten first."""

    def __init__(self, attempts: int = ATTEMPTS, seconds: float = ATTEMPTS_SECONDS) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._refused: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def exceeded(self, origin: str) -> bool:
        """Tell whether ``origin`` has been refused too often lately."""
        with self._lock:
            times = self._refused.get(origin)
            return times is not None and len(times) == self._attempts and times[0] > time.monotonic() - self._seconds

    def count(self, origin: str) -> None:
        """Note a refusal."""
        with self._lock:
            times = self._refused.setdefault(origin, deque(maxlen=self._attempts))
            times.append(time.monotonic())
            self._refused.move_to_end(origin)
            if len(self._refused) > _ORIGINS_KEPT:
                self._refused.popitem(last=False)


class EnrolmentDesk:
    """Answers the routes: one transaction a request.

    :param transaction: opens a transaction of the database.
    :param changed: called when a certificate was made, before the gateway gets it: brokers are told who may come.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        authority: CertificateAuthority,
        site: Site,
        changed: Callable[[], None],
        limit: AttemptLimit | None = None,
    ) -> None:
        self.authority = authority
        self.limit = AttemptLimit() if limit is None else limit
        self._transaction = transaction
        self._site = site
        self._changed = changed
        self._issuing = Lock()

    def request(self, document: dict[str, Any], origin: str) -> JSONResponse:
        """A code, a signing request, a key: wait for a person."""
        try:
            asked = EnrolmentRequest(
                code=EnrolmentCode.from_text(_text(document, "code")),
                request=_octets(document, "request"),
                evidence_key=VerifyingKey.from_text(_text(document, "evidence_key")),
                proof=_octets(document, "proof"),
            )
        except WireError as error:
            return self.refuse("", Refusal("bad-request", str(error)), origin)
        with self._transaction() as conn:
            outcome = request_enrolment(conn, asked, origin, now_ms())
        if isinstance(outcome, Refusal):
            return self._refused(asked.code.gateway, outcome, origin)
        _log.info("gateway %s asks to be enrolled, request %d, from %s", outcome.gateway, outcome.id, origin)
        return JSONResponse(_standing_document(outcome), _ACCEPTED)

    def status(self, document: dict[str, Any], origin: str) -> JSONResponse:
        """How a request stands; with the certificate when it is approved."""
        gateway = _text(document, "gateway")
        try:
            key = VerifyingKey.from_text(_text(document, "evidence_key"))
            proof, at_ms = _octets(document, "proof"), int(document.get("at_ms", 0))
        except (WireError, TypeError, ValueError) as error:
            return self.refuse(gateway, Refusal("bad-request", str(error)), origin)
        certificate: x509.Certificate | Refusal | None = None
        with self._issuing, self._transaction() as conn:
            one = standing(conn, gateway, key, at_ms, proof, now_ms())
            if isinstance(one, Enrolment) and one.state == "approved":
                certificate = collect(conn, self.authority, one, now_ms())
        refusal = next((outcome for outcome in (one, certificate) if isinstance(outcome, Refusal)), None)
        if refusal is not None:
            return self.refuse(gateway, refusal, origin)
        if not isinstance(one, Enrolment) or not isinstance(certificate, x509.Certificate):
            return JSONResponse(_standing_document(one) if isinstance(one, Enrolment) else {})
        self._changed()
        return JSONResponse(
            _standing_document(one)
            | self._certificate_document(certificate)
            | {"server_key": self._site.server_key, "broker": self._site.broker_url}
        )

    def renewal(self, document: dict[str, Any], shown: x509.Certificate | None, origin: str) -> JSONResponse:
        """Another certificate for a gateway that shows the one it has."""
        if shown is None:
            return self.refuse("", Refusal("no-certificate", "show the certificate that is to be renewed"), origin)
        try:
            request = _octets(document, "request")
        except WireError as error:
            return self.refuse("", Refusal("bad-request", str(error)), origin)
        with self._issuing, self._transaction() as conn:
            renewed = renew(conn, self.authority, shown, request, now_ms())
        if isinstance(renewed, Refusal):
            return self.refuse(_subject(shown), renewed, origin)
        self._changed()
        return JSONResponse(self._certificate_document(renewed))

    def refuse(self, gateway: str, refusal: Refusal, origin: str) -> JSONResponse:
        """Make a refusal an incident, and return the answer."""
        with self._transaction() as conn:
            note_refusal(conn, gateway, refusal, origin, now_ms())
        return self._refused(gateway, refusal, origin)

    def _refused(self, gateway: str, refusal: Refusal, origin: str) -> JSONResponse:
        self.limit.count(origin)
        _log.warning("refused %s, which says it is gateway '%s': %s", origin, gateway[:64], refusal.reason)
        return _problem(_FORBIDDEN, refusal.reason, refusal.text)

    def _certificate_document(self, certificate: x509.Certificate) -> dict[str, str]:
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return {"certificate": pem, "authority": self.authority.pem}


def enrolment_router(desk: EnrolmentDesk) -> APIRouter:
    """Return the routes of enrolment."""
    router = APIRouter()

    @router.get(AUTHORITY_PATH)
    def authority() -> PlainTextResponse:
        """The authority's certificate; whoever has a code knows its fingerprint."""
        return PlainTextResponse(desk.authority.pem, media_type="application/x-pem-file")

    async def answered(request: Request, answer: Callable[[dict[str, Any], str], JSONResponse]) -> JSONResponse:
        origin = request.client.host if request.client is not None else ""
        if desk.limit.exceeded(origin):
            _log.warning("%s is not listened to: too many refused requests", origin)
            return _problem(_TOO_MANY, "too-many-attempts", "too many refused requests; try again in a minute")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAXIMUM_BODY_BYTES:
                refusal = Refusal("oversized", f"more than {MAXIMUM_BODY_BYTES} bytes")
                await run_in_threadpool(desk.refuse, "", refusal, origin)
                return _problem(_TOO_LARGE, refusal.reason, refusal.text)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            refusal = Refusal("bad-request", "the body must be a JSON object")
            return await run_in_threadpool(desk.refuse, "", refusal, origin)
        try:
            return await run_in_threadpool(answer, document, origin)
        except ShopfloorError as error:
            _log.error("a request from %s cannot be answered: %s", origin, error)
            return _problem(_UNAVAILABLE, "unavailable", "the server cannot answer now; try again later")

    @router.post(REQUEST_PATH)
    async def enrol(request: Request) -> JSONResponse:
        """Ask to be enrolled."""
        return await answered(request, desk.request)

    @router.post(STATUS_PATH)
    async def status(request: Request) -> JSONResponse:
        """Ask how a request stands, and fetch the certificate."""
        return await answered(request, desk.status)

    @router.post(RENEWAL_PATH)
    async def renewal(request: Request) -> JSONResponse:
        """Have a certificate renewed; over mutual TLS."""
        shown: x509.Certificate | None = getattr(request.state, "client_certificate", None)
        return await answered(request, lambda document, origin: desk.renewal(document, shown, origin))

    return router


def _standing_document(one: Enrolment) -> dict[str, Any]:
    return {"gateway": one.gateway, "enrolment": one.id, "state": one.state, "fingerprint": fingerprint_of(one)}


def _problem(status: int, error: str, detail: str) -> JSONResponse:
    return JSONResponse({"error": error, "detail": detail}, status)


def _subject(certificate: x509.Certificate) -> str:
    """Return the name in a certificate for an incident; empty when it cannot be one of ours."""
    names = [str(name.value) for name in certificate.subject if isinstance(name.value, str)]
    return names[0] if names and valid_identifier(names[0]) else ""


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _octets(document: dict[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(_text(document, key), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"{key} must be base64") from error
