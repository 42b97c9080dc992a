"""``shopfloor dashboards``: the web pages of a database, and the dossier of a project as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import add_access, add_log_format, port_number
from shopfloor.database import add_database, database_url

if TYPE_CHECKING:
    from fastapi import APIRouter

    from store.database import Pool

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"


def add_parser(subparsers: Any) -> None:
    """Add ``dashboards`` with its commands to the command line."""
    parser = subparsers.add_parser("dashboards", help="project pages, live page, data files", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="serve the pages until stopped (Ctrl-C)",
        description="Serves project pages, the live page, the data files behind every figure, the read API (/api/v1), "
        "and /readyz and /metrics for monitoring. Of the database it changes nothing but sessions. On another address "
        "than loopback it asks for TLS and for users, who then have to log in.",
    )
    add_database(run, _EMBEDDED_HELP)
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    run.add_argument(
        "--port", type=port_number, default=8000, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    run.add_argument(
        "--ingestion",
        metavar="URL",
        action="append",
        default=[],
        help="where an ingestion tells of itself (its --http address): /readyz then says whether it is ready, too",
    )
    add_access(run)
    add_log_format(run)
    run.add_argument("--json", action="store_true", help="print the address as JSON")
    run.set_defaults(func=_run)

    dossier = commands.add_parser(
        "dossier",
        help="evaluate and prove a project; exit code 1 when it is not proven",
        description="Evaluates the plan of PROJECT, verifies signature and chain of every record behind it and "
        "recomputes the intervals from their words. Names each record and interval that does not hold.",
    )
    dossier.add_argument("project", metavar="PROJECT", help="id of a registered project")
    add_database(dossier, _EMBEDDED_HELP)
    dossier.add_argument("--json", type=Path, metavar="FILE", help="write the whole dossier; - for standard output")
    dossier.set_defaults(func=_dossier)


def _run(options: argparse.Namespace) -> int:
    import json
    import logging
    import signal
    from threading import Event

    from dashboards.server import serving
    from shopfloor.access.listening import listening
    from shopfloor.logs import log_to_stderr
    from store.database import pool
    from store.readers import Scope

    log_to_stderr(options.log_format, logging.INFO)
    place = listening(options, options.host)
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with (
        database_url(options) as url,
        place.guard(url, Scope.PROJECTS) as guard,
        pool(url, 4) as connections,
        serving(
            url,
            place.host,
            options.port,
            beside_the_pages(connections, options.ingestion),
            guard=guard,
            tls=place.tls,
        ) as address,
    ):
        print(json.dumps({"dashboards": address}) if options.json else f"dashboards at {address}", flush=True)
        stopped.wait()
    return 0


def beside_the_pages(connections: Pool, ingestions: Sequence[str]) -> list[APIRouter]:
    """What is served at the address of the pages besides them: the read API, and what monitoring asks for."""
    from ingest.api.router import read_api
    from ingest.metrics import metrics_router
    from shopfloor.readiness import readiness_router

    return [read_api(connections), metrics_router(connections), readiness_router(connections, ingestions)]


def _dossier(options: argparse.Namespace) -> int:
    import sys

    from dashboards.dossier import load_dossier
    from dashboards.exports import json_bytes
    from dashboards.language import catalogue
    from dashboards.project_page import CHECKS
    from store.database import connect
    from store.migrations import check_migrated

    with database_url(options) as url, connect(url) as connection:
        check_migrated(connection)
        dossier = load_dossier(connection, options.project)
    content = dossier.to_json()
    if options.json is not None and str(options.json) == "-":
        sys.stdout.buffer.write(json_bytes(content))
    else:
        if options.json is not None:
            _write(options.json, json_bytes(content))
        text = catalogue("en")
        for kpi in content["explanation"]["kpis"]:
            print(f"{kpi['id']}: {kpi['sentence']['en']}")
        for check in CHECKS:
            print(f"{text(f'proof.{check}')}: {text('check.' + content['proof'][check])}{_why_not(content, check)}")
        for fault in content["proof"]["faults"]:
            print(f"FAULT {fault['en']}")
    return 0 if dossier.proven else 1


def _why_not(content: dict[str, Any], check: str) -> str:
    reason = content["proof"]["reasons"].get(check)
    return "" if content["proof"][check] != "not_checked" or reason is None else f" ({reason['en']})"


def _write(path: Path, content: bytes) -> None:
    from dashboards.errors import FileError
    from wire.errors import fault_text

    try:
        path.write_bytes(content)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {fault_text(error)}") from error
