"""The screens: each module of this package defines one, and is found by being here."""

from __future__ import annotations

import importlib
import pkgutil

from evidence.result import ScreenResult
from evidence.screen import Screen, Strength, Subject


def _found() -> tuple[Screen, ...]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    kinds = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Screen) and value.__module__ == module.__name__
    }
    # Strong ones first: what they find needs the least explaining away.
    return tuple(
        sorted((kind() for kind in kinds), key=lambda screen: (screen.strength is not Strength.STRONG, screen.name))
    )


SCREENS = _found()
"""Every screen, the strong ones first, then by name."""


def screen(subject: Subject) -> tuple[ScreenResult, ...]:
    """The result of every screen, in the order of `SCREENS`."""
    return tuple(one.result(subject) for one in SCREENS)
