"""Energy carriers of a plan: which series is which fuel, and by which factor it is converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from evidence.factors import KJ_PER_KGCE, SMALLEST_UNIT, Factor
from evidence.kpi import Problem, series_problem
from evidence.result import ResultModel
from evidence.table import FloatArray
from wire.document import DocumentModel, Location, suggestion

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan
    from evidence.table import IntervalTable


class StatedFactor(DocumentModel):
    """A factor that the plan brings itself, with where it is from: a supplier's statement, a laboratory, an area."""

    value: float = Field(gt=0)
    unit: str
    year: int = Field(ge=1990, le=2100)
    citation: str = Field(min_length=8)


class Carrier(DocumentModel):
    """One energy carrier: a series and a factor, either the name of a row of the table or one stated in the plan.

    ``value`` chooses from a row that is a range, ``reason`` says why. ``net_calorific_value`` (kJ per unit of the row)
    is measured and replaces the row's value where standard coal is asked for.
    """

    series: str
    factor: str | StatedFactor
    value: float | None = Field(default=None, gt=0)
    reason: str = ""
    net_calorific_value: float | None = Field(default=None, gt=0)


class UsedFactor(ResultModel):
    """A factor as used on both sides of a comparison."""

    series: str
    name: str
    value: float
    unit: str
    year: int
    citation: str
    reason: str


def carrier_problems(
    carriers: Sequence[Carrier],
    table: Mapping[str, Factor],
    series: Mapping[str, SeriesPlan],
    *,
    calorific: bool,
) -> Iterator[Problem]:
    """Yield unknown series and factors, units that do not go together, a range without choice, and mixed years."""
    for position, carrier in enumerate(carriers):
        where: Location = ("carriers", position)
        yield from series_problem((*where, "series"), carrier.series, series)
        if carrier.series in [one.series for one in carriers[:position]]:
            yield (*where, "series"), f"'{carrier.series}' stands twice and would be counted twice; keep one"
        if isinstance(carrier.factor, str) and carrier.factor not in table:
            yield (*where, "factor"), f"unknown factor{suggestion(carrier.factor, list(table))}"
        elif carrier.series in series:
            yield from _one(where, carrier, table, series[carrier.series], calorific=calorific)
    years = sorted({row.year for carrier in carriers if (row := _row(carrier, table)) and "kWh" in row.unit})
    if len(years) > 1:
        yield ("carriers",), f"mixes factors of {', '.join(map(str, years))} for electricity; use one factor year"


def _row(carrier: Carrier, table: Mapping[str, Factor]) -> Factor | None:
    return table.get(carrier.factor) if isinstance(carrier.factor, str) else None


def _one(
    where: Location, carrier: Carrier, table: Mapping[str, Factor], series: SeriesPlan, *, calorific: bool
) -> Iterator[Problem]:
    row = _row(carrier, table)
    unit = row.unit if row is not None else getattr(carrier.factor, "unit", "")
    if series.unit not in SMALLEST_UNIT.get(unit, {}):
        yield (*where, "factor"), f"is per {unit}, but '{carrier.series}' is in {series.unit}"
    if row is not None and series.quantity not in row.quantities:
        yield (*where, "factor"), f"'{row.name}' is for {', '.join(row.quantities)}, not for {series.quantity}"
    measured = carrier.net_calorific_value is not None
    if measured and not calorific:
        yield (*where, "net_calorific_value"), "says nothing of CO2; state the factor with its citation"
    if carrier.value is not None and (row is None or not row.is_range):
        yield (*where, "value"), "may only choose from a factor that is a range"
    if row is None or not row.is_range or measured:
        return
    if carrier.value is None or not carrier.reason:
        yield (
            (*where, "value"),
            (
                f"'{row.name}' is a range of {row.low:.4f} to {row.high:.4f}; state the value and the reason, or the "
                "measured net_calorific_value"
            ),
        )
    elif not row.low <= carrier.value <= row.high:
        yield (*where, "value"), f"{carrier.value:g} lies outside {row.low:.4f} to {row.high:.4f}"


def used_factor(carrier: Carrier, table: Mapping[str, Factor]) -> UsedFactor:
    """The factor of a carrier without problems."""
    stated = carrier.factor
    if isinstance(stated, StatedFactor):
        citation, year, value, unit, name = stated.citation, stated.year, stated.value, stated.unit, "stated"
    else:
        row = table[stated]
        citation, year, unit, name = row.citation, row.year, row.unit, row.name
        value = row.low if carrier.value is None else carrier.value
        if carrier.net_calorific_value is not None:
            value = carrier.net_calorific_value / KJ_PER_KGCE
            citation = f"measured net calorific value {carrier.net_calorific_value:g} kJ/{unit} / {KJ_PER_KGCE:g} kJ"
    return UsedFactor(
        series=carrier.series, name=name, value=value, unit=unit, year=year, citation=citation, reason=carrier.reason
    )


def converted(table: IntervalTable, factors: Sequence[UsedFactor]) -> FloatArray:
    """What all carriers come to, by interval: kgce or kg CO2."""
    parts = [
        factor.value * SMALLEST_UNIT[factor.unit][table.series[factor.series].unit] * table.stated(factor.series)
        for factor in factors
    ]
    total: FloatArray = np.sum(parts, axis=0)
    return total
