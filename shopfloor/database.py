"""The database that a command line names: a server somewhere, or the embedded one in a folder."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

DATABASE_VARIABLE = "SHOPFLOOR_DATABASE"
"""Name of the environment variable that stands for ``--database``: a command line is seen by everybody, this is not."""

_FOLDER = "postgres"


def add_database(parser: argparse.ArgumentParser, embedded_help: str) -> None:
    """Add ``--database URL`` and ``--embedded DIR``, of which one has to be given, or the former in the environment.

    Where ``--embedded`` is given it counts, whatever the environment says.
    """
    given = os.environ.get(DATABASE_VARIABLE) or None
    source = parser.add_mutually_exclusive_group(required=given is None)
    source.add_argument(
        "--database",
        metavar="URL",
        default=given,
        help=f"postgresql://user:password@host:port/database; or in the environment, as {DATABASE_VARIABLE}, where "
        "others do not see the password",
    )
    source.add_argument("--embedded", metavar="DIR", type=Path, help=embedded_help)


def data_directory(embedded: Path) -> Path:
    """Where the database lies in the folder given as ``--embedded``."""
    return embedded / _FOLDER


@contextlib.contextmanager
def database_url(options: argparse.Namespace) -> Iterator[str]:
    """The URL of a database that answers inside the block.

    The embedded database may be in use: then its running server is the one, otherwise it is started for the block.

    :raises EmbeddedPostgresError: there is no database in the folder, or it cannot be started.
    """
    from store.database import connect
    from store.embedded import EmbeddedPostgres
    from store.errors import DatabaseUnreachableError, EmbeddedPostgresError

    if options.embedded is None:
        yield options.database
        return
    directory = data_directory(options.embedded)
    if not directory.is_dir():
        raise EmbeddedPostgresError(
            f"{options.embedded}: there is no database in this folder; "
            f"make one with: shopfloor ingest run --embedded {options.embedded} --server-key FILE"
        )
    server = EmbeddedPostgres(directory)
    try:
        connect(server.url).close()
    except DatabaseUnreachableError:
        with server:
            yield server.url
    else:
        yield server.url
