"""Change-point models of outdoor temperature, 3P, 4P and 5P, and the choice between them that CalTRACK makes.

E = b0 + b_h max(0, T_h - T) + b_c max(0, T - T_c) + sum of b_j x_j. Balance points are searched on the grid of CalTRACK
2.0, section 3.4: 30 to 90 degF in steps of 1, at least 10 days and 20 degree days beside each, no slope and, without
further variables, no intercept below zero; the best adjusted R2 wins. As there, p counts the coefficients and not the
balance points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Term
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray

BALANCE_POINTS_F = np.arange(30.0, 91.0)
MINIMUM_DAYS = 10
MINIMUM_DEGREE_DAYS = 20.0


@dataclass(frozen=True)
class _Shape:
    """Balance points in degF, None where there is no such branch, and the names of the further variables."""

    heating: float | None
    cooling: float | None
    others: tuple[str, ...]

    def design(self, conditions: Conditions) -> FloatArray:
        temperature = conditions.fahrenheit
        columns = [np.ones(conditions.n)]
        if self.heating is not None:
            columns.append(np.maximum(self.heating - temperature, 0.0))
        if self.cooling is not None:
            columns.append(np.maximum(temperature - self.cooling, 0.0))
        return np.column_stack([*columns, *(conditions.variables[name] for name in self.others)])

    def terms(self) -> Iterator[Term]:
        yield Term("intercept", None)
        if self.heating is not None:
            yield Term(f"below {self.heating:g} degF", None, "degF")
        if self.cooling is not None:
            yield Term(f"above {self.cooling:g} degF", None, "degF")
        yield from (Term(name, name) for name in self.others)


class FittedChangePoint(FittedModel):
    """An intercept, then the slope below the heating and above the cooling balance point, as far as there are any."""

    def __init__(self, fit: LeastSquares, shape: _Shape) -> None:
        self.fit = fit
        self.terms = tuple(shape.terms())
        self._shape = shape

    @property
    def heating_f(self) -> float | None:
        """Balance point below which energy rises, degF."""
        return self._shape.heating

    @property
    def cooling_f(self) -> float | None:
        """Balance point above which energy rises, degF."""
        return self._shape.cooling

    def design(self, conditions: Conditions) -> FloatArray:
        return self._shape.design(conditions)


class ThreeParameterHeatingModel(BaselineModel):
    """Base load, and one slope below a balance point."""

    name: ClassVar[str] = "change_point_3p_heating"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        return _best(_Search(conditions, energy).heating())


class ThreeParameterCoolingModel(BaselineModel):
    """Base load, and one slope above a balance point."""

    name: ClassVar[str] = "change_point_3p_cooling"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        return _best(_Search(conditions, energy).cooling())


class FourParameterModel(BaselineModel):
    """A slope on either side of one balance point."""

    name: ClassVar[str] = "change_point_4p"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        return _best(_Search(conditions, energy).both(apart=False))


class FiveParameterModel(BaselineModel):
    """Base load between two balance points, and a slope outside each."""

    name: ClassVar[str] = "change_point_5p"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        return _best(_Search(conditions, energy).both(apart=True))


class CalTrackDailyModel(BaselineModel):
    """CalTRACK 2.0 daily: the best of no, one and two slopes."""

    name: ClassVar[str] = "caltrack_daily"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        search = _Search(conditions, energy)
        return _best([*search.flat(), *search.heating(), *search.cooling(), *search.both(apart=True)])


@dataclass(frozen=True)
class _Candidate:
    """A shape with the adjusted R2 that its fit will have; the fit is made when it is its turn."""

    adjusted_r2: float
    shape: _Shape
    conditions: Conditions
    energy: FloatArray

    def fitted(self) -> FittedChangePoint | None:
        fit = fit_least_squares(self.shape.design(self.conditions), self.energy)
        if fit is None:
            return None
        slopes = fit.coefficients[1 : fit.p - len(self.shape.others)]
        bounded = slopes if self.shape.others else np.append(slopes, fit.coefficients[0])
        return None if bool(np.any(bounded < 0)) else FittedChangePoint(fit, self.shape)


class _Search:
    """All balance points at once: what each pair of columns explains beyond the intercept and the further variables.

    The columns are made orthogonal to those (Frisch, Waugh and Lovell), which leaves two unknowns a pair.
    """

    def __init__(self, conditions: Conditions, energy: FloatArray) -> None:
        self._conditions, self._energy = conditions, energy
        self._others = tuple(conditions.others)
        self._usable = conditions.temperature is not None and conditions.n > 2 + len(self._others)
        if not self._usable:
            return
        temperature = conditions.fahrenheit[:, np.newaxis]
        heating, cooling = (
            np.maximum(BALANCE_POINTS_F - temperature, 0.0),
            np.maximum(temperature - BALANCE_POINTS_F, 0.0),
        )
        self._heating_allowed, self._cooling_allowed = _enough(heating), _enough(cooling)
        fixed = np.column_stack([np.ones(conditions.n), *conditions.others.values()])
        basis, _ = np.linalg.qr(fixed)
        heating, cooling = (column - basis @ (basis.T @ column) for column in (heating, cooling))
        rest = energy - basis @ (basis.T @ energy)
        self._fixed, self._rest = fixed.shape[1], float(rest @ rest)
        self._hh, self._cc = np.einsum("ij,ij->j", heating, heating), np.einsum("ij,ij->j", cooling, cooling)
        self._hc, self._hy, self._cy = heating.T @ cooling, heating.T @ rest, cooling.T @ rest

    def flat(self) -> Iterator[_Candidate]:
        """Yield the shape without any slope."""
        if self._usable:
            yield self._candidate(0.0, 0, None, None)

    def heating(self) -> Iterator[_Candidate]:
        """Yield a shape for each heating balance point."""
        if self._usable:
            for index in np.flatnonzero(self._heating_allowed & (self._hh > 0)).tolist():
                explained = float(self._hy[index] ** 2 / self._hh[index])
                yield self._candidate(explained, 1, BALANCE_POINTS_F[index], None)

    def cooling(self) -> Iterator[_Candidate]:
        """Yield a shape for each cooling balance point."""
        if self._usable:
            for index in np.flatnonzero(self._cooling_allowed & (self._cc > 0)).tolist():
                explained = float(self._cy[index] ** 2 / self._cc[index])
                yield self._candidate(explained, 1, None, BALANCE_POINTS_F[index])

    def both(self, *, apart: bool) -> Iterator[_Candidate]:
        """Yield a shape for each pair of balance points: heating at or below cooling, or (not ``apart``) the same."""
        if not self._usable:
            return
        determinant = np.outer(self._hh, self._cc) - self._hc**2
        allowed = np.outer(self._heating_allowed, self._cooling_allowed) & (determinant > 0)
        order = BALANCE_POINTS_F[:, np.newaxis] - BALANCE_POINTS_F
        allowed &= order <= 0 if apart else order == 0
        for h, c in np.argwhere(allowed).tolist():
            slope_h = (self._cc[c] * self._hy[h] - self._hc[h, c] * self._cy[c]) / determinant[h, c]
            slope_c = (self._hh[h] * self._cy[c] - self._hc[h, c] * self._hy[h]) / determinant[h, c]
            explained = float(slope_h * self._hy[h] + slope_c * self._cy[c])
            yield self._candidate(explained, 2, BALANCE_POINTS_F[h], BALANCE_POINTS_F[c])

    def _candidate(self, explained: float, slopes: int, heating: float | None, cooling: float | None) -> _Candidate:
        n, deviations = self._conditions.n, self._energy - self._energy.mean()
        total, freedom = float(deviations @ deviations), n - self._fixed - slopes
        adjusted = 1.0 - (self._rest - explained) / total * (n - 1) / freedom if total > 0 and freedom > 0 else 0.0
        shape = _Shape(heating, cooling, self._others)
        return _Candidate(adjusted, shape, self._conditions, self._energy)


def _enough(degree_days: FloatArray) -> NDArray[np.bool_]:
    """Tell for each column whether it has enough days and degree days to carry a slope."""
    days, sums = (degree_days > 0).sum(axis=0), degree_days.sum(axis=0)
    return np.asarray((days >= MINIMUM_DAYS) & (sums >= MINIMUM_DEGREE_DAYS))


def _best(candidates: Iterator[_Candidate] | list[_Candidate]) -> FittedChangePoint | None:
    """Return the fit with the best adjusted R2 whose coefficients have the signs they must have."""
    for candidate in sorted(candidates, key=lambda one: -one.adjusted_r2):
        if (fitted := candidate.fitted()) is not None:
            return fitted
    return None
