"""Kinds of command-line arguments that several commands take; a wrong one is refused with exit code 2."""

from __future__ import annotations

import argparse

_LAST_PORT = 65535


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


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
