"""``shopfloor ingest timescale``: what the community edition of TimescaleDB does, where the server has it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database
from shopfloor.reporting import connected, print_report

if TYPE_CHECKING:
    from store.timescale import ServerOffer, ServerPolicies

SHORTEST_DAYS = 30
"""Younger intervals are still computed again, because of records that come late."""

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"


def add_parser(commands: Any) -> None:
    """Add ``timescale`` with its commands to the commands of ``shopfloor ingest``."""
    parser = commands.add_parser(
        "timescale",
        help="compression and retention by the database server: show, apply",
        description="The community edition of TimescaleDB compresses old intervals, and its scheduler asks for the "
        "removal of old records. Other servers (the Apache-licensed edition, plain PostgreSQL) do neither.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = parser.add_parser(
        "show",
        help="what the server offers and does",
        description="Shows the edition, what its scheduler does for us, and what compression has saved. Exit code 1 "
        "when the last run of one of its jobs failed.",
    )
    _add_database(show)
    show.set_defaults(func=_show)

    apply = parser.add_parser(
        "apply",
        help="have it compress intervals, or ask for retention",
        description="Has the server compress chunks of intervals older than N days, and ask every night for what "
        "'shopfloor ingest retention apply' does, which spares whatever a registered plan rests on; a running "
        "ingestion does it. Records are not compressed: they are already, one by one. Exit code 3 when the server does "
        "not offer it.",
    )
    compression = apply.add_mutually_exclusive_group()
    compression.add_argument(
        "--compress-after-days", metavar="N", type=positive_number, help=f"how old: {SHORTEST_DAYS} or more"
    )
    compression.add_argument("--no-compression", action="store_true", help="compress nothing more")
    retention = apply.add_mutually_exclusive_group()
    retention.add_argument(
        "--keep-days", metavar="N", type=positive_number, help="how long records are kept: 30 or more"
    )
    retention.add_argument("--no-retention", action="store_true", help="ask for no more removals")
    _add_database(apply)
    apply.set_defaults(func=_apply)


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _show(options: argparse.Namespace) -> int:
    from store.timescale import read_policies, server_offer

    with connected(options) as conn:
        offer = server_offer(conn)
        policies = None if offer.version is None else read_policies(conn)
    return _report(options, offer, policies)


def _apply(options: argparse.Namespace) -> int:
    from ingest.retention import check_keep_days
    from shopfloor.errors import PolicyError
    from store import timescale

    compress, keep = options.compress_after_days, options.keep_days
    if not (compress or keep or options.no_compression or options.no_retention):
        raise PolicyError(
            "nothing is asked for: add --compress-after-days, --no-compression, --keep-days or --no-retention"
        )
    if compress is not None and compress < SHORTEST_DAYS:
        raise PolicyError(f"{compress} days are too few: compress intervals that are at least {SHORTEST_DAYS} days old")
    if keep is not None:
        check_keep_days(keep)
    with connected(options) as conn:
        timescale.require_community(conn)
        if compress is not None or options.no_compression:
            timescale.unschedule_compression(conn)
        if compress is not None:
            timescale.enable_compression(conn)
            timescale.schedule_compression(conn, compress)
        if keep is not None or options.no_retention:
            timescale.unschedule_retention(conn)
        if keep is not None:
            timescale.schedule_retention(conn, keep)
        offer, policies = timescale.server_offer(conn), timescale.read_policies(conn)
    return _report(options, offer, policies)


def _report(options: argparse.Namespace, offer: ServerOffer, policies: ServerPolicies | None) -> int:
    report = {**asdict(offer), "community": offer.community, "policies": None if policies is None else asdict(policies)}
    print_report(options, report, _lines(offer, policies))
    return 1 if policies is not None and policies.failing else 0


def _lines(offer: ServerOffer, policies: ServerPolicies | None) -> list[str]:
    edition = "compression and jobs are there" if offer.community else "without compression and jobs"
    lines = [f"{offer.text}: {edition}"]
    if policies is None or not offer.community:
        return lines
    after, keep = policies.compress_after_days, policies.keep_days
    lines.append("intervals are not compressed" if after is None else f"intervals are compressed after {after} days")
    if policies.compressed:
        lines.append(
            f"  {policies.compressed} of {policies.chunks} chunks: {policies.before_bytes} bytes became "
            f"{policies.after_bytes}"
        )
    lines.append(
        "the server asks for no retention"
        if keep is None
        else f"records older than {keep} days go every night, except what plans rest on"
    )
    return lines + [f"the last run of the job {name} failed: see the log of the server" for name in policies.failing]
