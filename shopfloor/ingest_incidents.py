"""``shopfloor ingest incidents``: what was admitted but odd, and what people decided about it."""

from __future__ import annotations

import argparse
import getpass
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database
from shopfloor.reporting import clock_text, connected, print_report

if TYPE_CHECKING:
    from store.incident_decisions import IncidentDecision
    from store.incidents import Incident

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"
_STATES = {"open": False, "closed": True, "all": None}


def add_parser(commands: Any) -> None:
    """Add ``incidents`` with its commands to the commands of ``shopfloor ingest``."""
    parser = commands.add_parser(
        "incidents",
        help="what was admitted but odd: list, close, reopen",
        description="Forks, holes, declared gaps and the like; the records are stored and acknowledged. An incident is "
        "open until somebody closes it and says why; none is ever deleted.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = parser.add_parser(
        "list",
        help="the newest incidents",
        description="Lists the newest incidents, newest first, with their numbers and what was decided about them.",
    )
    listing.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
    listing.add_argument("--kind", metavar="KIND", help="of this kind only, such as fork, out-of-window or flood")
    listing.add_argument("--state", choices=_STATES, default="all", help="open, closed or both (default: all)")
    listing.add_argument("--limit", type=positive_number, default=100, help="how many at most (default: 100)")
    _add_database(listing)
    listing.set_defaults(func=_list)

    close = parser.add_parser(
        "close",
        help="settle incidents, and say why",
        description="Closes incidents: indicators and figures count open ones only. Who closed which, when and why "
        "stays on record. One that is raised again is open again. Exit code 2 when there is no such incident.",
    )
    _add_decision(close)
    close.set_defaults(func=_close)

    reopen = parser.add_parser(
        "reopen",
        help="take a closing back, and say why",
        description="Opens closed incidents again; the closing stays on record. Exit code 2 when there is no such "
        "incident.",
    )
    _add_decision(reopen)
    reopen.set_defaults(func=_reopen)


def _add_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="NUMBER", type=positive_number, nargs="+", help="as 'list' shows them")
    parser.add_argument("--reason", metavar="TEXT", type=_said, required=True, help="why, for whoever asks later")
    parser.add_argument(
        "--by", metavar="PERSON", type=_said, default=getpass.getuser(), help="who decides (default: you)"
    )
    _add_database(parser)


def _said(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text.strip()


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list(options: argparse.Namespace) -> int:
    from store.incident_decisions import decisions_about
    from store.incidents import list_incidents

    with connected(options) as conn:
        found = list_incidents(conn, options.gateway, options.limit, kind=options.kind, closed=_STATES[options.state])
        decisions = decisions_about(conn, [one.id for one in found])
    report = [_as_json(one, decisions.get(one.id, [])) for one in found]
    lines = [line for one in found for line in _lines(one, decisions.get(one.id, []))]
    print_report(options, {"incidents": report}, lines or ["there are no incidents"])
    return 0


def _as_json(incident: Incident, decisions: list[IncidentDecision]) -> dict[str, Any]:
    """The incident; kept bytes by their number only: a listing is for reading."""
    row = asdict(incident)
    data = row.pop("data")
    return {
        **row,
        "bytes": None if data is None else len(data),
        "decisions": [
            {"closed": one.closed, "actor": one.actor, "reason": one.reason, "at_ms": one.at_ms} for one in decisions
        ],
    }


def _lines(incident: Incident, decisions: list[IncidentDecision]) -> list[str]:
    record = "-" if incident.seq is None else f"record {incident.seq}"
    state = "open" if incident.closed_ms is None else "closed"
    detail = json.dumps(incident.detail, ensure_ascii=False)
    head = f"{incident.id}  {clock_text(incident.at_ms)}  {incident.gateway}  {incident.kind:<20}  {state:<6}"
    return [
        f"{head}  {record}  {detail}",
        *(
            f"    {clock_text(one.at_ms)}  {'closed' if one.closed else 'opened again'} by {one.actor}: {one.reason}"
            for one in decisions
        ),
    ]


def _close(options: argparse.Namespace) -> int:
    from ingest.transaction import now_ms
    from store.incident_decisions import close_incidents

    with connected(options) as conn:
        changed = close_incidents(conn, options.ids, options.by, options.reason, now_ms())
    return _report(options, changed, "closed")


def _reopen(options: argparse.Namespace) -> int:
    from ingest.transaction import now_ms
    from store.incident_decisions import reopen_incidents

    with connected(options) as conn:
        changed = reopen_incidents(conn, options.ids, options.by, options.reason, now_ms())
    return _report(options, changed, "open")


def _report(options: argparse.Namespace, changed: list[int], state: str) -> int:
    before = sorted(set(options.ids) - set(changed))
    lines = [f"incident {one} is {state} now" for one in changed] + [
        f"incident {one} was {state} before" for one in before
    ]
    print_report(options, {"state": state, "changed": changed, "unchanged": before, "by": options.by}, lines)
    return 0
