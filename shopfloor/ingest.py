"""``shopfloor ingest``: take records in, and look at what came in."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import logging
import os
import shlex
import signal
import threading
from dataclasses import asdict
from pathlib import Path

from shopfloor import (
    ingest_enrol,
    ingest_incidents,
    ingest_jobs,
    ingest_quarantine,
    ingest_retention,
    ingest_timescale,
    ingest_token,
)
from shopfloor.arguments import add_access, add_keep_days, add_log_format, port_number
from shopfloor.database import add_database, data_directory
from shopfloor.reporting import clock_text, connected, print_report

BROKER_VARIABLE = "SHOPFLOOR_BROKER"
"""Name of the environment variable that stands for ``--broker``."""

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
    run.add_argument(
        "--broker",
        metavar="URL",
        default=os.environ.get(BROKER_VARIABLE) or None,
        help="mqtt://[user:password@]host[:port] or mqtts://...; nats://[user:password@]host[:port][,host...] or "
        "tls://... for a NATS cluster, whose workers share the records; or in the environment, as "
        f"{BROKER_VARIABLE}, where others do not see the password",
    )
    run.add_argument(
        "--server-key", metavar="FILE", type=Path, required=True, help="private key of the server, made when absent"
    )
    run.add_argument(
        "--mqtt-port", metavar="PORT", type=port_number, default=0, help="of the embedded broker (default: a free one)"
    )
    run.add_argument("--mqtt", choices=["auto", "5", "3.1.1"], default="auto", help="MQTT version (default: auto)")
    run.add_argument(
        "--client-id",
        metavar="NAME",
        help="name of the session at the MQTT broker (default: shopfloor-ingest; with an authority one that nobody can "
        "guess)",
    )
    run.add_argument(
        "--share",
        metavar="GROUP",
        help="share the records with the other workers of GROUP (MQTT 5 shared subscription), each of which needs a "
        "--client-id of its own",
    )
    run.add_argument(
        "--programme",
        metavar="NAME",
        help="the programme whose evidence the database holds; from the first start on the database takes no other",
    )
    run.add_argument(
        "--http",
        metavar="PORT",
        type=port_number,
        help="serve /healthz, /readyz, /metrics, /api/ingest/status and the read API, /api/v1",
    )
    run.add_argument(
        "--http-host", metavar="HOST", default="127.0.0.1", help="where; others than loopback need TLS and users"
    )
    add_access(run)
    ingest_enrol.add_run_options(run)
    add_keep_days(run)
    add_log_format(run)
    run.set_defaults(func=_run)

    ingest_enrol.add_commands(commands)
    ingest_jobs.add_command(commands)
    ingest_token.add_parser(commands)

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

    ingest_quarantine.add_parser(commands)
    ingest_retention.add_parser(commands)
    ingest_timescale.add_parser(commands)

    ingest_incidents.add_parser(commands)

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


def _run(options: argparse.Namespace) -> int:
    from ingest.address import address_from_url
    from ingest.api.router import read_api
    from ingest.broker import EmbeddedBroker
    from ingest.broker_backlog import BacklogCollector
    from ingest.errors import BrokerAddressError
    from ingest.http import StatusServer
    from ingest.server_key import load_server_key
    from ingest.service import IngestService
    from ingest.session import MqttVersion
    from shopfloor.access.listening import listening
    from shopfloor.logs import log_to_stderr
    from shopfloor.nightly import further_tasks
    from store.database import place, pool
    from store.embedded import EmbeddedPostgres
    from store.readers import Scope

    if options.broker is None and options.embedded is None:
        raise BrokerAddressError("no broker is given: add --broker mqtt://host:1883, or use --embedded DIR")
    address = None if options.http is None else listening(options, options.http_host)
    log_to_stderr(options.log_format, logging.INFO)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    key = load_server_key(options.server_key)
    authority = ingest_enrol.authority(options) if options.enrol is not None else None
    broker: EmbeddedBroker | None = None
    with contextlib.ExitStack() as stack:
        url, broker_url = options.database, options.broker
        if options.embedded is not None:
            url = stack.enter_context(EmbeddedPostgres(data_directory(options.embedded))).url
            if broker_url is None:
                broker = stack.enter_context(
                    EmbeddedBroker(
                        options.embedded / "broker",
                        mqtt_port=options.mqtt_port,
                        host=options.mqtt_host,
                        site=None if authority is None else authority.files,
                    )
                )
                broker_url = broker.url
        service = stack.enter_context(
            IngestService(
                url,
                broker_url,
                key,
                client_id=options.client_id or ingest_enrol.client_id(options, key),
                mqtt_version=MqttVersion(options.mqtt),
                share=options.share,
                programme=options.programme,
                tls_context=ingest_enrol.tls_context(options),
                keep_days=options.keep_days,
                further_tasks=further_tasks(),
            )
        )
        if broker is not None:
            service.meter.registry.register(BacklogCollector(broker.monitor_url))
        enrolment: dict[str, str] = {}
        if authority is not None:
            enrolment = stack.enter_context(ingest_enrol.gate(options, authority, url, broker, key.public))
        if address is not None:
            guard = stack.enter_context(address.guard(url, Scope.STATUS))
            api = read_api(stack.enter_context(pool(url, 4)))
            stack.enter_context(
                StatusServer(service, options.http, [api], host=address.host, guard=guard, tls=address.tls)
            )
        # An address that was given may hold a password; that of an embedded server is new to the reader.
        shown = place(url) if options.embedded is None else url
        started = {
            "broker": str(address_from_url(broker_url)),
            "database": shown,
            "server_key": key.public.text,
            **enrolment,
        }
        # Quoted where a shell would take the address apart.
        print_report(options, started, [f"{name}: {shlex.quote(value)}" for name, value in started.items()])
        stopping.wait()
        stats = asdict(service.stats())
    print_report(options, stats, [f"{name}: {value}" for name, value in stats.items()])
    return 0


def _trust(options: argparse.Namespace) -> int:
    from ingest.transaction import now_ms
    from store.enrolment import add_decision
    from store.gateways import add_gateway
    from wire.keys import VerifyingKey
    from wire.topics import record_topic

    record_topic(options.gateway)
    key = VerifyingKey.from_text(options.public_key)
    with connected(options) as conn:
        add_gateway(conn, options.gateway, key.raw, options.name)
        add_decision(conn, options.gateway, "trusted", getpass.getuser(), {"evidence_key": key.text}, now_ms())
    report = {"gateway": options.gateway, "public_key": key.text, "fingerprint": key.fingerprint}
    print_report(options, report, [f"gateway {options.gateway} is trusted with key {key.fingerprint}"])
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
    print_report(options, report, lines)
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
    with connected(options) as conn:
        project = put_project(conn, plan.project, text, bytes.fromhex(plan.hash), now_ms())
    report = {
        "project": project.id,
        "revision": project.revision,
        "plan_hash": plan.hash,
        "registered_ms": project.registered_ms,
    }
    unmeasured = [name for name, series in plan.series.items() if not series.has_source]
    in_time = project.registered_ms < midnight_ms(plan.reporting.start, plan.zone)
    order = "before" if in_time else "not before"
    print_report(
        options,
        report,
        [
            f"project {project.id}: plan {plan.hash[:16]} is registered as revision {project.revision} "
            f"since {clock_text(project.registered_ms)}, {order} its reporting period begins ({plan.reporting.start})",
            *(
                f"series '{name}' has no source ('from', 'documents'): pages and dossier cannot evaluate the project "
                "before a revision has it"
                for name in unmeasured
            ),
        ],
    )
    return 0


def _status(options: argparse.Namespace) -> int:
    from ingest.status import read_status

    with connected(options) as conn:
        status = read_status(conn)
    lines = [
        f"{id_}: {one.records} records, {one.samples} samples, {one.bytes} bytes, head {one.head_seq}, "
        f"newest {clock_text(one.newest_time_ms)}, received {clock_text(one.newest_received_ms)}"
        for id_, one in status.gateways.items()
    ]
    lines += [
        f"quarantined: {sum(status.quarantined.values())}",
        f"open incidents: {status.incidents}",
        f"days waiting for their intervals: {status.dirty_days}",
    ]
    print_report(options, status.to_json(), lines)
    return 0
