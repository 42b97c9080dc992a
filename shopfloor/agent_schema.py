"""``shopfloor agent schema``: the JSON Schema of a device model or a gateway file, for editors."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add ``schema`` to the commands of ``shopfloor agent``."""
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of device models or gateway files, for editors",
        description="Editors complete, explain and check a YAML file whose first line is "
        "'# yaml-language-server: $schema=FILE', FILE being what this command prints. Both schemas are kept in "
        "gateway_configs/schema/.",
    )
    schema.add_argument("kind", choices=("device", "gateway"), help="a device model, or a gateway file")
    schema.set_defaults(func=_schema)


def _schema(options: argparse.Namespace) -> int:
    from agent.json_schema import json_schema_text

    print(json_schema_text(options.kind), end="")
    return 0
