"""The login page: a form that works without scripts, in both languages; where it leads, and how one leaves again."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dashboards.application import Pages
from dashboards.security import SecurityHeaders
from shopfloor.access.doorkeeper import Admitted, Doorkeeper

COOKIE = "__Host-shopfloor"
"""A browser takes a cookie of this prefix with Secure only, and from the very host that it is for (RFC 6265bis)."""

LOGIN, LOGOUT = "/login", "/logout"
_LARGEST_FORM = 8 * 1024
_SEE_OTHER, _UNAUTHORIZED, _TOO_LARGE, _TOO_MANY = 303, 401, 413, 429


def login_application(doorkeeper: Doorkeeper) -> ASGIApp:
    """Serves `LOGIN` and `LOGOUT`."""
    pages = Pages()

    def form(request: Request, status: int, target: str, *, failed: bool = False, wait_s: int = 0) -> Response:
        answer = pages.render(request, "login.html", status=status, target=target, failed=failed, wait_s=wait_s)
        if wait_s:
            answer.headers["retry-after"] = str(wait_s)
        return answer

    async def show(request: Request) -> Response:
        return form(request, 200, local_target(request.query_params.get("next")))

    async def log_in(request: Request) -> Response:
        body = await _small_body(request)
        if body is None:
            return form(request, _TOO_LARGE, "/", failed=True)
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
        user, password, wanted = (fields.get(name, [""])[0] for name in ("user", "password", "next"))
        target = local_target(wanted)
        outcome = await run_in_threadpool(
            doorkeeper.log_in, user, password, address_of(request), request.cookies.get(COOKIE)
        )
        if isinstance(outcome, Admitted):
            answer = RedirectResponse(target, _SEE_OTHER)
            answer.set_cookie(COOKIE, outcome.session, path="/", secure=True, httponly=True, samesite="lax")
            return answer
        if outcome.wait_ms:
            return form(request, _TOO_MANY, target, wait_s=-(-outcome.wait_ms // 1000))
        return form(request, _UNAUTHORIZED, target, failed=True)

    async def log_out(request: Request) -> Response:
        session = request.cookies.get(COOKIE)
        if session is not None:
            await run_in_threadpool(doorkeeper.log_out, session, address_of(request))
        answer = RedirectResponse(LOGIN, _SEE_OTHER)
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    routes = [
        Route(LOGIN, show, methods=["GET"]),
        Route(LOGIN, log_in, methods=["POST"]),
        Route(LOGOUT, log_out, methods=["POST"]),
    ]
    return SecurityHeaders(Starlette(routes=routes))


def local_target(wanted: str | None) -> str:
    """Where to go after login: a path on this server, whatever a link says (OWASP, unvalidated redirects)."""
    if not wanted or not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted:
        return "/"
    if not wanted.isprintable() or urlsplit(wanted).netloc or urlsplit(wanted).path in (LOGIN, LOGOUT):
        return "/"
    return wanted


def address_of(request: Request) -> str:
    """The address that asks; of IPv6 the network, within which a machine has as many addresses as it likes."""
    host = request.client.host if request.client else "?"
    return ":".join(host.split(":")[:4]) if ":" in host else host


async def _small_body(request: Request) -> bytes | None:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM:
            return None
    return body
