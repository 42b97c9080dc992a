"""Power of a period from the energy of its intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from evidence.days import part_of
from evidence.kpi import Problem, energy_problem
from evidence.kpi_description import KpiInput
from evidence.result import Totals, Wording
from evidence.rule_kpi import RuleKpi
from evidence.table import DAY_MS
from evidence.totals import series_totals

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable

HOUR_MS = 3_600_000
ENERGY = KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列"))


class DemandKpi(RuleKpi):
    """What KPIs of power over a period have in common: one active energy, compared by rule."""

    energy: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield an energy that is none, and what is wrong with the target."""
        yield from energy_problem(("energy",), self.energy, series)
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """The energy."""
        return [self.energy]


def demand_totals(table: IntervalTable, period: Period, energy: str) -> Totals | None:
    """Peak power and load factor of ``energy`` over ``period``; None when intervals are longer than an hour or empty.

    A mean over more than an hour is no demand: what is billed is the mean of 15 minutes.
    """
    if table.step_ms > HOUR_MS or table.step_ms == DAY_MS:
        return None
    found = series_totals(part_of(table, period), energy)
    return found if found.peak_kw is not None else None
