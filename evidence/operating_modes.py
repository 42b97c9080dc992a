"""Operating modes: rows that a plan says run differently, each mode with a constant of its own in the baseline model.

A mode is fixed in the plan, by what is known before the reporting period: weekdays, dates, or a limit of a variable
(output of zero is a day on which nothing is made). In the model it is a variable that is 1 in the mode and 0 outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evidence.baseline_model import Conditions
from evidence.models.weekday import WEEKDAYS
from wire.document import DocumentModel

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class Dates(DocumentModel):
    """Local days from ``from`` to before ``to``."""

    start: date = Field(alias="from")
    to: date

    @model_validator(mode="after")
    def _forward(self) -> Dates:
        if self.to <= self.start:
            raise ValueError(f"ends ({self.to}) before it begins ({self.start}); 'to' is the first day after it")
        return self


class OperatingMode(DocumentModel):
    """Exactly one of ``weekdays``, ``dates``, and a ``variable`` that is ``at_least`` or ``at_most`` a value.

    Of days the value is a day's, of hours an hour's, in the unit of the variable.
    """

    weekdays: tuple[Weekday, ...] = ()
    dates: tuple[Dates, ...] = ()
    variable: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> OperatingMode:
        given = [bool(self.weekdays), bool(self.dates), self.variable is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of 'weekdays', 'dates' and 'variable'")
        limits = (self.at_least is not None) + (self.at_most is not None)
        if limits != (self.variable is not None):
            raise ValueError("a 'variable' needs 'at_least' or 'at_most', one of them, and nothing else has them")
        return self

    def rows(self, conditions: Conditions) -> NDArray[np.bool_]:
        """The rows that are in this mode."""
        if self.weekdays:
            return np.isin(conditions.weekdays, [WEEKDAYS.index(day) + 1 for day in self.weekdays])
        if self.variable is None:
            spans = ((one.start.toordinal(), one.to.toordinal()) for one in self.dates)
            inside = [(conditions.ordinals >= first) & (conditions.ordinals < end) for first, end in spans]
            return np.asarray(np.logical_or.reduce(inside))
        values = conditions.variables[self.variable]
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return np.asarray((values >= low) & (values <= high))


def with_modes(conditions: Conditions, modes: Mapping[str, OperatingMode]) -> Conditions:
    """The conditions with a variable for each mode, 1 in it and 0 outside."""
    if not modes:
        return conditions
    added = {name: mode.rows(conditions).astype(np.float64) for name, mode in modes.items()}
    return replace(conditions, variables={**conditions.variables, **added})


def mode_problems(
    modes: Mapping[str, OperatingMode], variables: Sequence[str], taken: Sequence[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield modes that are called like a series, or that hang on what is no variable of the model."""
    for name, mode in modes.items():
        if name in taken:
            yield ("modes", name), "is the name of a series, too; give the mode another name"
        if mode.variable is not None and mode.variable not in variables:
            yield ("modes", name, "variable"), f"'{mode.variable}' is none of the 'variables' of this KPI; add it there"
