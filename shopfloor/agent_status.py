"""``shopfloor agent status``: how the running agent is, asked from a second process."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add ``status`` to the commands of ``shopfloor agent``."""
    status = commands.add_parser(
        "status",
        help="ask the running agent how it is",
        description="Shows devices, lag, spool, acknowledged records, clock and the last errors of the agent that runs "
        "with CONFIG on this machine. Exit code 1 when something is wrong, or when no agent runs.",
    )
    status.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(func=_status)


def _status(options: argparse.Namespace) -> int:
    from agent.health import OK
    from agent.status import ask, data_directory_of

    directory = data_directory_of(options.config)
    document = ask(directory) | {"enrolments": _enrolments(directory)}
    if options.json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _print(document)
    return 0 if document["state"] == OK else 1


def _print(document: dict[str, Any]) -> None:
    print(f"gateway {document['gateway']}: {document['state']}, {document['version']}")
    for problem in document["problems"]:
        print(f"  {problem}")
    width = max((len(device["id"]) for device in document["device_list"]), default=0)
    print("devices")
    for device in document["device_list"]:
        lag = "never read" if device["lag_ms"] is None else f"read {_duration(device['lag_ms'])} ago"
        fault = f"; last fault: {device['last_fault']}" if device["last_fault"] is not None else ""
        print(f"  {device['id']:{width}}  {device['state']:8} {lag}, every {_duration(device['interval_ms'])}{fault}")
        for refused in device["unsupported"]:
            print(f"  {'':{width}}  refuses {refused}")
    spool, clock = document["spool"], document["clock"]
    print(f"records  made {document['last_seq']}, acknowledged {document['acknowledged_seq']}")
    print(f"spool    {spool['bytes'] / 1e6:.1f} of {spool['budget'] / 1e6:.0f} MB, {spool['unsent_records']} unsent")
    if (lane := document["sparkplug"]) is not None:
        print(f"scada    {lane['state']}{'' if lane['fault'] is None else ': ' + lane['fault']}")
    known = {True: "synchronised", False: "not synchronised", None: "unknown whether synchronised"}
    error = "" if clock["error_us"] is None else f", within {clock['error_us'] / 1e3:.1f} ms"
    drift = "" if clock["drift_ppm"] is None else f", gains {clock['drift_ppm']:g} ppm on its oscillator"
    print(f"clock    {known[clock['synchronised']]}{error}{drift}")
    for enrolment in document["enrolments"]:
        print(f"uplink {enrolment['uplink']}: {enrolment['text']}")
    process = document["process"]
    memory = "" if process["resident_bytes"] is None else f", {process['resident_bytes'] / 2**20:.0f} MiB"
    print(f"process  {process['pid']}{memory}")
    if document["errors"]:
        print("last errors")
        for error in document["errors"]:
            when = datetime.fromtimestamp(error["time_ms"] / 1000, UTC).isoformat(timespec="seconds")
            times = f" ({error['times']} times)" if error["times"] > 1 else ""
            print(f"  {when}  {error['text']}{times}")


def _duration(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g} s" if milliseconds < 120_000 else f"{milliseconds / 60_000:.0f} min"


def _enrolments(data_directory: Path) -> list[dict[str, Any]]:
    """Return how far each uplink is enrolled, with a sentence for people."""
    from agent.enrolment import APPROVED, standings

    found = []
    for one in standings(data_directory):
        text = f"{one.state} at {one.server}, fingerprint {one.fingerprint}"
        if one.state == APPROVED:
            until = datetime.fromtimestamp(one.expires_ms / 1000, UTC).date().isoformat()
            text = f"enrolled at {one.server}, certificate until {until}"
        found.append({"uplink": one.uplink, "state": one.state, "expires_ms": one.expires_ms, "text": text})
    return found
