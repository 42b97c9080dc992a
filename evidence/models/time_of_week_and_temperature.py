"""The time-of-week-and-temperature model on days.

Mathieu, Price, Kiliccote, Piette: Quantifying changes in building electricity use, with application to demand response
(IEEE Transactions on Smart Grid 2(3), 2011), in the form that the R package nmecr gives it for daily data. Weekdays are
split into occupied and unoccupied; each part has its own regression on weekday constants and a temperature that is cut
into six segments with equal numbers of days. Further variables get one slope in each part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Term
from evidence.models.weekday import WEEKDAYS
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray

SEGMENTS = 6
OCCUPIED_SHARE = 0.65
"""A weekday is occupied when more than this share of its days uses more than the temperature alone explains."""
HEATING_F, COOLING_F = 50.0, 65.0
"""Balance temperatures of the regression that tells what the temperature alone explains, degF."""


@dataclass(frozen=True)
class _Shape:
    """What the baseline has fixed: the knots (degF), and the weekdays (1 Monday) of each part."""

    knots: tuple[float, ...]
    parts: tuple[tuple[int, ...], ...]
    others: tuple[str, ...]

    def design(self, conditions: Conditions) -> FloatArray:
        temperature = np.column_stack(list(_segments(conditions.fahrenheit, self.knots)))
        others = [conditions.variables[name] for name in self.others]
        blocks = []
        for part in self.parts:
            weekdays = conditions.weekdays[:, np.newaxis] == np.array(part)
            inside = weekdays.any(axis=1)[:, np.newaxis]
            blocks += [weekdays.astype(np.float64), temperature * inside]
            blocks += [other[:, np.newaxis] * inside for other in others]
        return np.hstack(blocks)

    def terms(self) -> Iterator[Term]:
        for part in self.parts:
            name = "+".join(WEEKDAYS[weekday - 1] for weekday in part)
            yield from (Term(WEEKDAYS[weekday - 1], None) for weekday in part)
            yield from (
                Term(f"temperature segment {number} ({name})", None, "degF") for number in range(1, SEGMENTS + 1)
            )
            yield from (Term(f"{other} ({name})", other) for other in self.others)


class FittedTimeOfWeekAndTemperature(FittedModel):
    """One design for both parts: the columns of a part are zero on the days of the other."""

    by_calendar = True

    def __init__(self, fit: LeastSquares, shape: _Shape) -> None:
        self.fit = fit
        self.terms = tuple(shape.terms())
        self._shape = shape

    @property
    def knots_f(self) -> tuple[float, ...]:
        """Where the temperature segments meet, degF."""
        return self._shape.knots

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """The weekdays (1 Monday) that share a regression: occupied ones first."""
        return self._shape.parts

    def design(self, conditions: Conditions) -> FloatArray:
        return self._shape.design(conditions)


class TimeOfWeekAndTemperatureModel(BaselineModel):
    """Needs an outdoor temperature, and enough days of each weekday."""

    name: ClassVar[str] = "time_of_week_and_temperature"
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedTimeOfWeekAndTemperature | None:
        if conditions.temperature is None or conditions.n < SEGMENTS:
            return None
        temperature = np.sort(conditions.fahrenheit)
        knots = [float(temperature[conditions.n * number // SEGMENTS - 1]) for number in range(1, SEGMENTS)]
        occupied = _occupied(conditions, energy)
        parts = (occupied, tuple(weekday for weekday in range(1, 8) if weekday not in occupied))
        shape = _Shape(tuple(knots), tuple(part for part in parts if part), tuple(conditions.others))
        fit = fit_least_squares(shape.design(conditions), energy)
        return None if fit is None else FittedTimeOfWeekAndTemperature(fit, shape)


def _occupied(conditions: Conditions, energy: FloatArray) -> tuple[int, ...]:
    temperature = conditions.fahrenheit
    heating, cooling = np.minimum(temperature - HEATING_F, 0.0), np.maximum(temperature - COOLING_F, 0.0)
    columns = [column for column in (heating, cooling) if column.any()]
    fit = fit_least_squares(np.column_stack([np.ones(conditions.n), *columns]), energy)
    residuals = energy - energy.mean() if fit is None else fit.residuals
    above = {day: residuals[conditions.weekdays == day] > 0 for day in range(1, 8)}
    return tuple(day for day, more in above.items() if len(more) and float(more.mean()) > OCCUPIED_SHARE)


def _segments(temperature: FloatArray, knots: Sequence[float]) -> Iterator[FloatArray]:
    """Yield, for each segment, how much of the temperature lies in it; the lowest begins at 0 degF."""
    yield np.minimum(temperature, knots[0])
    for low, high in itertools.pairwise(knots):
        yield np.clip(temperature - low, 0.0, high - low)
    yield np.maximum(temperature - knots[-1], 0.0)
