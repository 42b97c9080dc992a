"""``shopfloor agent commission``: the signed record that a gateway's devices were read, checked and found right."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.agent_read import add_seconds, good, print_results, read_and_check

if TYPE_CHECKING:
    from agent.commission_record import Commissioned


def add_parser(commands: Any) -> None:
    """Add ``commission`` to the commands of ``shopfloor agent``."""
    commission = commands.add_parser(
        "commission",
        help="read and check the devices, and sign the result into the chain",
        description="Does what `read` does. When nothing fails, the descriptor and an event for each device (who "
        "commissioned it, which checks passed, failed or could not be made, the hash of the whole report) are appended "
        "to the gateway's chain: on a new gateway they are its first records. The report stays in the data directory. "
        "The key must exist (shopfloor agent key), and no agent may be running on the same data directory. Exit code 1 "
        "when nothing was signed.",
    )
    commission.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    commission.add_argument("--operator", required=True, type=_name, metavar="NAME", help="who answers for it; signed")
    commission.add_argument("--accept", type=_name, metavar="REASON", help="sign although checks fail, and why; signed")
    add_seconds(commission)
    commission.add_argument("--json", action="store_true", help="print JSON")
    commission.set_defaults(func=_commission)


def _commission(options: argparse.Namespace) -> int:
    from agent.commission_record import Commissioning, report
    from agent.config import load_config

    config = load_config(options.config)
    with Commissioning(config) as commissioning:
        results = read_and_check(config, None, options.seconds)
        wanted = options.accept is not None or good(results)
        signed = commissioning.sign(results, options.operator, options.accept or "") if wanted else None
    if options.json:
        print(json.dumps(report(config, results) | {"signed": _signed(signed)}, ensure_ascii=False, indent=2))
    else:
        print_results(results)
        if signed is None:
            print("not signed, because checks fail; put it right, or give --accept REASON")
        else:
            print(
                f"signed as records {signed.first_seq} to {signed.last_seq} of {config.gateway}\n"
                f"report {signed.report}, SHA-256 {signed.digest.hex()}"
            )
    return 0 if wanted else 1


def _signed(signed: Commissioned | None) -> dict[str, Any] | None:
    if signed is None:
        return None
    records = {"first_seq": signed.first_seq, "last_seq": signed.last_seq}
    return records | {"report": str(signed.report), "sha256": signed.digest.hex()}


def _name(text: str) -> str:
    from wire.limits import MAXIMUM_TEXT_BYTES

    if not text.strip() or len(text.encode()) > MAXIMUM_TEXT_BYTES:
        raise argparse.ArgumentTypeError(f"must be a text of 1 to {MAXIMUM_TEXT_BYTES} bytes")
    return text.strip()
