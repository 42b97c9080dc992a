"""What every baseline model has in common: learnt on baseline days, driven by reporting days.

A model is one file in `evidence.models`: a subclass of `BaselineModel` defined there is found by itself, and its
``name`` becomes known to plans. Every model ends in a least-squares fit on a design matrix, so that all share one
treatment of uncertainty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evidence.regression import LeastSquares
from evidence.table import FloatArray, IntArray

Granularity = Literal["day", "hour", "bill_month"]
"""What a model is learnt from: days, hours, or bills of a month each."""


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
    """What drives the energy of some days, hours or bills; one entry a row everywhere.

    ``ordinals`` are proleptic day numbers of the local dates, ``variables`` the plan's variables by name in their own
    units. ``temperature`` names the one of them that is outdoor temperature, in ``temperature_unit`` (degC, degF, K);
    None when there is none. ``hours`` are the local hours of the day (0 to 23) where rows are hours. ``lengths`` are
    the days in each row where rows are bills: energy and increments are then stated a day, and a row weighs as many
    days as it has.
    """

    ordinals: IntArray
    variables: Mapping[str, FloatArray]
    temperature: str | None = None
    temperature_unit: str = "degC"
    hours: IntArray | None = None
    lengths: FloatArray | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.ordinals)

    @property
    def granularity(self) -> Granularity:
        """What a row is."""
        if self.lengths is not None:
            return "bill_month"
        return "day" if self.hours is None else "hour"

    @property
    def weights(self) -> FloatArray | None:
        """Weight of each row in a fit, 1 on average; None where all rows are alike."""
        return None if self.lengths is None else self.lengths / self.lengths.mean()

    @property
    def weekdays(self) -> IntArray:
        """ISO 8601 weekday of each day: 1 Monday to 7 Sunday."""
        return (self.ordinals - 1) % 7 + 1

    @property
    def slots(self) -> IntArray:
        """The time of the week of each row: its weekday, of hours the hour of the week (1 to 168, Monday first)."""
        return self.weekdays if self.hours is None else (self.weekdays - 1) * 24 + self.hours + 1

    @property
    def slots_a_week(self) -> int:
        """How many times of the week there are."""
        return 7 if self.hours is None else 168

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
        """The conditions of some of the rows."""
        return replace(
            self,
            ordinals=self.ordinals[chosen],
            variables={name: values[chosen] for name, values in self.variables.items()},
            hours=None if self.hours is None else self.hours[chosen],
            lengths=None if self.lengths is None else self.lengths[chosen],
        )

    def followed_by(self, later: Conditions) -> Conditions:
        """These days and then those of ``later``, which are days with the same variables."""
        variables = {name: np.concatenate([values, later.variables[name]]) for name, values in self.variables.items()}
        return replace(self, ordinals=np.concatenate([self.ordinals, later.ordinals]), variables=variables)


class FittedModel(ABC):
    """A model that has learnt from baseline days. ``by_calendar``: its design depends on the dates, too."""

    fit: LeastSquares
    terms: tuple[Term, ...]
    by_calendar: bool = False

    @abstractmethod
    def design(self, conditions: Conditions) -> FloatArray:
        """Return the design matrix (rows x p) of other rows of the same granularity."""


class BaselineModel(ABC):
    """A kind of model that a plan may name. ``needs_temperature``: it does nothing without an outdoor temperature.

    ``granularities`` are what it can be learnt from.
    """

    name: ClassVar[str]
    needs_temperature: ClassVar[bool] = False
    granularities: ClassVar[frozenset[Granularity]] = frozenset({"day"})

    @abstractmethod
    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedModel | None:
        """Fit the ``energy`` of rows on their conditions; None when they do not determine the coefficients."""
