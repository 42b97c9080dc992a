"""The gate: ASGI around a whole application. What is not let in here, the application never sees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.language import LANGUAGES
from ingest.api.problems import ApiProblemError, of_exception, problem_response, unauthenticated
from ingest.api.router import PREFIX
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.login import COOKIE, LOGIN, LOGOUT, address_of, login_application
from store import readers
from store.readers import READER_KEY, Reader

WITHOUT_LOGIN = frozenset({LOGIN, "/static/site.css", "/static/icon.svg"})
"""All that a stranger may see: the login page and what it is drawn with."""

STATUS_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/api/ingest/status"})
"""What monitoring asks for; a token needs `store.readers.Scope.STATUS` for it."""

LOCAL = Reader("this machine")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_NOT_FOR_WEB_SOCKETS = 1008  # policy violation (RFC 6455, 7.4.1)
_log = logging.getLogger("shopfloor.access")


class Gate:
    """What both gates have in common: only HTTP comes in, tokens are known, other sites' forms stay outside.

    :param scope: what a token needs for all but `STATUS_PATHS` and the read API, whose routes say it themselves.
    """

    HEADERS: ClassVar[dict[str, str]] = {"x-content-type-options": "nosniff"}
    """What every answer carries."""

    def __init__(self, application: ASGIApp, doorkeeper: Doorkeeper, scope: readers.Scope) -> None:
        self._application = application
        self._doorkeeper = doorkeeper
        self._scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.HEADERS)
            await send(message)

        if scope["type"] == "http":
            try:
                handler = await self._decide(Request(scope, receive))
            except Exception as error:
                # Where the gate itself fails it stays closed, and says no more than that.
                _log.error("nobody can be let in: %s", error)
                closed = ApiProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "try again in a moment")
                handler = problem_response(of_exception(error) or closed)
            await handler(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _NOT_FOR_WEB_SOCKETS})
        else:
            await self._application(scope, receive, send)

    async def _decide(self, request: Request) -> ASGIApp:
        """What answers the request: the application, or a refusal."""
        raise NotImplementedError

    async def _by_token(self, request: Request, authorization: str) -> ASGIApp:
        kind, _, token = authorization.partition(" ")
        reader = None
        if kind.lower() == "bearer" and token:
            reader = await run_in_threadpool(self._doorkeeper.by_token, token.strip(), address_of(request))
        if reader is None:
            return problem_response(unauthenticated())
        needed = readers.Scope.STATUS if _path(request) in STATUS_PATHS else self._scope
        if not _is_api(request) and not (reader.may(needed) and reader.gateways is None):
            _log.warning("%s has no scope for %s", reader.name, _path(request))
            detail = f"this needs a token with the scope {needed}, for all gateways"
            return problem_response(ApiProblemError(HTTPStatus.FORBIDDEN, "scope-missing", detail))
        return self._let_in(request, reader)

    def _let_in(self, request: Request, reader: Reader) -> ASGIApp:
        request.scope[READER_KEY] = reader
        return self._application


class OpenGate(Gate):
    """On loopback: whoever is on this machine may read. A token that is given is checked all the same, and limits.

    A name other than those of this machine in `Host` is refused: a page from elsewhere whose name was made to lead here
    (DNS rebinding), or a proxy that would let everybody in.
    """

    async def _decide(self, request: Request) -> ASGIApp:
        if not _is_local_name(request.headers.get("host", "")):
            detail = "this server is for this machine only; ask for it as 127.0.0.1 or localhost"
            return problem_response(ApiProblemError(HTTPStatus.MISDIRECTED_REQUEST, "not-here", detail))
        if _comes_from_elsewhere(request, strict=False):
            return problem_response(_forged())
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._by_token(request, authorization)
        return self._let_in(request, LOCAL)


class LockedGate(Gate):
    """Everywhere else: a session or a token for everything but `WITHOUT_LOGIN`.

    Browsers are told to come back by TLS only, for a year (RFC 6797).
    """

    HEADERS: ClassVar[dict[str, str]] = {**Gate.HEADERS, "strict-transport-security": "max-age=31536000"}

    def __init__(self, application: ASGIApp, doorkeeper: Doorkeeper, scope: readers.Scope) -> None:
        super().__init__(application, doorkeeper, scope)
        self._login = login_application(doorkeeper)

    async def _decide(self, request: Request) -> ASGIApp:
        path = _path(request)
        if path in WITHOUT_LOGIN - {LOGIN} and request.method in ("GET", "HEAD"):
            return self._application
        authorization = request.headers.get("authorization")
        if authorization is not None and path not in (LOGIN, LOGOUT):
            return await self._by_token(request, authorization)
        if _comes_from_elsewhere(request, strict=True):
            return problem_response(_forged())
        session = request.cookies.get(COOKIE)
        reader = None if session is None else await run_in_threadpool(self._doorkeeper.by_session, session)
        if reader is not None:
            request.scope[READER_KEY] = reader
        if path == LOGIN or (path == LOGOUT and reader is not None):
            return self._login
        return _ask_to_log_in(request) if reader is None else self._application


def _path(request: Request) -> str:
    """The path that the application will route by. That of `request.url` is made with `Host`, which strangers write."""
    return str(request.scope["path"])


def _is_api(request: Request) -> bool:
    return _path(request).startswith(f"{PREFIX}/")


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname if host.isprintable() else None
    if name is None:
        return False
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _comes_from_elsewhere(request: Request, *, strict: bool) -> bool:
    """Whether another site made a browser send this, with our cookie or on our machine (OWASP ASVS 5.0, 3.5.1).

    Browsers say where a request comes from in Sec-Fetch-Site, older ones in Origin. What says neither comes from no
    browser; ``strict`` refuses that, too.
    """
    if request.method in _SAFE_METHODS:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return strict
    return origin != f"{request.url.scheme}://{request.headers.get('host', '')}"


def _forged() -> ApiProblemError:
    return ApiProblemError(
        HTTPStatus.FORBIDDEN, "from-elsewhere", "this request was made by another site; nothing was done"
    )


def _ask_to_log_in(request: Request) -> Response:
    if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
        query = request.scope["query_string"].decode("latin-1")
        wanted = _path(request) + (f"?{query}" if query else "")
        language = request.query_params.get("lang")
        shown = f"&lang={language}" if language in LANGUAGES else ""
        return RedirectResponse(f"{LOGIN}?next={quote(wanted, safe='')}{shown}", HTTPStatus.SEE_OTHER)
    return problem_response(unauthenticated())


Guard = Callable[[ASGIApp], ASGIApp]
"""Puts a gate around an application."""
