"""Exceptions of the demonstration."""

from __future__ import annotations

from wire.errors import ShopfloorError


class DemoError(ShopfloorError):
    """The demonstration was asked for something it cannot do (a seed, a date, a data folder)."""


class SurroundingsError(DemoError):
    """A process or a port that the demonstration needs did not come up or went away."""

    exit_code = 3
