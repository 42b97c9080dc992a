"""The ``shopfloor`` command: finds its subcommands, and turns exceptions into messages and exit codes.

Each subcommand is one module of this package with ``add_parser(subparsers)``; what it needs it imports when it runs, so
that ``shopfloor agent`` works on a gateway that has no server packages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from shopfloor import agent, dashboards, demo, evidence, ingest
from wire.errors import ShopfloorError

SUBCOMMANDS = (agent, ingest, evidence, dashboards, demo)

_DESCRIPTION = "Signed shop-floor records, and the before/after evidence computed from them."
_EPILOG = """\
exit codes:
  0  done
  1  what was checked is not so (not proven, device unreachable, ...)
  2  the input is wrong: arguments, configuration, plan, table
  3  the surroundings fail: database, broker, missing package
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="shopfloor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shopfloor-evidence {version('shopfloor-evidence')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's mistake ends in a message, never in a stack trace."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.func(options)
    except ShopfloorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = "agent" if error.name in ("pymodbus", "paho") else "server"
        print(
            f"error: the package '{error.name}' is not installed; "
            f"install it with: pip install 'shopfloor-evidence[{extra}]'",
            file=sys.stderr,
        )
        return 3
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return code


if __name__ == "__main__":
    sys.exit(main())
