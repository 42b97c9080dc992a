"""Change-point models of outdoor temperature, 3P, 4P and 5P, and the choice between them that CalTRACK makes.

E = b0 + b_h max(0, T_h - T) + b_c max(0, T - T_c) + sum of b_j x_j. Balance points are searched on the grid of CalTRACK
2.0, section 3.4: 30 to 90 degF in steps of 1, at least 10 days and 20 degree days beside each, no slope and, without
further variables, no intercept below zero; the best adjusted R2 wins. As there, p counts the coefficients and not the
balance points.
"""

from __future__ import annotations

import math
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
_SURELY = 1e-6
"""By this share of what it is a difference of, a slope must be below zero to be so whatever the rounding."""
_ROUNDING = 1e-18


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
        search = _Search(conditions, energy)
        return search.best(search.heating())


class ThreeParameterCoolingModel(BaselineModel):
    """Base load, and one slope above a balance point."""

    name: ClassVar[str] = "change_point_3p_cooling"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        search = _Search(conditions, energy)
        return search.best(search.cooling())


class FourParameterModel(BaselineModel):
    """A slope on either side of one balance point."""

    name: ClassVar[str] = "change_point_4p"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        search = _Search(conditions, energy)
        return search.best(search.both(apart=False))


class FiveParameterModel(BaselineModel):
    """Base load between two balance points, and a slope outside each."""

    name: ClassVar[str] = "change_point_5p"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        search = _Search(conditions, energy)
        return search.best(search.both(apart=True))


class CalTrackDailyModel(BaselineModel):
    """CalTRACK 2.0 daily: the best of no, one and two slopes."""

    name: ClassVar[str] = "caltrack_daily"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedChangePoint | None:
        search = _Search(conditions, energy)
        return search.best(search.flat(), search.heating(), search.cooling(), search.both(apart=True))


