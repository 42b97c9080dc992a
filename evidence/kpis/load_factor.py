"""Load factor: mean power over peak power."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from evidence.demand import ENERGY, DemandKpi, demand_totals
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure

if TYPE_CHECKING:
    from evidence.plan import Period
    from evidence.table import IntervalTable


class LoadFactor(DemandKpi):
    """``load_factor``: mean of P / max of P over a period."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="load_factor",
        name=Wording(en="Load factor", zh="负荷率"),
        objectives=(Objective.COST,),
        formula="mean of P / max of P, P = E / t",
        source="load factor of an electricity supply (IEC 60050-691), over the covered time of a period",
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.NONE,
        inputs=(ENERGY,),
        cannot_tell=Wording(
            en="One interval decides the peak, and a shutdown lowers the mean: neither is a saving. A base load that "
            "runs for nothing raises it.",
            zh="峰值由一个区间决定，停产会拉低均值，均与节能无关；无用的基本负荷反而使其升高。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(
        en="the peak in it rests on a single interval, whose spread the other days do not show.",
        zh="其中的峰值只取决于一个区间，其离散程度无法由其他日子得出。",
    )

    kind: Literal["load_factor"]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The load factor, and the peak in it."""
        found = demand_totals(table, period, self.energy)
        if found is None or found.peak_kw is None:
            return Measure(None)
        return Measure(found.load_factor, {"peak_kw": found.peak_kw, "interval_minutes": table.step_ms / 60_000})
