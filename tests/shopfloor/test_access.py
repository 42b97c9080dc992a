"""Who comes in, and who does not: pages and read API behind the gate, on real databases."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount, Route
from starlette.websockets import WebSocketDisconnect

from dashboards.application import create_application
from ingest.api.router import PREFIX, read_api
from ingest.http import create_application as create_ingest_application
from ingest.service import IngestService
from shopfloor.access import brake
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.gate import WITHOUT_LOGIN, LockedGate, OpenGate
from shopfloor.access.login import COOKIE, local_target
from shopfloor.access.users import UserFile, put_user, remove_user
from shopfloor.dashboards import beside_the_pages
from store.database import Pool, connect, pool
from store.gateways import add_gateway
from store.login_failures import FORGOTTEN_MS
from store.readers import Scope
from store.tokens import create_token, revoke_token, token_reader, tokens
from store.web_sessions import IDLE_MS, LONGEST_MS, begin_session, session_user
from wire.keys import SigningKey

PASSWORD = "correct horse battery staple"
BASE = "https://evidence.example"
HERE = {"sec-fetch-site": "same-origin"}
NOW_MS = 1_760_000_000_000


@pytest.fixture
def connections(database_url: str) -> Iterator[Pool]:
    """Connections to a database with two gateways."""
    with connect(database_url) as conn:
        for name in ("gw-01", "gw-02"):
            add_gateway(conn, name, SigningKey.generate().public.raw)
    with pool(database_url, 4) as opened:
        yield opened


@pytest.fixture
def users(tmp_path: Path) -> UserFile:
    """One user, li.wei."""
    path = tmp_path / "users.yaml"
    put_user(path, "li.wei", PASSWORD)
    return UserFile(path)


@dataclass(frozen=True)
class Applications:
    """Both web applications as they are served, by name."""

    pages: FastAPI
    ingest: FastAPI

    def __iter__(self) -> Iterator[FastAPI]:
        return iter((self.pages, self.ingest))


@pytest.fixture
def applications(database_url: str, connections: Pool) -> Iterator[Applications]:
    """The applications of `dashboards run` and `ingest run --http`, without their gates; the broker is away."""
    api = read_api(connections)
    with IngestService(database_url, "mqtt://127.0.0.1:1", SigningKey.generate()) as service:
        yield Applications(
            create_application(database_url, beside_the_pages(connections, ())),
            create_ingest_application(service, [api]),
        )


@pytest.fixture
def locked(applications: Applications, connections: Pool, users: UserFile) -> Iterator[TestClient]:
    """A browser in front of the locked pages."""
    gate = LockedGate(applications.pages, Doorkeeper(connections, users), Scope.PROJECTS)
    with TestClient(gate, base_url=BASE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def opened(applications: Applications, connections: Pool) -> Iterator[TestClient]:
    """A browser in front of the pages on loopback."""
    gate = OpenGate(applications.pages, Doorkeeper(connections), Scope.PROJECTS)
    with TestClient(gate, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client


def log_in(client: TestClient, password: str = PASSWORD, **fields: str) -> Any:
    return client.post("/login", data={"user": "li.wei", "password": password} | fields, headers=HERE)


def addresses(routes: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and address of a table of routes, mounted and included ones among them, with ids filled in."""
    for route in routes:
        if isinstance(route, Mount):
            inner = list(route.routes)
            yield "GET", f"{prefix}{route.path}/anything"
            yield from addresses(inner, f"{prefix}{route.path}")
        elif isinstance(route, Route):
            path = re.sub(r"\{[a-z_]+(:path)?\}", "1", route.path)
            for method in sorted(route.methods or {"GET"}):
                yield method, f"{prefix}{path}"
        else:
            included = getattr(route, "original_router", None)
            assert included is not None, f"{route!r}: a kind of route that this test does not know"
            yield from addresses(list(included.routes), prefix)


def test_no_route_of_either_application_answers_a_stranger(
    applications: Applications, connections: Pool, users: UserFile
) -> None:
    """Made from the tables of routes: a new route cannot be forgotten."""
    tried = 0
    for application in applications:
        gate = LockedGate(application, Doorkeeper(connections, users), Scope.PROJECTS)
        client = TestClient(gate, base_url=BASE, follow_redirects=False, raise_server_exceptions=False)
        for method, path in sorted(set(addresses(list(application.router.routes)))):
            if path in WITHOUT_LOGIN:
                continue
            tried += 1
            for headers in (
                {},
                HERE,
                {"authorization": "Bearer shopfloor_nothing"},
                {"authorization": "Basic bGkud2VpOng="},
                {"cookie": f"{COOKIE}=nothing"},
            ):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code in (401, 403), f"{method} {path} answers {answer.status_code} to {headers}"
                assert "traceback" not in answer.text.lower()
            if method == "GET":
                shown = client.get(path, headers={"accept": "text/html"})
                assert shown.status_code == 303
                assert shown.headers["location"].startswith("/login?next=%2F")
    assert tried > 30