@dataclass(frozen=True)
class _Candidates:
    """Shapes with the adjusted R2 that their fits will have: balance points in degF, NaN where there is no branch."""

    adjusted_r2: FloatArray
    heating: FloatArray
    cooling: FloatArray

    def best_first(self) -> Iterator[tuple[float | None, float | None]]:
        """Yield the balance points, of equals to nine digits the first found first.

        Points beyond all baseline days explain them equally well and other days not: which is taken must not hang on
        the last digits, which are the processor's.
        """
        for position in np.argsort(-np.round(self.adjusted_r2, 9), kind="stable").tolist():
            heating, cooling = float(self.heating[position]), float(self.cooling[position])
            yield None if math.isnan(heating) else heating, None if math.isnan(cooling) else cooling


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
        deviations = energy - energy.mean()
        self._total = float(deviations @ deviations)
        self._fixed, self._rest = fixed.shape[1], float(rest @ rest)
        # Where nothing is left to explain, the signs of slopes are rounding: only the fits can tell.
        self._sure = self._rest > _ROUNDING * float(energy @ energy)
        self._hh, self._cc = np.einsum("ij,ij->j", heating, heating), np.einsum("ij,ij->j", cooling, cooling)
        self._hc, self._hy, self._cy = heating.T @ cooling, heating.T @ rest, cooling.T @ rest

    def flat(self) -> Iterator[_Candidates]:
        """Yield the shape without any slope."""
        if self._usable:
            yield self._candidates(np.zeros(1), 0, np.full(1, np.nan), np.full(1, np.nan))

    def heating(self) -> Iterator[_Candidates]:
        """Yield the shapes with a heating balance point."""
        if self._usable:
            chosen = np.flatnonzero(self._heating_allowed & (self._hh > 0) & ~self._falls(self._hy, self._hh))
            explained = self._hy[chosen] ** 2 / self._hh[chosen]
            yield self._candidates(explained, 1, BALANCE_POINTS_F[chosen], np.full(len(chosen), np.nan))

    def cooling(self) -> Iterator[_Candidates]:
        """Yield the shapes with a cooling balance point."""
        if self._usable:
            chosen = np.flatnonzero(self._cooling_allowed & (self._cc > 0) & ~self._falls(self._cy, self._cc))
            explained = self._cy[chosen] ** 2 / self._cc[chosen]
            yield self._candidates(explained, 1, np.full(len(chosen), np.nan), BALANCE_POINTS_F[chosen])

    def both(self, *, apart: bool) -> Iterator[_Candidates]:
        """Yield the shapes with both balance points: heating at or below cooling, or (not ``apart``) the same."""
        if not self._usable:
            return
        determinant = np.outer(self._hh, self._cc) - self._hc**2
        allowed = np.outer(self._heating_allowed, self._cooling_allowed) & (determinant > 0)
        order = BALANCE_POINTS_F[:, np.newaxis] - BALANCE_POINTS_F
        allowed &= order <= 0 if apart else order == 0
        h, c = np.nonzero(allowed)
        along_h, across_h = self._cc[c] * self._hy[h], self._hc[h, c] * self._cy[c]
        along_c, across_c = self._hh[h] * self._cy[c], self._hc[h, c] * self._hy[h]
        rising = ~(self._sure & (_surely_less(along_h, across_h) | _surely_less(along_c, across_c)))
        slope_h, slope_c = (along_h - across_h) / determinant[h, c], (along_c - across_c) / determinant[h, c]
        explained = (slope_h * self._hy[h] + slope_c * self._cy[c])[rising]
        yield self._candidates(explained, 2, BALANCE_POINTS_F[h[rising]], BALANCE_POINTS_F[c[rising]])

    def _falls(self, with_energy: FloatArray, squares: FloatArray) -> NDArray[np.bool_]:
        """Tell for each column alone whether its slope is below zero, whatever the rounding."""
        return np.asarray(self._sure & (with_energy < -_SURELY * np.sqrt(squares * self._rest)))

    def _candidates(self, explained: FloatArray, slopes: int, heating: FloatArray, cooling: FloatArray) -> _Candidates:
        n = self._conditions.n
        freedom = n - self._fixed - slopes
        if self._total <= 0 or freedom <= 0:
            return _Candidates(np.zeros(len(explained)), heating, cooling)
        adjusted = 1.0 - (self._rest - explained) / self._total * (n - 1) / freedom
        return _Candidates(adjusted, heating, cooling)

    def best(self, *found: Iterator[_Candidates]) -> FittedChangePoint | None:
        """Return the fit with the best adjusted R2 whose coefficients have the signs they must have."""
        parts = [one for candidates in found for one in candidates]
        if not parts:
            return None
        together = _Candidates(
            np.concatenate([one.adjusted_r2 for one in parts]),
            np.concatenate([one.heating for one in parts]),
            np.concatenate([one.cooling for one in parts]),
        )
        for heating, cooling in together.best_first():
            if (fitted := self._fitted(_Shape(heating, cooling, self._others))) is not None:
                return fitted
        return None

    def _fitted(self, shape: _Shape) -> FittedChangePoint | None:
        fit = fit_least_squares(shape.design(self._conditions), self._energy)
        if fit is None:
            return None
        slopes = fit.coefficients[1 : fit.p - len(shape.others)]
        bounded = slopes if shape.others else np.append(slopes, fit.coefficients[0])
        return None if bool(np.any(bounded < 0)) else FittedChangePoint(fit, shape)


def _surely_less(one: FloatArray, other: FloatArray) -> NDArray[np.bool_]:
    """Tell where ``one`` is below ``other``, whatever the rounding. Such a slope need not be fitted to be refused."""
    return np.asarray(one - other < -_SURELY * (np.abs(one) + np.abs(other)))


def _enough(degree_days: FloatArray) -> NDArray[np.bool_]:
    """Tell for each column whether it has enough days and degree days to carry a slope."""
    days, sums = (degree_days > 0).sum(axis=0), degree_days.sum(axis=0)
    return np.asarray((days >= MINIMUM_DAYS) & (sums >= MINIMUM_DEGREE_DAYS))
