"""``shopfloor ingest token``: tokens with which programs read the API and the pages."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database
from shopfloor.reporting import clock_text, connected, print_report

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"
_DAY_MS = 86_400_000
_SCOPES = "gateways, series, samples, intervals, incidents, quarantine, records, projects, status"


def add_parser(commands: Any) -> None:
    """Add ``token`` with its commands to the commands of ``shopfloor ingest``."""
    parser = commands.add_parser(
        "token",
        help="tokens with which programs read: create, list, revoke",
        description="Tokens for programs that read (header 'Authorization: Bearer TOKEN'). Of a token only its SHA-256 "
        "is kept.",
    ).add_subparsers(title="commands", metavar="COMMAND", required=True)

    create = parser.add_parser(
        "create",
        help="make a token; it is shown once",
        description="Makes a token and prints it, alone on standard output; it cannot be shown again. Give it no more "
        "scopes and gateways than its program needs.",
    )
    create.add_argument("name", metavar="NAME", help="what uses it, such as 'energy report'")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        metavar="SCOPE",
        help=f"what it may read, such as read:samples; may be repeated. There are: {_SCOPES}",
    )
    create.add_argument("--gateway", action="append", metavar="GATEWAY", help="of this gateway only; may be repeated")
    create.add_argument(
        "--days", type=positive_number, metavar="N", help="how long it is valid (default: until revoked)"
    )
    _add_database(create)
    create.set_defaults(func=_create)

    listing = parser.add_parser(
        "list",
        help="all tokens, the newest first",
        description="Lists all tokens, revoked ones too, the newest first: scopes, gateways, when each was last used.",
    )
    _add_database(listing)
    listing.set_defaults(func=_list)

    revoke = parser.add_parser(
        "revoke",
        help="make a token worthless at once",
        description="Makes the token of this name worthless at once. Exit code 1 when no valid token has the name.",
    )
    revoke.add_argument("name", metavar="NAME", help="as given to 'create'")
    _add_database(revoke)
    revoke.set_defaults(func=_revoke)


def _add_database(parser: argparse.ArgumentParser) -> None:
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _create(options: argparse.Namespace) -> int:
    from shopfloor.errors import AccessError
    from store.readers import Scope
    from store.tokens import create_token
    from wire.document import suggestion
    from wire.topics import record_topic

    known = [scope.value for scope in Scope]
    for scope in options.scope:
        if scope not in known:
            raise AccessError(f"there is no scope '{scope}'{suggestion(scope, known)}")
    for gateway in options.gateway or ():
        record_topic(gateway)
    now_ms = _now_ms()
    expires_ms = None if options.days is None else now_ms + options.days * _DAY_MS
    with connected(options) as conn:
        text = create_token(
            conn, options.name, options.scope, options.gateway, created_ms=now_ms, expires_ms=expires_ms
        )
    report = {"token": text, "name": options.name, "scopes": sorted(options.scope), "gateways": options.gateway}
    print_report(options, report | {"expires_ms": expires_ms}, [text])
    return 0


def _list(options: argparse.Namespace) -> int:
    from store.tokens import tokens

    now_ms = _now_ms()
    with connected(options) as conn:
        found = [asdict(token) | {"valid": token.valid(now_ms)} for token in tokens(conn)]
    lines = [
        f"{one['name']}: {'valid' if one['valid'] else 'worthless'}, {' '.join(one['scopes'])}, "
        f"{'all gateways' if one['gateways'] is None else ' '.join(one['gateways'])}, "
        f"made {clock_text(one['created_ms'])}, used {clock_text(one['used_ms'])}, "
        f"{_end(one['expires_ms'], one['revoked_ms'])}"
        for one in found
    ]
    print_report(options, {"tokens": found}, lines or ["there are no tokens"])
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from store.tokens import revoke_token

    with connected(options) as conn:
        revoked = revoke_token(conn, options.name, _now_ms())
    said = f"the token '{options.name}' is worthless now" if revoked else f"no valid token is named '{options.name}'"
    print_report(options, {"name": options.name, "revoked": revoked}, [said])
    return 0 if revoked else 1


def _end(expires_ms: int | None, revoked_ms: int | None) -> str:
    if revoked_ms is not None:
        return f"revoked {clock_text(revoked_ms)}"
    return "does not expire" if expires_ms is None else f"expires {clock_text(expires_ms)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