@pytest.mark.parametrize("free", sorted(WITHOUT_LOGIN))
def test_the_name_asked_for_opens_nothing(locked: TestClient, connections: Pool, free: str) -> None:
    """A `Host` that goes on with the path of something that is free to all."""
    for host in (f"evidence.example{free}?", f"evidence.example{free}#", f"x@evidence.example{free}?", f"[::1]{free}?"):
        for path in ("/live.json", "/", f"{PREFIX}/gateways", "/metrics"):
            assert locked.get(path, headers={"host": host}).status_code == 401
        few = bearer(connections, Scope.GATEWAYS, gateways=["gw-01"], expires_ms=None)
        assert locked.get("/live.json", headers={"host": f"evidence.example{PREFIX}/x?"} | few).status_code == 403
        with connections.connection() as conn:
            revoke_token(conn, tokens(conn)[0].name, NOW_MS)


def test_the_table_of_routes_is_whole(applications: Applications) -> None:
    """What the test above walks through holds the routes that are known to be there."""
    known = {path for application in applications for _, path in addresses(list(application.router.routes))}
    assert known >= {
        "/",
        "/projects/1",
        "/live.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/ingest/status",
        f"{PREFIX}/gateways/1/records/1",
    }
    assert known >= {f"{PREFIX}/openapi.json", "/static/anything"}


def test_login_leads_to_the_page_and_logout_ends_it(locked: TestClient) -> None:
    asked = locked.get("/live?lang=en", headers={"accept": "text/html"})
    assert asked.headers["location"] == "/login?next=%2Flive%3Flang%3Den&lang=en"
    form = locked.get(asked.headers["location"])
    assert form.status_code == 200
    assert 'value="/live?lang=en"' in form.text
    answer = log_in(locked, next="/live?lang=en")
    assert (answer.status_code, answer.headers["location"]) == (303, "/live?lang=en")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {"path=/", "secure", "httponly", "samesite=lax"}
    page = locked.get("/live")
    assert page.status_code == 200
    assert 'action="/logout"' in page.text
    session = locked.cookies[COOKIE]
    assert locked.post("/logout", headers=HERE).headers["location"] == "/login"
    assert locked.get("/live", headers={"cookie": f"{COOKIE}={session}"}).status_code == 401


@pytest.mark.parametrize(("language", "title"), [("zh", "登录"), ("en", "Log in")])
def test_the_login_page_works_without_scripts_in_both_languages(locked: TestClient, language: str, title: str) -> None:
    page = locked.get("/login", params={"lang": language})
    assert f"<h1>{title}</h1>" in page.text
    assert "<script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for name in ("user", "password"):
        assert re.search(rf'<label for="{name}">.+</label>\s*<input id="{name}" name="{name}"', page.text)
    for link in re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text):
        assert link in WITHOUT_LOGIN
        assert locked.get(link).status_code == 200


def test_a_session_is_new_at_each_login_and_the_one_before_ends(locked: TestClient, connections: Pool) -> None:
    log_in(locked)
    before = locked.cookies[COOKIE]
    log_in(locked)
    after = locked.cookies[COOKIE]
    assert before != after
    assert len(base64.urlsafe_b64decode(after + "=")) == 32
    locked.cookies.clear()
    assert locked.get("/live.json", headers={"cookie": f"{COOKIE}={before}"}).status_code == 401
    assert locked.get("/live.json", headers={"cookie": f"{COOKIE}={after}"}).status_code == 200
    with connections.connection() as conn:
        stored = conn.execute("SELECT web_session::text FROM web_session").fetchall()
    assert len(stored) == 1
    assert after not in str(stored)


def test_a_session_planted_before_login_is_worth_nothing(locked: TestClient) -> None:
    planted = "A" * 43
    locked.cookies.set(COOKIE, planted, domain="evidence.example")
    answer = log_in(locked)
    assert answer.status_code == 303
    assert planted not in answer.headers["set-cookie"]
    locked.cookies.clear()
    assert locked.get("/live.json", headers={"cookie": f"{COOKIE}={planted}"}).status_code == 401


