"""``shopfloor ingest quarantine``: what was refused, looked at and offered again."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database, database_url
from shopfloor.reporting import clock_text, connected, print_report

if TYPE_CHECKING:
    from store.quarantine import Quarantined

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"


def add_parser(commands: Any) -> None:
    """Add ``quarantine`` with its commands to the commands of ``shopfloor ingest``."""
    parser = commands.add_parser(
        "quarantine",
        help="what was refused: list, show, readmit",
        description="Messages that were not authentic; their bytes are kept, nothing was acknowledged.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = parser.add_parser(
        "list",
        help="the newest refusals, with the reason",
        description="Lists the newest refusals, with number and reason, newest first.",
    )
    listing.add_argument("--limit", type=positive_number, default=100, help="how many at most (default: 100)")
    _add_database(listing)
    listing.set_defaults(func=_list)

    show = parser.add_parser(
        "show",
        help="one message: why it was refused, and what it says it is",
        description="Shows one message: why it was refused, whose record it says it is, and with which key. Nothing of "
        "that is proven. Exit code 2 when there is no such message.",
    )
    show.add_argument("id", metavar="NUMBER", type=positive_number, help="as 'list' shows it")
    show.add_argument("--out", metavar="FILE", type=Path, help="write the bytes as they came to FILE")
    _add_database(show)
    show.set_defaults(func=_show)

    again = parser.add_parser(
        "readmit",
        help="offer messages to admission again",
        description="Offers messages to admission again, for instance after 'shopfloor ingest trust': what is "
        "authentic now is stored and leaves the quarantine, the rest stays. Exit code 1 when something is still "
        "refused.",
    )
    again.add_argument("ids", metavar="NUMBER", type=positive_number, nargs="*", help="as 'list' shows them")
    again.add_argument("--all", action="store_true", help="all messages, or all with this reason or of this gateway")
    again.add_argument(
        "--reason", metavar="REASON", help="with --all: refused for this reason, such as unknown-gateway"
    )
    again.add_argument("--gateway", metavar="GATEWAY", help="with --all: that came on the topic of this gateway")
    _add_database(again)
    again.set_defaults(func=_readmit)


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list(options: argparse.Namespace) -> int:
    from store.quarantine import list_quarantine

    with connected(options) as conn:
        refused = [_without_bytes(one) for one in list_quarantine(conn, options.limit)]
    lines = [
        f"{one['id']:>6}  {clock_text(one['received_ms'])}  {one['reason']:<20}  {one['topic']}  {one['detail']}"
        for one in refused
    ]
    print_report(options, {"quarantine": refused}, lines or ["nothing is in quarantine"])
    return 0


def _show(options: argparse.Namespace) -> int:
    from ingest.errors import QuarantineError
    from store.quarantine import find_quarantined

    with connected(options) as conn:
        found = find_quarantined(conn, ids=[options.id])
    if not found:
        raise QuarantineError(f"no message {options.id} is in quarantine: 'shopfloor ingest quarantine list' shows all")
    one = found[0]
    report = {**_without_bytes(one), "sha256": hashlib.sha256(one.data).hexdigest(), **_claims(one.data)}
    if options.out is not None:
        try:
            options.out.write_bytes(one.data)
        except OSError as error:
            raise QuarantineError(f"{options.out}: cannot be written: {error.strerror}") from error
        report["file"] = str(options.out)
    shown = {**report, "received_ms": clock_text(one.received_ms)}
    shown["received"] = shown.pop("received_ms")
    print_report(options, report, [f"{name}: {value}" for name, value in shown.items()])
    return 0


def _readmit(options: argparse.Namespace) -> int:
    from ingest.errors import QuarantineError
    from ingest.readmission import readmit
    from store.database import connect, pool
    from store.migrations import migrate
    from wire.topics import record_topic

    if bool(options.ids) == options.all or (options.ids and (options.reason or options.gateway)):
        raise QuarantineError("name messages by their numbers, or give --all (with --reason, --gateway to narrow it)")
    topic = None if options.gateway is None else record_topic(options.gateway)
    with database_url(options) as url:
        with connect(url) as conn:
            migrate(conn)
        with pool(url, 2) as connections:
            result = readmit(connections, ids=options.ids or None, reason=options.reason, topic=topic)
    report = {
        "offered": result.offered,
        "admitted": dict(sorted(result.admitted.items())),
        "stored": result.tally.stored,
        "refused": dict(sorted(result.refused.items())),
        "heads": result.heads,
    }
    lines = [f"offered: {result.offered}", f"stored: {result.tally.stored}", f"refused: {result.refused.total()}"]
    lines += [f"  {reason}: {count}" for reason, count in sorted(result.refused.items())]
    lines += [f"{gateway}: complete up to record {seq}" for gateway, seq in sorted(result.heads.items())]
    print_report(options, report, lines)
    return 1 if result.refused else 0


def _claims(data: bytes) -> dict[str, Any]:
    """Return what the bytes say they are; nothing of it is verified."""
    from wire.errors import RecordError
    from wire.record import open_record

    try:
        record = open_record(data, None)
    except RecordError as error:
        return {"record": f"none that can be read: {error}"}
    payload = record.payload
    return {
        "record": f"{payload.kind.subject} {payload.seq} of gateway {payload.gateway}, {clock_text(payload.time_ms)}",
        "key_id": record.key_id.hex(),
    }


def _without_bytes(one: Quarantined) -> dict[str, Any]:
    row = asdict(one)
    data = row.pop("data")
    return {**row, "bytes": len(data)}
