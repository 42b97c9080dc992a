"""The KPIs: each module of this package defines one, and is found by being here."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from evidence.kpi import KpiPlan


def _found() -> tuple[type[KpiPlan], ...]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    kinds = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, KpiPlan) and value.__module__ == module.__name__
    }
    return tuple(sorted(kinds, key=lambda kind: kind.__name__))


KPIS = _found()
"""Every kind of KPI that a plan may ask for."""

if TYPE_CHECKING:
    KpiEntry = KpiPlan
else:
    KpiEntry = Annotated[Union[KPIS], Field(discriminator="kind")]  # noqa: UP007 - built from the registry