@pytest.mark.parametrize("change", ["password", "removal"])
def test_another_password_or_removal_ends_sessions_at_once(locked: TestClient, users: UserFile, change: str) -> None:
    put_user(users.path, "zhang", PASSWORD)
    log_in(locked)
    assert locked.get("/live.json").status_code == 200
    if change == "password":
        put_user(users.path, "li.wei", f"{PASSWORD} 2")
    else:
        remove_user(users.path, "li.wei")
    assert locked.get("/live.json").status_code == 401


def test_sessions_end_when_idle_and_after_half_a_day(connections: Pool) -> None:
    with connections.connection() as conn:
        session = begin_session(conn, "li.wei", b"credential", NOW_MS)
        now_ms = NOW_MS
        while now_ms + IDLE_MS - 1 < NOW_MS + LONGEST_MS:
            now_ms += IDLE_MS - 1
            assert session_user(conn, session, now_ms) == ("li.wei", b"credential")
        assert session_user(conn, session, NOW_MS + LONGEST_MS) is None
        idle = begin_session(conn, "li.wei", b"credential", NOW_MS)
        assert session_user(conn, idle, NOW_MS + IDLE_MS) is None


def test_wrong_name_and_wrong_password_look_alike(locked: TestClient) -> None:
    wrong = log_in(locked, "not the password")
    unknown = log_in(locked, "not the password", user="nobody")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text == unknown.text
    assert COOKIE not in wrong.headers.get("set-cookie", "")


def test_guessing_is_slowed_down_and_the_right_password_has_to_wait_too(locked: TestClient) -> None:
    for _ in range(5):
        assert log_in(locked, "guess").status_code == 401
    for password in ("guess", PASSWORD):
        answer = log_in(locked, password)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1


def test_the_brake_holds_longer_each_time_and_forgets(connections: Pool) -> None:
    with connections.connection() as conn:
        waits = []
        for attempt in range(30):
            brake.failed(conn, "li.wei", "192.0.2.1", NOW_MS + attempt)
            waits.append(brake.wait_ms(conn, "li.wei", "192.0.2.1", NOW_MS + attempt))
        assert waits[:4] == [0] * 4
        assert waits[4:8] == [1000, 2000, 4000, 8000]
        assert max(waits) == brake.LONGEST_WAIT_MS
        assert brake.wait_ms(conn, "zhang", "192.0.2.1", NOW_MS + 30) > 0, "the address tried too many names"
        assert brake.wait_ms(conn, "li.wei", "192.0.2.2", NOW_MS + 30) == 0, "a stranger locked the user out"
        assert brake.wait_ms(conn, "li.wei", "192.0.2.1", NOW_MS + 30 + FORGOTTEN_MS) == 0
        brake.succeeded(conn, "li.wei", "192.0.2.1")
        assert brake.wait_ms(conn, "zhang", "192.0.2.1", NOW_MS + 30) > 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "http://evidence.example"},
        {"origin": "null"},
    ],
    ids=["neither", "cross-site", "same-site", "other-origin", "other-scheme", "null"],
)
def test_forms_of_other_sites_stay_outside(locked: TestClient, headers: dict[str, str]) -> None:
    fields = {"user": "li.wei", "password": PASSWORD}
    assert locked.post("/login", data=fields, headers=headers).status_code == 403
    log_in(locked)
    assert locked.post("/logout", headers=headers).status_code == 403
    assert locked.get("/live.json").status_code == 200


def test_an_older_browser_says_its_origin(locked: TestClient) -> None:
    answer = locked.post("/login", data={"user": "li.wei", "password": PASSWORD}, headers={"origin": BASE})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\r\nset-cookie: x",
        "/login",
    ],
)
def test_login_leads_nowhere_else(locked: TestClient, target: str) -> None:
    assert local_target(target) == "/"
    assert log_in(locked, next=target).headers["location"] == "/"


def test_an_endless_form_is_refused(locked: TestClient) -> None:
    answer = locked.post("/login", content=b"user=" + b"x" * 100_000, headers=HERE)
    assert answer.status_code == 413


def bearer(connections: Pool, *scopes: Scope, gateways: list[str] | None = None, **times: Any) -> dict[str, str]:
    with connections.connection() as conn:
        name = f"{scopes} {gateways} {times}"
        return {
            "authorization": f"Bearer {create_token(conn, name, scopes, gateways, **{'created_ms': NOW_MS} | times)}"
        }


