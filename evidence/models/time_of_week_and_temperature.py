"""The time-of-week-and-temperature model.

Mathieu, Price, Kiliccote, Piette: Quantifying changes in building electricity use, with application to demand response
(IEEE Transactions on Smart Grid 2(3), 2011), in the form that the R package nmecr gives it. Times of the week (the 7
weekdays, of hours the 168 hours) are split into occupied and unoccupied; each part has its own regression on a constant
for each of its times and a temperature that is cut into six segments with equal numbers of rows. Further variables get
one slope in each part in which they vary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evidence.baseline_model import BaselineModel, Conditions, FittedModel, Granularity, Term
from evidence.models.weekday import WEEKDAYS, slot_name
from evidence.regression import LeastSquares, fit_least_squares
from evidence.table import FloatArray

SEGMENTS = 6
OCCUPIED_SHARE = 0.65
"""A time of the week is occupied when more than this share of its rows uses more than the temperature explains."""
HEATING_F, COOLING_F = 50.0, 65.0
"""Balance temperatures of the regression that tells what the temperature alone explains, degF."""


@dataclass(frozen=True)
class _Shape:
    """What the baseline has fixed: the knots (degF), the times of the week (`Conditions.slots`) of each part, and the
    further variables that have a slope in it."""

    knots: tuple[float, ...]
    parts: tuple[tuple[int, ...], ...]
    others: tuple[tuple[str, ...], ...]
    slots_a_week: int

    def design(self, conditions: Conditions) -> FloatArray:
        temperature = np.column_stack(list(_segments(conditions.fahrenheit, self.knots)))
        blocks = []
        for part, others in zip(self.parts, self.others, strict=True):
            slots = conditions.slots[:, np.newaxis] == np.array(part)
            inside = slots.any(axis=1)[:, np.newaxis]
            blocks += [slots.astype(np.float64), temperature * inside]
            blocks += [conditions.variables[name][:, np.newaxis] * inside for name in others]
        return np.hstack(blocks)

    def terms(self) -> Iterator[Term]:
        for number, (part, others) in enumerate(zip(self.parts, self.others, strict=True), start=1):
            named = self.slots_a_week == len(WEEKDAYS)
            name = "+".join(WEEKDAYS[slot - 1] for slot in part) if named else f"part {number}"
            yield from (Term(slot_name(slot, self.slots_a_week), None) for slot in part)
            yield from (
                Term(f"temperature segment {segment} ({name})", None, "degF") for segment in range(1, SEGMENTS + 1)
            )
            yield from (Term(f"{other} ({name})", other) for other in others)


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
        """The times of the week (`Conditions.slots`) that share a regression: occupied ones first."""
        return self._shape.parts

    def design(self, conditions: Conditions) -> FloatArray:
        return self._shape.design(conditions)


class TimeOfWeekAndTemperatureModel(BaselineModel):
    """Needs an outdoor temperature, and enough rows of each time of the week."""

    name: ClassVar[str] = "time_of_week_and_temperature"
    granularities: ClassVar[frozenset[Granularity]] = frozenset({"day", "hour"})
    needs_temperature: ClassVar[bool] = True

    def learn(self, conditions: Conditions, energy: FloatArray) -> FittedTimeOfWeekAndTemperature | None:
        if conditions.temperature is None or conditions.n < SEGMENTS:
            return None
        temperature = np.sort(conditions.fahrenheit)
        knots = [float(temperature[conditions.n * number // SEGMENTS - 1]) for number in range(1, SEGMENTS)]
        occupied = _occupied(conditions, energy)
        free = tuple(slot for slot in range(1, conditions.slots_a_week + 1) if slot not in occupied)
        parts = tuple(part for part in (occupied, free) if part)
        others = tuple(tuple(_varying(conditions, part)) for part in parts)
        if set().union(*others) != set(conditions.others):
            return None
        shape = _Shape(tuple(knots), parts, others, conditions.slots_a_week)
        fit = fit_least_squares(shape.design(conditions), energy)
        return None if fit is None else FittedTimeOfWeekAndTemperature(fit, shape)


def _varying(conditions: Conditions, part: tuple[int, ...]) -> Iterator[str]:
    """Yield the further variables that vary in a part: output may always be zero at night, and has no slope there."""
    inside = np.isin(conditions.slots, part)
    for name, values in conditions.others.items():
        if inside.any() and float(np.ptp(values[inside])) > 0.0:
            yield name


def _occupied(conditions: Conditions, energy: FloatArray) -> tuple[int, ...]:
    temperature = conditions.fahrenheit
    heating, cooling = np.minimum(temperature - HEATING_F, 0.0), np.maximum(temperature - COOLING_F, 0.0)
    columns = [column for column in (heating, cooling) if column.any()]
    fit = fit_least_squares(np.column_stack([np.ones(conditions.n), *columns]), energy)
    residuals = energy - energy.mean() if fit is None else fit.residuals
    slots = conditions.slots
    rows = np.bincount(slots, minlength=conditions.slots_a_week + 1)
    above = np.bincount(slots, weights=residuals > 0, minlength=conditions.slots_a_week + 1)
    return tuple(slot for slot in range(1, len(rows)) if above[slot] / max(rows[slot], 1) > OCCUPIED_SHARE)


def _segments(temperature: FloatArray, knots: Sequence[float]) -> Iterator[FloatArray]:
    """Yield, for each segment, how much of the temperature lies in it; the lowest begins at 0 degF."""
    yield np.minimum(temperature, knots[0])
    for low, high in itertools.pairwise(knots):
        yield np.clip(temperature - low, 0.0, high - low)
    yield np.maximum(temperature - knots[-1], 0.0)
