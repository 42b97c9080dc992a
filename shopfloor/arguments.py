"""Kinds of command-line arguments that several commands take; a wrong one is refused with exit code 2."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

_LAST_PORT = 65535
_ZONE = ZoneInfo("Asia/Shanghai")


def port_number(text: str) -> int:
    """A TCP port, 0 for a free one. Raises `argparse.ArgumentTypeError`."""
    number = _whole_number(text)
    if not 0 <= number <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{number} is no TCP port: give 0 (a free one) to {_LAST_PORT}")
    return number


def positive_number(text: str) -> int:
    """A whole number of at least 1. Raises `argparse.ArgumentTypeError`."""
    number = _whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small: give a whole number of at least 1")
    return number


def instant_ms(text: str) -> int:
    """A date or time, of Asia/Shanghai unless it has an offset, in ms UTC. Raises `argparse.ArgumentTypeError`."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time; write 2025-10-01 or 2025-10-01T08:00") from None
    return round((instant if instant.tzinfo else instant.replace(tzinfo=_ZONE)).timestamp() * 1000)


def add_access(parser: argparse.ArgumentParser) -> None:
    """Add what an address other than loopback needs: ``--tls-cert``, ``--tls-key`` and ``--users``."""
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help="certificate chain of this server (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="its private key (PEM, mode 0600)")
    parser.add_argument(
        "--users", metavar="FILE", type=Path, help="who may log in (see 'shopfloor users'); needed beyond loopback"
    )


def add_keep_days(parser: argparse.ArgumentParser) -> None:
    """Add ``--keep-days``."""
    parser.add_argument(
        "--keep-days",
        metavar="N",
        type=positive_number,
        help="remove records that are older every night, as 'ingest retention' does (default: keep all)",
    )


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-format``, for `shopfloor.logs.log_to_stderr`."""
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="for people, or a JSON line each"
    )


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
