"""``shopfloor agent export``: the records of a period in a file, for gateways without an uplink."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add ``export`` to the commands of ``shopfloor agent``."""
    export = commands.add_parser(
        "export",
        help="write the records of a period to a file",
        description="Writes the signed records of the period to a new file, for a server that this gateway does not "
        "reach: there, shopfloor ingest import takes it. Works beside a running agent and changes nothing. Times "
        "without a zone are local to the gateway (timezone in CONFIG); without --from or --to the period is open.",
    )
    export.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    export.add_argument("--from", dest="start", metavar="TIME", help="2025-10-01 or 2025-10-01T08:00, included")
    export.add_argument("--to", dest="end", metavar="TIME", help="as --from, not included")
    export.add_argument("--output", type=Path, metavar="FILE", required=True, help="a new file, best named *.records")
    export.add_argument("--json", action="store_true", help="print JSON")
    export.set_defaults(func=_export)


def _export(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.export import export_records

    config = load_config(options.config)
    start, end = (_instant_ms(text, config.timezone) for text in (options.start, options.end))
    exported = export_records(config.data_directory, options.output, start, end)
    if options.json:
        print(json.dumps(asdict(exported) | {"file": str(options.output)}))
    else:
        print(
            f"{options.output}: {exported.records} records ({exported.first_seq} to {exported.last_seq}), "
            f"{exported.bytes} bytes"
        )
        if exported.damaged:
            print(f"left out because they are damaged: {exported.damaged}")
    return 1 if exported.damaged else 0


def _instant_ms(text: str | None, timezone: str) -> int | None:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from agent.errors import ExportError

    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ExportError(f"'{text}' is not a time; write 2025-10-01 or 2025-10-01T08:00") from error
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=ZoneInfo(timezone))
    return round(instant.timestamp() * 1000)
