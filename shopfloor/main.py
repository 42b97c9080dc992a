"""The ``shopfloor`` command: finds its subcommands, and turns exceptions into messages and exit codes.

Each subcommand is one module of this package with ``add_parser(subparsers)``, imported when it is asked for; what it
needs it imports when it runs. So ``shopfloor agent`` works on a gateway that has no server packages, and little memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from shopfloor import agent
from wire.errors import ShopfloorError

SUBCOMMANDS = (
    "agent",
    "ingest",
    "evidence",
    "dashboards",
    "demo",
    "rebuild",
    "backup",
    "restore",
    "serve",
    "read",
    "users",
)

_DESCRIPTION = "Signed shop-floor records, and the before/after evidence computed from them."
_EPILOG = """\
exit codes:
  0  done
  1  what was checked is not so (not proven, device unreachable, ...)
  2  the input is wrong: arguments, configuration, plan, table
  3  the surroundings fail: database, broker, missing package
"""


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of what its first ``words`` ask for."""
    parser = argparse.ArgumentParser(
        prog="shopfloor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"shopfloor-evidence {version('shopfloor-evidence')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in [word for word in words[:1] if word in SUBCOMMANDS] or SUBCOMMANDS:
        if name == "agent":
            agent.add_parser(subparsers, words[1:2])
        else:
            import_module(f"shopfloor.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's mistake ends in a message, never in a stack trace."""
    words = sys.argv[1:] if arguments is None else arguments
    options = build_parser(words).parse_args(words)
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
