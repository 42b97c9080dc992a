"""``shopfloor users``: the people who may log in to pages and API that others can reach."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add ``users`` with its commands to the command line."""
    parser = subparsers.add_parser(
        "users",
        help="who may log in to pages and API",
        description="Keeps the file that '--users FILE' of 'dashboards run' and 'ingest run' names: one line a user, "
        "with the hash of the password (Argon2id). Running servers read it again when it changes; a new password or a "
        "removal ends the sessions of that user.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    add = commands.add_parser(
        "add",
        help="add a user, or give one another password",
        description="Asks for the password twice; 12 characters at least. With --password-stdin it is the first line "
        "of standard input.",
    )
    add.add_argument("name", metavar="NAME", help="letters, digits and . _ @ -")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _add_file(add)
    add.set_defaults(func=_add)

    listing = commands.add_parser("list", help="all users by name", description="Lists all users by name.")
    _add_file(listing)
    listing.set_defaults(func=_list)

    remove = commands.add_parser(
        "remove", help="remove a user", description="Removes a user, which ends all sessions of that user."
    )
    remove.add_argument("name", metavar="NAME", help="as given to 'add'")
    _add_file(remove)
    remove.set_defaults(func=_remove)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", metavar="FILE", type=Path, required=True, help="the file of users, mode 0600")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add(options: argparse.Namespace) -> int:
    from shopfloor.access.users import put_user
    from shopfloor.errors import AccessError

    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"password of {options.name}: ")
        if getpass.getpass("once more: ") != password:
            raise AccessError("the two passwords differ; nothing was changed")
    new = put_user(options.users, options.name, password)
    said = f"{options.name} may log in" if new else f"{options.name} has another password; his sessions have ended"
    _print(options, {"name": options.name, "new": new}, said)
    return 0


def _list(options: argparse.Namespace) -> int:
    from shopfloor.access.users import read_users

    names = sorted(read_users(options.users))
    _print(options, {"users": names}, "\n".join(names) or "there are no users")
    return 0


def _remove(options: argparse.Namespace) -> int:
    from shopfloor.access.users import remove_user

    remove_user(options.users, options.name)
    _print(options, {"name": options.name, "removed": True}, f"{options.name} may not log in any more")
    return 0


def _print(options: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    print(json.dumps(report, ensure_ascii=False) if options.json else text, flush=True)
