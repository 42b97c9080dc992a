"""``shopfloor ingest``: take records in, and look at what came in."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shlex
import signal
import sys
import threading
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from shopfloor.arguments import port_number, positive_number
from shopfloor.database import add_database, data_directory, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.database import Connection

_ZONE = ZoneInfo("Asia/Shanghai")
_RUN_EMBEDDED_HELP = "run PostgreSQL and nats-server from their wheels, with their data in DIR"
_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``ingest`` and its own subcommands."""
    parser = subparsers.add_parser(
        "ingest",
        help="take records in: consumer, gateways, plans, quarantine, incidents",
        description="Takes records in, and shows what came in.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="admit records, acknowledge them, make intervals; until SIGTERM or Ctrl-C",
        description="Takes records from the broker, stores what is authentic, acknowledges what is committed, and "
        "turns records into intervals. Migrates the database first. Prints the addresses in use and the server's "
        "public key, which goes into the gateways' uplink.server_key.",
    )
    _add_database(run, _RUN_EMBEDDED_HELP)
    run.add_argument("--broker", metavar="URL", help="mqtt://[user:password@]host[:port] or mqtts://...")
    run.add_argument(
        "--server-key", metavar="FILE", type=Path, required=True, help="private key of the server, made when absent"
    )
    run.add_argument(
        "--mqtt-port", metavar="PORT", type=port_number, default=0, help="of the embedded broker (default: a free one)"
    )
    run.add_argument("--mqtt", choices=["auto", "5", "3.1.1"], default="auto", help="MQTT version (default: auto)")
    run.add_argument("--client-id", default="shopfloor-ingest", help="name of the session at the broker")
    run.add_argument(
        "--http", metavar="PORT", type=port_number, help="serve /healthz, /readyz, /api/ingest/status on 127.0.0.1"
    )
    run.set_defaults(func=_run)

    trust = commands.add_parser(
        "trust",
        help="register a gateway and its public key",
        description="From now on records of GATEWAY signed by PUBLIC_KEY are admitted. Compare the fingerprint printed "
        "with the one that 'shopfloor agent key' prints on the gateway.",
    )
    trust.add_argument("gateway", metavar="GATEWAY", help="id of the gateway")
    trust.add_argument("public_key", metavar="PUBLIC_KEY", help="as printed on the gateway: ed25519:...")
    trust.add_argument("--name", default="", help="a name for people")
    _add_database(trust)
    trust.set_defaults(func=_trust)

    records = commands.add_parser(
        "import",
        help="admit the records of a file that a gateway exported",
        description="Takes the records of FILE (made by shopfloor agent export) in as if they came from a broker: what "
        "is authentic is stored, what is stored already is counted as duplicate, the rest goes into quarantine. Exit "
        "code 1 when something was refused.",
    )
    records.add_argument("file", metavar="FILE", type=Path, help="a .records file")
    _add_database(records)
    records.set_defaults(func=_import)

    plan = commands.add_parser(
        "plan",
        help="register the evidence plan of a project, or an amendment of it",
        description="Registers PLAN.yaml with today's date; an earlier revision of the same project stays on file. A "
        "plan proves most when it is registered before its reporting period begins.",
    )
    plan.add_argument("plan", metavar="PLAN.yaml", type=Path, help="evidence plan (YAML)")
    _add_database(plan)
    plan.set_defaults(func=_plan)

    quarantine = commands.add_parser(
        "quarantine",
        help="what was refused",
        description="Messages that were not authentic; their bytes are kept, nothing was acknowledged.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)
    refused = quarantine.add_parser(
        "list",
        help="the newest refusals, with the reason",
        description="Lists the newest refusals, with the reason, newest first.",
    )
    _add_listing(refused)
    refused.set_defaults(func=_list_quarantine)

    incidents = commands.add_parser(
        "incidents",
        help="what was admitted but odd",
        description="Forks, holes, declared gaps and the like; the records are stored and acknowledged.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)
    odd = incidents.add_parser(
        "list", help="the newest incidents", description="Lists the newest incidents, newest first."
    )
    odd.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
    _add_listing(odd)
    odd.set_defaults(func=_list_incidents)

    status = commands.add_parser(
        "status",
        help="records, samples, head and newest times of each gateway",
        description="Shows records, samples, head and newest times of each gateway, and what waits or was refused.",
    )
    _add_database(status)
    status.set_defaults(func=_status)


def _add_database(parser: argparse.ArgumentParser, embedded_help: str = _EMBEDDED_HELP) -> None:
    add_database(parser, embedded_help)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_listing(parser: argparse.ArgumentParser) -> None:
    _add_database(parser)
    parser.add_argument("--limit", type=positive_number, default=100, help="how many at most (default: 100)")


def _run(options: argparse.Namespace) -> int:
    from ingest.address import BrokerAddress
    from ingest.broker import EmbeddedBroker
    from ingest.errors import BrokerAddressError
    from ingest.http import StatusServer
    from ingest.server_key import load_server_key
    from ingest.service import IngestService
    from ingest.session import MqttVersion
    from store.database import place
    from store.embedded import EmbeddedPostgres

    if options.broker is None and options.embedded is None:
        raise BrokerAddressError("no broker is given: add --broker mqtt://host:1883, or use --embedded DIR")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    key = load_server_key(options.server_key)
    with contextlib.ExitStack() as stack:
        url, broker_url = options.database, options.broker
        if options.embedded is not None:
            url = stack.enter_context(EmbeddedPostgres(data_directory(options.embedded))).url
            broker_url = (
                broker_url
                or stack.enter_context(EmbeddedBroker(options.embedded / "broker", mqtt_port=options.mqtt_port)).url
            )
        service = stack.enter_context(
            IngestService(
                url,
                broker_url,
                key,
                client_id=options.client_id,
                mqtt_version=MqttVersion(options.mqtt),
            )
        )
        if options.http is not None:
            stack.enter_context(StatusServer(service, options.http))
        # An address that was given may hold a password; that of an embedded server is new to the reader.
        shown = place(url) if options.embedded is None else url
        broker = str(BrokerAddress.from_url(broker_url))
        started = {"broker": broker, "database": shown, "server_key": key.public.text}
        # Quoted where a shell would take the address apart.
        _print(options, started, [f"{name}: {shlex.quote(value)}" for name, value in started.items()])
        stopping.wait()
        stats = asdict(service.stats())
    _print(options, stats, [f"{name}: {value}" for name, value in stats.items()])
    return 0


def _trust(options: argparse.Namespace) -> int:
    from store.gateways import add_gateway
    from wire.keys import VerifyingKey
    from wire.topics import record_topic

    record_topic(options.gateway)
    key = VerifyingKey.from_text(options.public_key)
    with _connected(options) as conn:
        add_gateway(conn, options.gateway, key.raw, options.name)
    report = {"gateway": options.gateway, "public_key": key.text, "fingerprint": key.fingerprint}
    _print(options, report, [f"gateway {options.gateway} is trusted with key {key.fingerprint}"])
    return 0


def _import(options: argparse.Namespace) -> int:
    from ingest.record_import import import_records
    from store.database import connect, pool
    from store.embedded import EmbeddedPostgres
    from store.migrations import migrate

    with contextlib.ExitStack() as stack:
        url = options.database
        if options.embedded is not None:
            url = stack.enter_context(EmbeddedPostgres(options.embedded / "postgres")).url
        with connect(url) as conn:
            migrate(conn)
        imported = import_records(stack.enter_context(pool(url, 2)), options.file)
    tally, refused = imported.tally, imported.refused.total()
    report = {
        "file": str(options.file),
        "stored": tally.stored,
        "duplicates": tally.duplicates - (refused - tally.quarantined),
        "refused": dict(sorted(imported.refused.items())),
        "incidents": tally.incidents,
        "samples": tally.samples,
        "heads": imported.heads,
    }
    lines = [f"stored: {report['stored']}", f"duplicates: {report['duplicates']}", f"refused: {refused}"]
    lines += [f"  {reason}: {count}" for reason, count in sorted(imported.refused.items())]
    lines += [f"{gateway}: complete up to record {seq}" for gateway, seq in sorted(imported.heads.items())]
    _print(options, report, lines)
    return 1 if refused else 0


def _plan(options: argparse.Namespace) -> int:
    from evidence.plan import load_plan
    from evidence.table import midnight_ms
    from ingest.errors import PlanFileError
    from ingest.transaction import now_ms
    from store.projects import put_project
    from wire.errors import fault_text

    try:
        with options.plan.open(encoding="utf-8", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"{options.plan}: cannot be read: {fault_text(error)}") from error
    plan = load_plan(text, str(options.plan))
    with _connected(options) as conn:
        project = put_project(conn, plan.project, text, bytes.fromhex(plan.hash), now_ms())
    report = {
        "project": project.id,
        "revision": project.revision,
        "plan_hash": plan.hash,
        "registered_ms": project.registered_ms,
    }
    unmeasured = [name for name, series in plan.series.items() if not series.sources]
    in_time = project.registered_ms < midnight_ms(plan.reporting.start, plan.zone)
    order = "before" if in_time else "not before"
    _print(
        options,
        report,
        [
            f"project {project.id}: plan {plan.hash[:16]} is registered as revision {project.revision} "
            f"since {_clock_text(project.registered_ms)}, {order} its reporting period begins ({plan.reporting.start})",
            *(
                f"series '{name}' has no 'from': pages and dossier cannot evaluate the project before a revision has it"
                for name in unmeasured
            ),
        ],
    )
    return 0


def _list_quarantine(options: argparse.Namespace) -> int:
    from store.quarantine import list_quarantine

    with _connected(options) as conn:
        refused = [_with_size(asdict(one)) for one in list_quarantine(conn, options.limit)]
    lines = [
        f"{_clock_text(one['received_ms'])}  {one['reason']:<20}  {one['topic']}  {one['detail']}" for one in refused
    ]
    _print(options, {"quarantine": refused}, lines or ["nothing is in quarantine"])
    return 0


def _list_incidents(options: argparse.Namespace) -> int:
    from store.incidents import list_incidents

    with _connected(options) as conn:
        incidents = [_with_size(asdict(one)) for one in list_incidents(conn, options.gateway, options.limit)]
    lines = [
        f"{_clock_text(one['at_ms'])}  {one['gateway']}  {one['kind']:<20}  {_record_text(one['seq'])}  "
        f"{json.dumps(one['detail'], ensure_ascii=False)}"
        for one in incidents
    ]
    _print(options, {"incidents": incidents}, lines or ["there are no incidents"])
    return 0


def _status(options: argparse.Namespace) -> int:
    from ingest.status import read_status

    with _connected(options) as conn:
        status = read_status(conn)
    lines = [
        f"{id_}: {one.records} records, {one.samples} samples, {one.bytes} bytes, head {one.head_seq}, "
        f"newest {_clock_text(one.newest_time_ms)}, received {_clock_text(one.newest_received_ms)}"
        for id_, one in status.gateways.items()
    ]
    lines += [
        f"quarantined: {sum(status.quarantined.values())}",
        f"incidents: {status.incidents}",
        f"days waiting for their intervals: {status.dirty_days}",
    ]
    _print(options, status.to_json(), lines)
    return 0


@contextlib.contextmanager
def _connected(options: argparse.Namespace) -> Iterator[Connection]:
    """Open a connection to the migrated database that the options name; committed at the end."""
    from store.database import connect
    from store.migrations import migrate

    with database_url(options) as url, connect(url) as conn:
        migrate(conn)
        yield conn


def _record_text(seq: int | None) -> str:
    return "-" if seq is None else f"record {seq}"


def _clock_text(time_ms: int | None) -> str:
    return "never" if time_ms is None else datetime.fromtimestamp(time_ms // 1000, _ZONE).isoformat()


def _with_size(row: dict[str, Any]) -> dict[str, Any]:
    """Replace kept bytes by their number: a listing is for reading."""
    data = row.pop("data")
    return {**row, "bytes": None if data is None else len(data)}


def _print(options: argparse.Namespace, report: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(report, ensure_ascii=False) if options.json else "\n".join(lines))
    sys.stdout.flush()
