"""What every baseline model has in common: learnt on baseline days, driven by reporting days.

A model is one file in `evidence.models`: a subclass of `BaselineModel` defined there is found by itself, and its
``name`` becomes known to plans. Every model ends in a least-squares fit on a design matrix, so that all share one
treatment of uncertainty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evidence.regression import LeastSquares
from evidence.table import FloatArray, IntArray


@dataclass(frozen=True)
class Term:
    """One column of a design matrix: its name, and the variable it multiplies (None for a constant).

    ``per`` is the unit of the column where it is neither a constant nor a variable in its own unit.
    """

    name: str
    variable: str | None
    per: str = ""


@dataclass(frozen=True)
class Conditions:
    """What drives the energy of some days; one entry a day everywhere.

    ``ordinals`` are proleptic day numbers of the local dates, ``variables`` the plan's variables by name in their own
    units. ``temperature`` names the one of them that is outdoor temperature, in ``temperature_unit`` (degC, degF, K);
    None when there is none.
    """

    ordinals: IntArray
    variables: Mapping[str, FloatArray]
    temperature: str | None = None
    temperature_unit: str = "degC"

    @property
    def n(self) -> int:
        """Number of days."""
        return len(self.ordinals)

    @property
    def weekdays(self) -> IntArray:
        """ISO 8601 weekday of each day: 1 Monday to 7 Sunday."""
        return (self.ordinals - 1) % 7 + 1

    @property
    def fahrenheit(self) -> FloatArray:
        """Outdoor temperature in degF, the unit in which the published methods state their constants.

        Raises `KeyError` when there is no temperature.
        """
        values = self.variables[self.temperature or ""]
        if self.temperature_unit == "degF":
            return values
        celsius = values - 273.15 if self.temperature_unit == "K" else values
        return np.asarray(celsius * 9.0 / 5.0 + 32.0)

    @property
    def others(self) -> dict[str, FloatArray]:
        """The variables that are not the outdoor temperature."""
        return {name: values for name, values in self.variables.items() if name != self.temperature}

    def only(self, chosen: NDArray[np.bool_]) -> Conditions:
        """The conditions of some of the days."""
        variables = {name: values[chosen] for name, values in self.variables.items()}
        return replace(self, ordinals=self.ordinals[chosen], variables=variables)


class FittedModel(ABC):
    """A model that has learnt from baseline days. ``by_calendar``: its design depends on the dates, too."""

    fit: LeastSquares
    terms: tuple[Term, ...]
    by_calendar: bool = False

    @abstractmethod
    def design(self, conditions: Conditions) -> FloatArray:
        """Return the design matrix (days x p) of other days."""


class BaselineModel(ABC):
    """A kind of model that a plan may name. ``needs_temperature``: it does nothing without an outdoor temperature."""

    name: ClassVar[str]
    needs_temperature: ClassVar[bool] = False

    @abstractmethod
    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedModel | None:
        """Fit daily ``energy`` on the days' conditions; None when the days do not determine the coefficients."""
