"""Sums and differences of series, as a plan writes them: ``planned``, ``shift - breaks - stops``.

Reports state times and counts in pieces; a plan says how they make up what a standard's formula needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from evidence.kpi import Problem, series_problem
from evidence.quantities import KVARH_PER_UNIT, KWH_PER_UNIT, SECONDS_PER_UNIT, Aggregation, Quantity
from evidence.table import FloatArray, IntervalTable
from wire.document import Location

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan

_NAME = r"[a-z][a-z0-9_]{0,63}"
_SUM = re.compile(rf"{_NAME}( [+-] {_NAME})*")


def _well_formed(expression: str) -> str:
    if not _SUM.fullmatch(expression):
        raise ValueError("is no sum of series; write a series, or series joined by ' + ' and ' - ': shift - breaks")
    return expression


SeriesSum = Annotated[str, AfterValidator(_well_formed)]
"""A series, or several joined by ' + ' and ' - '."""


class Dimension(StrEnum):
    """What a sum adds up; all values are brought to one unit first."""

    DURATION = "duration"
    """Seconds."""
    COUNT = "count"
    """Items, or whatever measure of output the plan states: every series of the sum in the same unit."""
    ENERGY = "active energy"
    """kWh."""
    REACTIVE = "reactive energy"
    """kvarh."""
    MONEY = "value of goods"
    """The currency of the plan."""

    def accepts(self, quantity: Quantity) -> bool:
        """Whether a series of ``quantity`` may stand in a sum of this dimension."""
        match self:
            case Dimension.DURATION:
                return set(quantity.units) == set(SECONDS_PER_UNIT)
            case Dimension.COUNT:
                return quantity.production or quantity.name.endswith("_count")
            case Dimension.ENERGY:
                return quantity.active_energy
            case Dimension.REACTIVE:
                return set(quantity.units) == set(KVARH_PER_UNIT)
            case _:
                return quantity.name == "goods_value"

    def factor(self, unit: str) -> float:
        """What one ``unit`` is in the unit of this dimension."""
        known: Mapping[str, float] = {
            Dimension.DURATION: SECONDS_PER_UNIT,
            Dimension.ENERGY: KWH_PER_UNIT,
            Dimension.REACTIVE: KVARH_PER_UNIT,
        }.get(self, {})
        return known.get(unit, 1.0)


def terms(expression: str) -> tuple[tuple[int, str], ...]:
    """The series of a sum with their signs, +1 or -1."""
    words = ["+", *expression.split(" ")]
    return tuple((1 if sign == "+" else -1, name) for sign, name in zip(words[::2], words[1::2], strict=True))


def sum_problems(
    location: Location, expression: str, dimension: Dimension, series: Mapping[str, SeriesPlan]
) -> Iterator[Problem]:
    """Yield unknown series, series of another dimension, a series that stands twice, and units that do not add up."""
    names = [name for _, name in terms(expression)]
    for name in dict.fromkeys(names):
        yield from series_problem(location, name, series)
        if names.count(name) > 1:
            yield location, f"'{name}' stands twice; keep one"
        definition = series[name].definition if name in series else None
        if definition is not None and not (
            definition.aggregation is Aggregation.INCREMENT and dimension.accepts(definition)
        ):
            yield location, f"'{name}' is {definition.name}, not a {dimension.value} of each interval"
    units = {series[name].unit for name in names if name in series}
    if dimension in (Dimension.COUNT, Dimension.MONEY) and len(units) > 1:
        yield location, f"adds up {', '.join(sorted(units))}; state its series in one unit"


def sum_values(table: IntervalTable, expression: str, dimension: Dimension) -> FloatArray:
    """Values of the sum by interval, in the unit of ``dimension``; NaN where a series is missing."""
    parts = [sign * dimension.factor(table.series[name].unit) * table.stated(name) for sign, name in terms(expression)]
    total: FloatArray = sum(parts[1:], start=parts[0])
    return total


def sum_unit(expression: str, series: Mapping[str, SeriesPlan]) -> str:
    """The unit that the plan states for the first series of a sum."""
    return series[terms(expression)[0][1]].unit
