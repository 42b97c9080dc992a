"""The conditions of a period's days, as the plan's variables state them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evidence.baseline_model import Conditions
from evidence.days import PeriodDays

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan


def outdoor_temperature(series: Mapping[str, SeriesPlan], variables: Sequence[str]) -> str | None:
    """The first of ``variables`` that is a temperature."""
    return next((name for name in variables if series[name].quantity == "temperature"), None)


def day_conditions(series: Mapping[str, SeriesPlan], variables: Sequence[str], days: PeriodDays) -> Conditions:
    """What drives the energy on the used days of a period."""
    temperature = outdoor_temperature(series, variables)
    return Conditions(
        ordinals=days.used_ordinals,
        variables={name: days.used_values(name) for name in variables},
        temperature=temperature,
        temperature_unit="" if temperature is None else series[temperature].unit,
    )
