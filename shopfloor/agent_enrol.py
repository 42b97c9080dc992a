"""``shopfloor agent enrol``: have a server let this gateway in."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.config import GatewayConfig
    from agent.enrolment import Standing

_POLL_SECONDS = 3.0


def add_parser(commands: Any) -> None:
    """Add ``enrol`` to the commands of ``shopfloor agent``."""
    enrol = commands.add_parser(
        "enrol",
        help="have a server let this gateway in, with the one-time code that it made",
        description="Makes the gateway's keys where they are missing, proves to the server that it has them, and shows "
        "a short fingerprint. Somebody at the server compares it and approves; until then this command waits (Ctrl-C "
        "is harmless, give the same command again). Then it writes the uplink into CONFIG: a running agent begins to "
        "send at once. The certificate is renewed by the agent itself. Exit code 1 when the server says no, or has not "
        "decided yet with --no-wait.",
    )
    enrol.add_argument("code", metavar="CODE", help="as printed by: shopfloor ingest enrol-code GATEWAY")
    enrol.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    enrol.add_argument(
        "--server", metavar="URL", required=True, help="where the server lets gateways in: https://NAME:PORT"
    )
    enrol.add_argument("--uplink", metavar="ID", default="server", help="id of the uplink to write (default: server)")
    enrol.add_argument("--no-wait", action="store_true", help="ask once, and do not wait for the decision")
    enrol.add_argument("--json", action="store_true", help="print JSON")
    enrol.set_defaults(func=_enrol)


def _enrol(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.enrolment import APPROVED, PENDING, ask, begin, files_of, uplink_config
    from agent.uplink_file import add_uplink
    from wire.enrolment import EnrolmentCode

    code = EnrolmentCode.from_text(options.code)
    config = load_config(options.config)
    standing = begin(config, code, options.server.rstrip("/"), options.uplink)
    if not options.json:
        print(f"gateway {config.gateway}, fingerprint of its keys:\n\n    {standing.fingerprint}\n")
        print("Tell the operator of the server; he compares it and approves:")
        print(f"    shopfloor ingest approve NUMBER {standing.fingerprint}", flush=True)
    standing = ask(config, options.uplink)
    if standing.state == PENDING and not options.no_wait:
        standing = _wait(config, options.uplink)
    changed = False
    if standing.state == APPROVED:
        changed = add_uplink(options.config, uplink_config(files_of(config.data_directory, options.uplink), standing))
    _report(options, standing, changed=changed)
    return 0 if standing.state == APPROVED else 1


def _wait(config: GatewayConfig, uplink: str) -> Standing:
    from agent.enrolment import PENDING, ask
    from agent.errors import UnreachableServerError

    print("waiting for the decision ...", file=sys.stderr, flush=True)
    while True:
        time.sleep(_POLL_SECONDS)
        try:
            standing = ask(config, uplink)
        except UnreachableServerError as error:
            print(f"{error}; asking again", file=sys.stderr, flush=True)
            continue
        if standing.state != PENDING:
            return standing


def _report(options: argparse.Namespace, standing: Standing, *, changed: bool) -> None:
    from agent.enrolment import APPROVED, PENDING

    if options.json:
        names = ("gateway", "uplink", "server", "state", "fingerprint", "broker", "expires_ms")
        print(json.dumps({name: getattr(standing, name) for name in names} | {"config_changed": changed}))
    elif standing.state == APPROVED:
        has = "now has" if changed else "has"
        print(f"enrolled: {options.config} {has} uplink '{standing.uplink}' to {standing.broker}")
    elif standing.state == PENDING:
        print("not decided yet; give the same command again later")
    else:
        print("the server has turned this gateway down; have a new code made if that was a mistake")
