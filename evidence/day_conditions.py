"""The conditions of a period's days, as the plan's variables state them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evidence.baseline_model import Conditions
from evidence.days import PeriodDays
from evidence.table import FloatArray, IntArray

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan


def outdoor_temperature(series: Mapping[str, SeriesPlan], variables: Sequence[str]) -> str | None:
    """The first of ``variables`` that is a temperature."""
    return next((name for name in variables if series[name].quantity == "temperature"), None)


def day_conditions(series: Mapping[str, SeriesPlan], variables: Sequence[str], days: PeriodDays) -> Conditions:
    """What drives the energy on the used days of a period."""
    return conditions_of(series, days.used_ordinals, {name: days.used_values(name) for name in variables})


def conditions_of(
    series: Mapping[str, SeriesPlan],
    ordinals: IntArray,
    values: Mapping[str, FloatArray],
    *,
    hours: IntArray | None = None,
    lengths: FloatArray | None = None,
) -> Conditions:
    """Conditions of rows: ``values`` of variables of the plan, with the first temperature among them as the outdoor
    one."""
    temperature = outdoor_temperature(series, list(values))
    return Conditions(
        ordinals=ordinals,
        variables=values,
        temperature=temperature,
        temperature_unit="" if temperature is None else series[temperature].unit,
        hours=hours,
        lengths=lengths,
    )
