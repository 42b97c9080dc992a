"""``shopfloor agent rotate-key``: have another key sign from now on, on record."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add ``rotate-key`` to the commands of ``shopfloor agent``."""
    rotate = commands.add_parser(
        "rotate-key",
        help="replace the key that signs the records",
        description="Makes a new key and appends a record, signed by the old one, that names it; the chain goes on, "
        "and the server takes what the new key signs from there on without being told. Stop the agent before, start it "
        "after. Do it while the uplink works: the server has to get that record. A key that was stolen is not "
        "replaced but revoked, at the server: shopfloor ingest revoke.",
    )
    rotate.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    rotate.add_argument("--json", action="store_true", help="print JSON")
    rotate.set_defaults(func=_rotate)


def _rotate(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.key_rotation import rotate_key

    config = load_config(options.config)
    old, new, seq = rotate_key(config)
    if options.json:
        print(json.dumps({"gateway": config.gateway, "record": seq, "before": old.text, "after": new.text}))
    else:
        print(f"record {seq} of {config.gateway}: key {old.fingerprint} is followed by\n{new.text}\n{new.fingerprint}")
    return 0
