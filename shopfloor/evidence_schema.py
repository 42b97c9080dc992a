"""``shopfloor evidence schema``: the JSON Schema of results and of plans."""

from __future__ import annotations

import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of results or plans",
        description="Prints a JSON Schema (2020-12) that says what every field of a result is: unit, time zone, sign "
        "and source; or what a plan may say, for editors: begin a plan with '# yaml-language-server: $schema=FILE'. "
        "Both are kept in evidence/schema/, and served by the dashboards at /schema/result.json and /schema/plan.json.",
    )
    parser.add_argument("kind", choices=("result", "plan"), nargs="?", default="result", help="default: result")
    parser.set_defaults(func=_schema)


def _schema(options: argparse.Namespace) -> int:
    from evidence.schema import schema_text

    print(schema_text(options.kind), end="")
    return 0
