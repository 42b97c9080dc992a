"""The baseline models: each module of this package defines one, and is found by being here."""

from __future__ import annotations

import importlib
import pkgutil

from evidence.baseline_model import BaselineModel


def _found() -> dict[str, BaselineModel]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    kinds = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaselineModel) and value.__module__ == module.__name__
    ]
    return {kind.name: kind() for kind in sorted(kinds, key=lambda kind: kind.name)}


MODELS = _found()
"""Every baseline model that a plan may name, by its name."""
