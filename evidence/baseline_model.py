"""What every baseline model has in common: learnt on baseline days, driven by reporting days.

A model is one file in `evidence.models`: a subclass of `BaselineModel` defined there is found by itself, and its
``name`` becomes known to plans. Every model ends in a least-squares fit on a design matrix, so that all share one
treatment of uncertainty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evidence.regression import LeastSquares
from evidence.table import FloatArray


@dataclass(frozen=True)
class Term:
    """One column of a design matrix: its name, and the variable it multiplies (None for a constant)."""

    name: str
    variable: str | None


class FittedModel(ABC):
    """A model that has learnt from baseline days."""

    fit: LeastSquares
    terms: tuple[Term, ...]

    @abstractmethod
    def design(self, variables: Mapping[str, FloatArray], days: int) -> FloatArray:
        """Return the design matrix (days x p) of other days; ``variables`` holds one value a day and variable."""


class BaselineModel(ABC):
    """A kind of model that a plan may name."""

    name: ClassVar[str]

    @abstractmethod
    def learn(self, variables: Mapping[str, FloatArray], energy: FloatArray) -> FittedModel | None:
        """Fit daily ``energy`` on daily ``variables``; None when the days do not determine the coefficients."""