def test_a_token_opens_what_it_is_for(locked: TestClient, connections: Pool) -> None:
    gateways = bearer(connections, Scope.GATEWAYS)
    found = locked.get(f"{PREFIX}/gateways", headers=gateways)
    assert [one["id"] for one in found.json()["gateways"]] == ["gw-01", "gw-02"]
    assert locked.get(f"{PREFIX}/series", headers=gateways).status_code == 403
    assert locked.get("/live.json", headers=gateways).status_code == 403
    assert locked.get("/live.json", headers=bearer(connections, Scope.PROJECTS)).status_code == 200
    assert locked.get("/metrics", headers=gateways).status_code == 403
    assert locked.get("/metrics", headers=bearer(connections, Scope.STATUS)).status_code == 200
    restricted = bearer(connections, Scope.PROJECTS, Scope.GATEWAYS, gateways=["gw-02"])
    assert locked.get("/live.json", headers=restricted).status_code == 403
    found = locked.get(f"{PREFIX}/gateways", headers=restricted)
    assert [one["id"] for one in found.json()["gateways"]] == ["gw-02"]


def test_worthless_tokens_are_told_apart_from_nothing(locked: TestClient, connections: Pool) -> None:
    expired = bearer(connections, Scope.GATEWAYS, expires_ms=NOW_MS + 1)
    revoked = bearer(connections, Scope.GATEWAYS, gateways=["gw-01"])
    with connections.connection() as conn:
        assert revoke_token(conn, tokens(conn)[0].name, NOW_MS)
    answers = [
        locked.get(f"{PREFIX}/gateways", headers=one) for one in (expired, revoked, {"authorization": "Bearer x"})
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_of_a_token_only_the_hash_is_kept(connections: Pool) -> None:
    with connections.connection() as conn:
        text = create_token(conn, "report", [Scope.SAMPLES], None, created_ms=NOW_MS)
        assert len(base64.urlsafe_b64decode(text.removeprefix("shopfloor_") + "=")) == 32
        assert text[10:] not in str(conn.execute("SELECT api_token::text FROM api_token").fetchall())
        reader = token_reader(conn, text, NOW_MS)
        assert reader is not None
        assert reader.scopes == {Scope.SAMPLES}
        assert tokens(conn)[0].used_ms == NOW_MS


def test_on_loopback_no_login_is_needed(opened: TestClient) -> None:
    assert opened.get("/").status_code == 200
    assert opened.get(f"{PREFIX}/gateways").status_code == 200
    assert "/logout" not in opened.get("/").text


def test_on_loopback_a_token_limits_all_the_same(opened: TestClient, connections: Pool) -> None:
    assert opened.get(f"{PREFIX}/series", headers=bearer(connections, Scope.GATEWAYS)).status_code == 403
    assert opened.get(f"{PREFIX}/series", headers={"authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evidence.example:8000", "127.0.0.1.evil.example", "", "[::2]"])
def test_on_loopback_other_names_are_refused(opened: TestClient, host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now leads to 127.0.0.1."""
    assert opened.get("/live.json", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_on_loopback_its_own_names_are_known(opened: TestClient, host: str) -> None:
    assert opened.get("/live.json", headers={"host": host}).status_code == 200


def test_browsers_are_told_to_come_back_by_tls(locked: TestClient) -> None:
    log_in(locked)
    for path in ("/login", "/", f"{PREFIX}/gateways", "/static/site.css", "/nothing"):
        assert locked.get(path).headers["strict-transport-security"] == "max-age=31536000"


def test_where_the_database_is_away_nobody_comes_in(locked: TestClient, connections: Pool) -> None:
    log_in(locked)
    connections.close()
    answer = locked.get("/static/vendor/echarts.min.js")
    assert answer.status_code == 503
    assert "postgres" not in answer.text.lower()
    assert locked.get(f"{PREFIX}/gateways", headers={"authorization": "Bearer x"}).status_code == 503


def test_a_damaged_file_of_users_lets_nobody_in(locked: TestClient, users: UserFile) -> None:
    log_in(locked)
    users.path.write_text("users: [", encoding="utf-8")
    assert locked.get("/live.json").status_code == 503
    users.path.unlink()
    assert locked.get("/live.json").status_code == 503


def test_web_sockets_are_not_answered(applications: Applications, connections: Pool, users: UserFile) -> None:
    client = TestClient(LockedGate(applications.pages, Doorkeeper(connections, users), Scope.PROJECTS), base_url=BASE)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        pass
