"""Peak demand: the largest mean power of an interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from evidence.demand import ENERGY, DemandKpi, demand_totals
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure

if TYPE_CHECKING:
    from evidence.plan import Period
    from evidence.table import IntervalTable


class PeakDemand(DemandKpi):
    """``peak_demand``: max of E / t over the intervals of a period, kW."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="peak_demand",
        name=Wording(en="Peak demand", zh="最大需量"),
        objectives=(Objective.COST,),
        formula="max of E / t over intervals",
        source="demand of the two-part tariff (两部制电价): mean power of 15 min, largest of the period",
        unit="kW",
        better=Better.LOWER,
        interval=IntervalMethod.NONE,
        inputs=(ENERGY,),
        cannot_tell=Wording(
            en="One interval decides. Fixed intervals of the table are used: a meter with a sliding window shows a "
            "somewhat higher demand. A longer period has the higher peak by itself.",
            zh="由一个区间决定；采用固定区间，滑差式需量表读数略高；时期越长，最大值越大。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(
        en="a maximum rests on a single interval, whose spread the other days do not show.",
        zh="最大值只取决于一个区间，其离散程度无法由其他日子得出。",
    )

    kind: Literal["peak_demand"]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The peak, and when it was."""
        found = demand_totals(table, period, self.energy)
        if found is None or found.peak_kw is None or found.peak_start_ms is None:
            return Measure(None)
        return Measure(
            found.peak_kw, {"peak_start_ms": found.peak_start_ms, "interval_minutes": table.step_ms / 60_000}
        )
