"""A real PostgreSQL server for the session, and a fresh migrated database for each test that asks for one."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

from store.database import connect
from store.embedded import EmbeddedPostgres
from store.migrations import migrate

_TEMPLATE = "shopfloor_template"
_numbers = itertools.count(1)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name)}"))


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """An embedded server; a test that stops or kills servers starts its own."""
    directory: Path = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgres(directory) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(embedded_server: EmbeddedPostgres) -> str:
    """The address of a server on which databases may be made."""
    return embedded_server.url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        with connect(_with_database(postgres_server, _TEMPLATE)) as conn:
            migrate(conn)
        # A template that allows connections can be held up by a background worker of an extension.
        server.execute(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (_TEMPLATE,))
        yield _TEMPLATE
        server.execute(f"DROP DATABASE {_TEMPLATE}")


@pytest.fixture
def database_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """The address of a migrated, empty database, dropped after the test."""
    name = f"shopfloor_test_{next(_numbers)}"
    with connect(postgres_server, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        try:
            yield _with_database(postgres_server, name)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mbpoll() -> Callable[..., dict[int, str]]:
    """Read with mbpoll of Debian, a master that shares nothing with our Modbus; gives the values by 0-based address.

    Without it the test is skipped by name, and where ``CI`` is set it fails.
    """
    command = shutil.which("mbpoll")
    if command is None:
        missing = "mbpoll is not installed; install Debian's package mbpoll"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)

    def read(*arguments: object) -> dict[int, str]:
        asked = [command, "-0", "-1", "-q", *map(str, arguments)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return {int(place): value for place, value in re.findall(r"^\[(\d+)\]:\s*(\S+)", done.stdout, re.MULTILINE)}

    return read
