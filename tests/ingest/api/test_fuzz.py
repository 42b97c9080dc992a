"""The read API behind its locked gate, asked all that its OpenAPI document allows, and much that it forbids.

Schemathesis makes the requests from the document. Whatever is asked, no answer may be a server error, take long, or be
something else than the document says. The same requests are made every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from ingest.api.parameters import instant_text
from ingest.api.router import openapi_document, read_api
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.gate import LockedGate
from shopfloor.access.users import UserFile, put_user
from store.database import connect, pool
from store.readers import Scope
from store.tokens import create_token

START_MS = 1_760_000_000_000
DATABASE = "api_fuzz"
RECORDS = 40
LONGEST_SECONDS = 20
"""Far more than any answer takes, on a machine that is busy with other things: what never ends is found."""

schemathesis.openapi.format("gateway-id", st.sampled_from(["gw-01", "gw-02", "gw-03"]))
schemathesis.openapi.format(
    "series-id",
    st.sampled_from(["gw-01/meter-1/energy", "gw-01/meter-1/power", "gw-02/meter-1/power", "gw-02/meter-1/none"]),
)
schemathesis.openapi.format(
    "date-time", st.integers(-3_600_000, 3_600_000).map(lambda later: instant_text(START_MS + later))
)


CONFIGURATION = schemathesis.Config.from_dict(
    {
        "seed": 1,
        "base-url": "https://evidence.example",
        "generation": {"deterministic": True},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "422"]},
            "max_response_time": LONGEST_SECONDS,
        },
    }
)
# The document is the same whatever the database, which answers only when it is asked.
DOCUMENT = openapi_document(read_api(None))  # type: ignore[arg-type]
schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIGURATION)


class Street:
    """Leads to the house that stands there when somebody comes: the fixture builds it after the tests are made."""

    house: ASGIApp

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self.house(scope, receive, send)


street = Street()
schema.app = street


@pytest.fixture(scope="module", autouse=True)
def token(
    postgres_server: str,
    migrated_template: str,
    new_gateway: Callable[[str], Any],
    fill: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A token for an API over the records of two gateways, which the schema calls."""
    users: Path = tmp_path_factory.mktemp("users") / "users.yaml"
    put_user(users, "li.wei", "correct horse battery staple")
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {migrated_template}")
    url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{DATABASE}"))
    fill(url, new_gateway("gw-01"), new_gateway("gw-02"), records=RECORDS)
    with pool(url, 4) as connections:
        application = FastAPI(openapi_url=None)
        application.include_router(read_api(connections))
        with connections.connection() as conn:
            made = create_token(conn, "fuzz", list(Scope), None, created_ms=START_MS)
        street.house = LockedGate(application, Doorkeeper(connections, UserFile(users)), Scope.STATUS)
        yield made
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@schema.parametrize()
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_what_the_document_says(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"})


def test_requests_reach_the_data(token: str) -> None:
    """Guards the test above against asking for what is not there only."""
    asked = {
        "series": ["gw-01/meter-1/energy"],
        "from": instant_text(START_MS - 3_600_000),
        "to": instant_text(START_MS + 3_600_000),
    }
    answers = []
    for result in schema.get_all_operations():
        operation = result.ok()
        names = {parameter["name"] for parameter in DOCUMENT["paths"][operation.path]["get"].get("parameters", ())}
        case = operation.Case(
            path_parameters={"gateway": "gw-01", "record": 3, "incident": 1},
            query={name: value for name, value in asked.items() if name in names},
        )
        answers.append(case.call(headers={"Authorization": f"Bearer {token}"}).status_code)
    assert sorted(answers) == [200] * 11 + [404], "only of incidents there are none"
