"""``shopfloor agent key``: the key that a gateway signs with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add ``key`` to the commands of ``agent``."""
    key = commands.add_parser(
        "key",
        help="make the gateway's key if there is none, and print its public part",
        description="The private key never leaves the gateway. Register the public line at the server with: shopfloor "
        "ingest trust GATEWAY PUBLIC_KEY. Compare the fingerprint that both sides print.",
    )
    key.add_argument("config", type=Path, metavar="CONFIG", help="the gateway file (YAML)")
    key.add_argument("--json", action="store_true", help="print JSON")
    key.set_defaults(func=_key)


def _key(options: argparse.Namespace) -> int:
    from agent.config import load_config
    from agent.keyfile import ensure_key

    config = load_config(options.config)
    public = ensure_key(config.key_file).public
    if options.json:
        print(json.dumps({"gateway": config.gateway, "key": public.text, "fingerprint": public.fingerprint}))
    else:
        print(f"gateway:     {config.gateway}\npublic key:  {public.text}\nfingerprint: {public.fingerprint}")
    return 0
