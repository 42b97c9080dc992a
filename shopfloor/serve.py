"""``shopfloor serve``: a whole site on one machine: database, broker, ingestion, pages, API, supervised."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor import ingest_enrol
from shopfloor.arguments import add_access, add_keep_days, add_log_format, port_number, positive_number
from shopfloor.database import DATABASE_VARIABLE, add_database, data_directory
from shopfloor.ingest import BROKER_VARIABLE
from shopfloor.reporting import print_report

if TYPE_CHECKING:
    from shopfloor.supervision import ChildService, Supervisor
    from wire.keys import VerifyingKey

_EMBEDDED_HELP = "run PostgreSQL and nats-server from their wheels, with everything in DIR"
_SERVER_KEY = "server.key"
_WRONG_INPUT = 2
_EPILOG = """\
A process that dies is started again, at once the first time and later each time it dies at once; database and broker
that run here, too. SIGTERM or Ctrl-C: pages stop, ingestion commits and acknowledges the batch in hand, then broker and
database stop.

exit codes:
  0  stopped as asked
  2  the input is wrong: arguments, keys, users, certificates
  3  the surroundings fail: database or broker do not come up, a port is taken
"""


def add_parser(subparsers: Any) -> None:
    """Add ``serve`` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="a whole site on one machine: database, broker, ingestion, pages, API",
        description="Runs everything that a small site needs, in one tree of processes: the database and the broker "
        "(embedded, or those given), ingestion with intervals and background jobs, and pages and read API on one "
        "address. Prints the addresses when all of it is up.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument(
        "--broker",
        metavar="URL",
        default=os.environ.get(BROKER_VARIABLE) or None,
        help=f"a broker that runs elsewhere; needed with --database; or in the environment, as {BROKER_VARIABLE}",
    )
    parser.add_argument(
        "--server-key",
        metavar="FILE",
        type=Path,
        help=f"private key of the server, made when absent (default with --embedded: DIR/{_SERVER_KEY})",
    )
    parser.add_argument(
        "--mqtt-port", metavar="PORT", type=port_number, default=1883, help="of the embedded broker (default: 1883)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of pages and API (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_number, default=8000, help="their port, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=positive_number,
        default=1,
        help="ingestion processes; more than one need a broker that shares records out: nats:// or MQTT 5 (default: 1)",
    )
    parser.add_argument("--programme", metavar="NAME", help="as for 'ingest run'")
    add_access(parser)
    ingest_enrol.add_run_options(parser)
    add_keep_days(parser)
    add_log_format(parser)
    parser.add_argument("--json", action="store_true", help="print the addresses, and at the end the restarts, as JSON")
    parser.set_defaults(func=_serve)


def _serve(options: argparse.Namespace) -> int:
    from ingest.server_key import load_server_key
    from shopfloor.access.listening import listening
    from shopfloor.errors import ServeError
    from shopfloor.logs import log_to_stderr
    from shopfloor.supervision import Supervisor

    if options.embedded is None and (options.broker is None or options.server_key is None):
        raise ServeError("with --database, --broker and --server-key have to be given; or use --embedded DIR")
    if options.workers > 1 and options.broker is None:
        raise ServeError("the embedded broker serves one ingestion process; give --broker, or leave --workers out")
    log_to_stderr(options.log_format, logging.INFO)
    listening(options, options.host)
    if options.embedded is not None:
        options.embedded.mkdir(parents=True, exist_ok=True)
    options.server_key = options.server_key or options.embedded / _SERVER_KEY
    options.port = options.port or _free_port()
    key = load_server_key(options.server_key)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    supervisor = Supervisor()
    with contextlib.ExitStack() as stack:
        started = {"server_key": key.public.text, **_start(options, stack, supervisor, key.public)}
        print_report(options, started, [f"{name}: {_quoted(value)}" for name, value in started.items()])
        supervisor.run(stopping)
        logging.getLogger(__name__).info("stopping, in order")
    if options.json:
        print(json.dumps({"restarts": supervisor.restarts}), flush=True)
    return 0


