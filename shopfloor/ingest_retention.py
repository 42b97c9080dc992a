"""``shopfloor ingest retention``: which records may go when their time is over, and their removal."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database, database_url
from shopfloor.reporting import clock_text, connected, print_report

if TYPE_CHECKING:
    from ingest.retention import RetentionPlan

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"
_WHAT = (
    "Removed are records of samples and heads whose newest sample is older; never descriptors and events, never what a "
    "registered evidence plan rests on (its gateways, from two days before the baseline to two days after the "
    "reporting period), never the newest two days of a gateway. Intervals stay."
)


def add_parser(commands: Any) -> None:
    """Add ``retention`` with its commands to the commands of ``shopfloor ingest``."""
    parser = commands.add_parser(
        "retention",
        help="remove records whose time is over: plan, apply, log",
        description=f"Removes records whose time is over. {_WHAT}",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)

    plan = parser.add_parser(
        "plan", help="what would go; nothing is changed", description=f"Shows what would go. {_WHAT}"
    )
    _add_days(plan)
    plan.set_defaults(func=_plan)

    apply = parser.add_parser(
        "apply",
        help="remove it, on account",
        description=f"Removes it, a few thousand records at a time, while ingestion goes on. {_WHAT} What went is on "
        "account (see 'log') with the hashes that tie the chains together over it.",
    )
    _add_days(apply)
    apply.add_argument("--dry-run", action="store_true", help="as 'plan': show what would go and change nothing")
    apply.set_defaults(func=_apply)

    log = parser.add_parser(
        "log", help="what has gone", description="Lists what was removed, by gateway and record number."
    )
    log.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
    _add_database(log)
    log.set_defaults(func=_log)


def _add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-days", metavar="N", type=positive_number, required=True, help="how long records are kept: 30 or more"
    )
    _add_database(parser)


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _plan(options: argparse.Namespace) -> int:
    from ingest.retention import plan_retention
    from ingest.transaction import now_ms

    with connected(options) as conn:
        _print_plan(options, plan_retention(conn, options.keep_days, now_ms()), "would go")
    return 0


def _apply(options: argparse.Namespace) -> int:
    from ingest.retention import apply_retention
    from ingest.transaction import now_ms
    from shopfloor.progress import Progress
    from store.database import connect, pool
    from store.migrations import migrate

    if options.dry_run:
        return _plan(options)
    with database_url(options) as url:
        with connect(url) as conn:
            migrate(conn)
        with pool(url, 2) as connections, Progress("retention") as progress:
            plan = apply_retention(connections, options.keep_days, now_ms(), progress.show)
    _print_plan(options, plan, "removed")
    return 0


def _print_plan(options: argparse.Namespace, plan: RetentionPlan, verb: str) -> None:
    report = {
        "before_ms": plan.before_ms,
        "policy": plan.policy,
        "gateways": {
            one.what.gateway: {**asdict(one.removal), "projects": list(one.projects), "waits": one.waits}
            for one in plan.gateways
        },
    }
    lines = [f"records without a sample since {clock_text(plan.before_ms)} ({plan.policy}):"]
    for one in plan.gateways:
        gone, kept = one.removal, ""
        if one.projects:
            kept = f"; kept for {', '.join(one.projects)}: what their plans rest on"
        if one.waits:
            kept += "; nothing goes before the intervals of its days are made"
        lines.append(
            f"  {one.what.gateway}: {gone.records} records, {gone.samples} samples, {gone.bytes} bytes {verb}{kept}"
        )
    print_report(options, report, lines)


def _log(options: argparse.Namespace) -> int:
    from store.retention import removed_runs

    with connected(options) as conn:
        runs = removed_runs(conn, options.gateway)
    report = [{**asdict(run), "before": run.before.hex(), "hash": run.hash.hex()} for run in runs]
    lines = [
        f"{clock_text(run.removed_ms)}  {run.gateway}  records {run.first_seq} to {run.last_seq} "
        f"({clock_text(run.first_sample_ms)} to {clock_text(run.last_sample_ms)}): {run.samples} samples, "
        f"{run.bytes} bytes; {run.policy}; last hash {run.hash.hex()[:16]}"
        for run in runs
    ]
    print_report(options, {"removed": report}, lines or ["nothing was removed"])
    return 0
