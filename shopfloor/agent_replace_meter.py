"""``shopfloor agent replace-meter``: sign both readings when a meter is exchanged."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from agent.meter_replacement import CounterReadings


def add_parser(commands: Any) -> None:
    """Add ``replace-meter`` to the commands of ``shopfloor agent``."""
    replace = commands.add_parser(
        "replace-meter",
        help="sign the readings of both meters when one is exchanged",
        description="Appends records, signed by the gateway, that say what the counters of the old meter showed at the "
        "end and those of the new one at the beginning, so that energy goes on across the exchange; a counter without "
        "readings has a gap there. Stop the agent, exchange the meter, put its serial number into the gateway file, "
        "run this within the hour, start the agent. Exits with 2 when the readings cannot be of this device.",
    )
    replace.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    replace.add_argument("device", metavar="DEVICE", help="id of the device in the gateway file")
    replace.add_argument(
        "--reading",
        metavar="SERIES=FINAL:FIRST",
        action="append",
        required=True,
        help="old meter's last and new meter's first reading of a counter, in the unit of the series: "
        "active_energy_import=48211.6:0.2; may be given several times",
    )
    replace.add_argument("--operator", metavar="NAME", required=True, help="who read both meters")
    replace.add_argument("--at", metavar="TIME", help="when the new meter began to count, local: 2026-03-02T10:25")
    replace.add_argument("--json", action="store_true", help="print JSON")
    replace.set_defaults(func=_replace)


def _replace(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.meter_replacement import record_replacement

    config = load_config(options.config)
    readings = [_readings(text) for text in options.reading]
    at_ms = None if options.at is None else _moment_ms(options.at, ZoneInfo(config.timezone))
    done = record_replacement(config, options.device, readings, options.operator, at_ms=at_ms)
    if options.json:
        print(
            json.dumps(
                {
                    "gateway": config.gateway,
                    "device": options.device,
                    "records": [done.first_seq, done.last_seq],
                    "without_readings": list(done.without_readings),
                }
            )
        )
        return 0
    print(
        f"records {done.first_seq} to {done.last_seq} of {config.gateway}: the meter of {options.device} is exchanged"
    )
    for name in done.without_readings:
        print(f"{name}: no readings, so that there will be a gap")
    return 0


def _readings(text: str) -> CounterReadings:
    from agent.errors import ConfigurationError
    from agent.meter_replacement import CounterReadings

    series, equals, values = text.partition("=")
    final, colon, first = values.partition(":")
    try:
        if not (equals and colon):
            raise ValueError
        return CounterReadings(series.strip(), float(final), float(first))
    except ValueError as error:
        raise ConfigurationError(
            f"--reading {text}: write SERIES=FINAL:FIRST, as active_energy_import=48211.6:0.2"
        ) from error


def _moment_ms(text: str, zone: ZoneInfo) -> int:
    from agent.errors import ConfigurationError

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--at {text}: is no date and time; write 2026-03-02T10:25") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000)
