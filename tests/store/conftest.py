"""The tests of the store run on the embedded server, and in the lane ``timescale`` on a server with TimescaleDB."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from store.database import Connection, connect


@pytest.fixture(scope="session", params=["embedded", pytest.param("timescale", marks=pytest.mark.timescale)])
def postgres_server(request: pytest.FixtureRequest) -> str:
    """The address of a server on which databases may be made."""
    if request.param == "embedded":
        url: str = request.getfixturevalue("embedded_server").url
        return url
    if "SHOPFLOOR_TIMESCALE_URL" not in os.environ:
        pytest.fail("the lane timescale needs SHOPFLOOR_TIMESCALE_URL; .ci/timescale.sh starts a server and prints it")
    return os.environ["SHOPFLOOR_TIMESCALE_URL"]


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """A connection to a fresh database."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    """A second session on the same database."""
    with connect(database_url) as connection:
        yield connection
