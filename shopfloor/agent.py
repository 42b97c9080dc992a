"""``shopfloor agent``: everything that is done on a gateway; one module a command.

A command's module is imported when it is asked for: what runs for months on a gateway with little memory carries
nothing of the commands that are typed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

COMMANDS = (
    "check",
    "run",
    "init",
    "scan",
    "browse",
    "read",
    "enrol",
    "commission",
    "status",
    "rotate-key",
    "replace-meter",
    "export",
    "pack",
    "schema",
    "key",
)


def add_parser(subparsers: Any, asked: Sequence[str] = ()) -> None:
    """Add ``agent`` to the command line, with the commands that are ``asked`` for, or with all."""
    parser = subparsers.add_parser(
        "agent",
        help="the edge agent on a gateway",
        description="The edge agent: set a gateway up, check it, run it, ask how it is.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [one for one in asked if one in COMMANDS] or COMMANDS:
        import_module(f"shopfloor.agent_{name.replace('-', '_')}").add_parser(commands)