def _start(
    options: argparse.Namespace, stack: contextlib.ExitStack, supervisor: Supervisor, public_key: VerifyingKey
) -> dict[str, object]:
    """Start everything, each part behind what it needs; ``stack`` stops it in the opposite order."""
    from ingest.address import address_from_url
    from ingest.broker import EmbeddedBroker
    from ingest.broker_backlog import MONITOR
    from ingest.metrics import PROCESSES_FOLDER
    from store.database import connect, place
    from store.embedded import EmbeddedPostgres
    from store.migrations import migrate

    url = options.database
    if options.embedded is not None:
        postgres = stack.enter_context(EmbeddedPostgres(data_directory(options.embedded)))
        supervisor.watch("database", postgres)
        url = postgres.url
    with connect(url) as conn:
        migrate(conn)
    authority = ingest_enrol.authority(options) if options.enrol is not None else None
    broker, broker_url = None, options.broker
    if broker_url is None:
        broker = EmbeddedBroker(
            options.embedded / "broker",
            mqtt_port=options.mqtt_port,
            host=options.mqtt_host,
            site=None if authority is None else authority.files,
        )
        broker_url = stack.enter_context(broker).url
        supervisor.watch("broker", broker)
    enrolment: dict[str, str] = {}
    if authority is not None:
        enrolment = stack.enter_context(ingest_enrol.gate(options, authority, url, broker, public_key))
    figures = stack.enter_context(tempfile.TemporaryDirectory(prefix="shopfloor-figures-"))
    # Addresses hold passwords, and what is on a command line everybody on the machine can read.
    environment = {PROCESSES_FOLDER: figures, DATABASE_VARIABLE: url, BROKER_VARIABLE: broker_url}
    addresses: list[str] = []
    children: list[ChildService] = []
    for number in range(1, options.workers + 1):
        arguments, address = _ingestion_arguments(options, broker_url, number)
        addresses.append(address)
        children.append(_child(stack, supervisor, f"ingestion-{number}", arguments, environment))
        _first_line(children[-1])
    if broker is not None:
        environment[MONITOR] = broker.monitor_url
    children.append(_child(stack, supervisor, "pages", _pages_arguments(options, addresses), environment))
    pages = json.loads(_first_line(children[-1]))
    return {
        "dashboards": pages["dashboards"],
        "broker": str(address_from_url(broker_url)),
        "database": place(url) if options.embedded is None else url,
        **enrolment,
        "ingestion": addresses,
        "processes": {child.name: child.pid for child in children},
    }


def _child(
    stack: contextlib.ExitStack, supervisor: Supervisor, name: str, arguments: list[str], environment: dict[str, str]
) -> ChildService:
    """Start a child, have it watched, and have it stopped by ``stack``; ``environment`` names the folder of figures."""
    from prometheus_client.multiprocess import mark_process_dead

    from ingest.metrics import PROCESSES_FOLDER
    from shopfloor.supervision import ChildService

    child = ChildService(name, "shopfloor", arguments, environment)
    stack.callback(child.stop)
    child.start()
    supervisor.watch(name, child, lambda: mark_process_dead(child.pid, environment[PROCESSES_FOLDER]))  # type: ignore[no-untyped-call]
    return child


def _first_line(child: ChildService) -> str:
    from demo.errors import SurroundingsError
    from shopfloor.errors import ServeError

    try:
        return child.first_line()
    except SurroundingsError:
        if child.returncode != _WRONG_INPUT:
            raise
        raise ServeError(f"{child.name} does not start: what it needs is said above") from None


def _ingestion_arguments(options: argparse.Namespace, broker_url: str, number: int) -> tuple[list[str], str]:
    """Arguments of one ingestion process, and the address at which it tells of itself."""
    port = _free_port()
    arguments = ["ingest", "run", "--server-key", str(options.server_key), "--http", str(port)]
    arguments += ["--log-format", options.log_format, "--json"]
    if options.enrol is not None or options.authority is not None:
        arguments += ["--authority", str(options.authority or options.embedded / "authority")]
    if options.programme is not None:
        arguments += ["--programme", options.programme]
    if options.keep_days is not None:
        arguments += ["--keep-days", str(options.keep_days)]
    if options.workers > 1:
        arguments += ["--client-id", f"shopfloor-ingest-{number}"]
        if broker_url.startswith("mqtt"):
            arguments += ["--share", "shopfloor-serve"]
    return arguments, f"http://127.0.0.1:{port}"


def _pages_arguments(options: argparse.Namespace, ingestions: list[str]) -> list[str]:
    arguments = ["dashboards", "run", "--host", options.host, "--port", str(options.port)]
    arguments += ["--log-format", options.log_format, "--json"]
    for address in ingestions:
        arguments += ["--ingestion", address]
    for name in ("tls_cert", "tls_key", "users"):
        if (value := getattr(options, name)) is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _quoted(value: object) -> str:
    return shlex.quote(value) if isinstance(value, str) else json.dumps(value)
