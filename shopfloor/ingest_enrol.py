"""``shopfloor ingest``: let gateways in, put them out, and tell brokers who may connect."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import port_number
from shopfloor.database import add_database, database_url
from shopfloor.reporting import clock_text, connected, print_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from ingest.broker import EmbeddedBroker
    from ingest.broker_reload import MosquittoFiles, NatsFiles
    from ingest.certificate_authority import CertificateAuthority
    from wire.keys import SigningKey, VerifyingKey

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"
_AUTHORITY_HELP = (
    "folder of the certificate authority, made when absent (default with --embedded: DIR/authority); its key is "
    "encrypted with the passphrase in SHOPFLOOR_AUTHORITY_PASSPHRASE, or in the file named by "
    "SHOPFLOOR_AUTHORITY_PASSPHRASE_FILE"
)


def add_run_options(run: argparse.ArgumentParser) -> None:
    """Add the options of ``ingest run`` by which gateways get in."""
    run.add_argument(
        "--enrol",
        metavar="HOST:PORT",
        type=_address,
        help="let gateways enrol here, over TLS; the embedded broker then speaks TLS and lets in only those enrolled",
    )
    _add_authority(run)
    run.add_argument(
        "--public-name",
        metavar="NAME",
        action="append",
        default=[],
        help="name or address under which gateways reach this machine; goes into the server's certificate; repeatable",
    )
    run.add_argument(
        "--mqtt-host", metavar="HOST", default="127.0.0.1", help="of the embedded broker; others only with --enrol"
    )
    run.add_argument(
        "--gateway-broker", metavar="URL", help="what gateways are told with --enrol and a broker that is not embedded"
    )


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    code = commands.add_parser(
        "enrol-code",
        help="make a one-time code with which a gateway enrols",
        description="Prints a code for GATEWAY, valid once and for 24 hours. It holds the fingerprint of this server's "
        "authority, so that the gateway knows whom it talks to; pass it on as you would a password. On the gateway: "
        "shopfloor agent enrol CODE gateway.yaml --server https://NAME:PORT",
    )
    code.add_argument("gateway", metavar="GATEWAY", help="id of the gateway")
    _add_authority(code)
    _add_database(code)
    code.set_defaults(func=_code)

    listing = commands.add_parser(
        "enrolments",
        help="gateways that have asked to be let in, and certificates",
        description="Lists requests with the short fingerprint of their keys, the newest first, and certificates.",
    )
    listing.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
    _add_database(listing)
    listing.set_defaults(func=_list)

    approve = commands.add_parser(
        "approve",
        help="let a gateway in, after comparing fingerprints",
        description="From now on records signed by the key of request NUMBER are admitted, and its gateway gets a "
        "certificate for the broker. FINGERPRINT is what stands on the gateway's screen; another one is refused.",
    )
    approve.add_argument("number", metavar="NUMBER", type=int, help="of the request, see 'ingest enrolments'")
    approve.add_argument("fingerprint", metavar="FINGERPRINT", help="as the gateway shows it")
    _add_actor(approve)
    _add_database(approve)
    approve.set_defaults(func=_approve)

    refuse = commands.add_parser(
        "refuse", help="turn a request down", description="Turns request NUMBER down; its code stays used up."
    )
    refuse.add_argument("number", metavar="NUMBER", type=int, help="of the request, see 'ingest enrolments'")
    _add_actor(refuse)
    _add_database(refuse)
    refuse.set_defaults(func=_refuse)

    revoke = commands.add_parser(
        "revoke",
        help="take nothing from a gateway any more",
        description="Its key and certificates are void, at once and for good: a running ingestion puts what arrives "
        "from now on into quarantine, the broker ends its connection. Records stored before stay what they are.",
    )
    revoke.add_argument("gateway", metavar="GATEWAY", help="id of the gateway")
    revoke.add_argument("--reason", required=True, help="goes on record with the decision")
    _add_actor(revoke)
    _add_database(revoke)
    revoke.set_defaults(func=_revoke)

    decisions = commands.add_parser(
        "decisions",
        help="everything decided about gateways, and by whom",
        description="Lists the append-only record of decisions, the first one first: codes, approvals, refusals, "
        "certificates, rotated keys, revocations.",
    )
    decisions.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
    _add_database(decisions)
    decisions.set_defaults(func=_decisions)

    broker = commands.add_parser(
        "broker-config",
        help="write who may connect, for a nats-server or Mosquitto of your own",
        description="Writes configuration, permissions and revocation list for the gateways enrolled now. With --watch "
        "goes on doing so whenever something is decided, until SIGTERM or Ctrl-C: the broker reads the files again, "
        "and who is revoked is put out.",
    )
    broker.add_argument(
        "--for",
        dest="kind",
        choices=["nats", "nats-account", "mosquitto"],
        required=True,
        help="which broker; nats-account: the account of --programme on servers that several programmes share",
    )
    broker.add_argument("--programme", metavar="NAME", help="whose account is written, with --for nats-account")
    broker.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="where the files go")
    broker.add_argument("--host", metavar="HOST", default="0.0.0.0", help="where the broker listens (default: 0.0.0.0)")  # noqa: S104 - with TLS
    broker.add_argument("--port", metavar="PORT", type=port_number, default=8883, help="for gateways (default: 8883)")
    broker.add_argument(
        "--service-port",
        metavar="PORT",
        type=port_number,
        default=1883,
        help="of Mosquitto, for ingestion, loopback",
    )
    broker.add_argument("--pid-file", metavar="FILE", type=Path, help="the broker's; it is sent SIGHUP after changes")
    broker.add_argument("--watch", action="store_true", help="keep the files as they should be")
    broker.add_argument("--public-name", metavar="NAME", action="append", default=[], help="as for 'ingest run'")
    _add_authority(broker)
    _add_database(broker)
    broker.set_defaults(func=_broker_config)


@contextlib.contextmanager
def gate(
    options: argparse.Namespace,
    authority: CertificateAuthority,
    url: str,
    broker: EmbeddedBroker | None,
    server_key: VerifyingKey,
) -> Iterator[dict[str, str]]:
    """Open the way in that ``ingest run --enrol`` asks for, keep the embedded broker told who may connect.

    Yields what people need to know of it.
    """
    from ingest.certificate_authority import fingerprint_text
    from ingest.enrolment_http import Site
    from ingest.errors import BrokerAddressError
    from ingest.gate import Gate
    from ingest.loopback import reachable_host

    told = options.gateway_broker
    if broker is not None:
        told = told or f"mqtts://{(options.public_name or ['localhost'])[0]}:{broker.mqtt_port}"
    if told is None:
        raise BrokerAddressError("gateways have to be told where the broker is: add --gateway-broker mqtts://NAME:PORT")
    host, port = options.enrol
    with Gate(url, authority, broker, Site(server_key.text, told), host=host, port=port) as opened:
        name = (options.public_name or [reachable_host(host)])[0]
        yield {
            "enrolment": f"https://{name}:{opened.port}",
            "gateway_broker": told,
            "authority": fingerprint_text(authority.fingerprint),
        }


def authority(options: argparse.Namespace) -> CertificateAuthority:
    """Open the authority that the options name, or make it."""
    from ingest.certificate_authority import CertificateAuthority, passphrase
    from ingest.errors import AuthorityError

    directory = _directory(options)
    if directory is None:
        raise AuthorityError("no authority is given: add --authority DIR")
    return CertificateAuthority.open_or_create(directory, passphrase(), getattr(options, "public_name", ()))


def tls_context(options: argparse.Namespace) -> Callable[[], SSLContext] | None:
    """Return what makes the TLS context of ingestion towards the broker; None when the options name no authority."""
    from ingest.certificate_authority import SiteFiles, service_context

    if options.enrol is None and options.authority is None:
        return None
    directory = _directory(options)
    return None if directory is None else lambda: service_context(SiteFiles(directory))


def client_id(options: argparse.Namespace, server_key: SigningKey) -> str:
    """Return the default name of the session at the broker: with others on it one that stays and cannot be guessed."""
    import hashlib

    name = "shopfloor-ingest"
    if options.enrol is None and options.authority is None:
        return name
    return f"{name}-{hashlib.sha256(b'session' + server_key.seed).hexdigest()[:16]}"


def _directory(options: argparse.Namespace) -> Path | None:
    directory: Path | None = options.authority
    if directory is None and options.embedded is not None:
        directory = options.embedded / "authority"
    return None if directory is None else directory.resolve()


def _code(options: argparse.Namespace) -> int:
    from ingest.certificate_authority import fingerprint_text
    from ingest.enrolment import CODE_HOURS, issue_code
    from ingest.transaction import now_ms
    from wire.topics import record_topic

    record_topic(options.gateway)
    opened = authority(options)
    with connected(options) as conn:
        code = issue_code(conn, options.gateway, opened.fingerprint, now_ms(), getpass.getuser())
    shown = fingerprint_text(opened.fingerprint)
    report = {"gateway": code.gateway, "code": code.text, "authority_sha256": opened.fingerprint.hex()}
    print_report(
        options,
        report,
        [f"code for {code.gateway}, once, within {CODE_HOURS} hours:", code.text, f"authority: {shown}"],
    )
    return 0


def _list(options: argparse.Namespace) -> int:
    from ingest.enrolment import fingerprint_of
    from store.enrolment import certificates, enrolments

    with connected(options) as conn:
        asked = enrolments(conn, options.gateway)
        issued = certificates(conn, options.gateway)
    report: dict[str, Any] = {
        "enrolments": [
            {
                "number": one.id,
                "gateway": one.gateway,
                "state": one.state,
                "fingerprint": fingerprint_of(one),
                "requested_ms": one.requested_ms,
                "origin": one.origin,
            }
            for one in asked
        ],
        "certificates": [
            {
                "gateway": one.gateway,
                "serial": one.serial,
                "issued_ms": one.issued_ms,
                "expires_ms": one.expires_ms,
                "revoked_ms": one.revoked_ms,
            }
            for one in issued
        ],
    }
    lines = [
        f"{one['number']}  {one['gateway']}  {one['state']:<8}  {one['fingerprint']}  "
        f"{clock_text(one['requested_ms'])}  from {one['origin']}"
        for one in report["enrolments"]
    ]
    lines += [
        f"certificate {one['serial'][:16]}  {one['gateway']}  until {clock_text(one['expires_ms'])}"
        + ("" if one["revoked_ms"] is None else f"  revoked {clock_text(one['revoked_ms'])}")
        for one in report["certificates"]
    ]
    print_report(options, report, lines or ["nobody has asked to be let in"])
    return 0


def _approve(options: argparse.Namespace) -> int:
    from ingest.enrolment import approve
    from ingest.transaction import now_ms

    with connected(options) as conn:
        one = approve(conn, options.number, options.fingerprint, options.by, now_ms())
    print_report(options, {"gateway": one.gateway, "number": one.id}, [f"gateway {one.gateway} is let in"])
    return 0


def _refuse(options: argparse.Namespace) -> int:
    from ingest.enrolment import refuse
    from ingest.transaction import now_ms

    with connected(options) as conn:
        one = refuse(conn, options.number, options.by, now_ms())
    print_report(
        options, {"gateway": one.gateway, "number": one.id}, [f"request {one.id} of {one.gateway} is turned down"]
    )
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from ingest.enrolment import revoke
    from ingest.transaction import now_ms

    with connected(options) as conn:
        serials = revoke(conn, options.gateway, options.reason, options.by, now_ms())
    print_report(
        options,
        {"gateway": options.gateway, "certificates": serials},
        [f"gateway {options.gateway} is revoked, and {len(serials)} certificates with it"],
    )
    return 0


def _decisions(options: argparse.Namespace) -> int:
    from store.enrolment import decisions

    with connected(options) as conn:
        decided = [asdict(one) for one in decisions(conn, options.gateway)]
    lines = [
        f"{clock_text(one['at_ms'])}  {one['gateway']}  {one['kind']:<20}  {one['actor']}  "
        f"{json.dumps(one['detail'], ensure_ascii=False)}"
        for one in decided
    ]
    print_report(options, {"decisions": decided}, lines or ["nothing was decided"])
    return 0


def _broker_config(options: argparse.Namespace) -> int:
    from ingest.broker_reload import BrokerAccess, MosquittoFiles, NatsAccountFiles, NatsFiles
    from ingest.errors import ProgrammeError
    from store.database import pool, transaction
    from wire.topics import valid_identifier

    opened = authority(options)
    output = options.output.resolve()
    files: NatsFiles | NatsAccountFiles | MosquittoFiles
    if options.kind == "nats-account":
        if not valid_identifier(options.programme or ""):
            raise ProgrammeError("--for nats-account needs --programme NAME: lower-case letters, digits, '-' and '_'")
        files = NatsAccountFiles(output, options.programme, pid_file=options.pid_file)
    elif options.kind == "nats":
        files = NatsFiles(output, opened.files, listen=f"{options.host}:{options.port}", pid_file=options.pid_file)
    else:
        files = MosquittoFiles(
            output,
            opened.files,
            host=options.host,
            port=options.port,
            service_port=options.service_port,
            pid_file=options.pid_file,
        )
    with connected(options), database_url(options) as url, pool(url, 2) as connections:
        access = BrokerAccess(lambda: transaction(connections), opened, files)
        if not options.watch:
            access.apply()
            print_report(options, {"folder": str(output)}, [f"written to {output}"])
            return 0
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        with access:
            print_report(options, {"folder": str(output)}, [f"written to {output}, and kept up to date"])
            stopping.wait()
    return 0


def _add_authority(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--authority", metavar="FOLDER", type=Path, help=_AUTHORITY_HELP)


def _add_actor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", metavar="PERSON", default=getpass.getuser(), help="who decides (default: you)")


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"'{text}' is no address; write it like 127.0.0.1:8443")
    return host.strip("[]"), port_number(port)
