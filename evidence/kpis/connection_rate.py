"""Equipment connection rate 生产设备联网率: machines that deliver data, over all production machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from evidence.days import period_days
from evidence.equipment import EDITION, band_points, count_problems, last_count
from evidence.kpi import Problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure, RuleKpi

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable

DELIVERING_TENTHS = 9
"""A machine is connected when it delivered data on nine tenths of the days of the period."""


class ConnectionRate(RuleKpi):
    """``connection_rate``: machines whose series delivered, over ``total``, the count from the asset list."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="connection_rate",
        name=Wording(en="Equipment connection rate", zh="生产设备联网率"),
        objectives=(Objective.EFFICIENCY,),
        formula="machines that deliver / machines in all",
        source=f"{EDITION}, 生产设备联网率: <=10 % 0, <=20 % 1.5, <=40 % 3, <=60 % 4.5, >60 % 6 points",
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.NONE,
        inputs=(
            KpiInput(
                field="machines",
                symbol="machines that deliver",
                meaning=Wording(
                    en="a series of each connected machine; it delivers when it has data on 9 of 10 days",
                    zh="每台联网设备的一个数据序列；九成以上的日子有数据即为联网",
                ),
            ),
            KpiInput(
                field="total",
                symbol="machines in all",
                meaning=Wording(en="a series of equipment_count from the asset list", zh="资产清单中的设备总数"),
            ),
        ),
        cannot_tell=Wording(
            en="The number of all machines is declared, not measured: it is checked on site against the asset list. A "
            "connected machine may still deliver little that is of use.",
            zh="设备总数为申报值而非测得值，须现场对照资产清单核查；设备联网不等于数据有用。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(en="machines were counted, not sampled.", zh="设备为全数清点，并非抽样。")
    needs_whole_periods: ClassVar[bool] = False

    kind: Literal["connection_rate"]
    machines: tuple[str, ...] = Field(min_length=1)
    total: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, a machine that stands twice, and a total that is no count of equipment."""
        for position, name in enumerate(self.machines):
            yield from series_problem(("machines", position), name, series)
            if name in self.machines[:position]:
                yield ("machines", position), f"'{name}' stands twice and would be counted twice; keep one"
        yield from count_problems(("total",), self.total, series)
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """The machines and their number."""
        return [*self.machines, self.total]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The rate, its counts, and its points."""
        total = last_count(table, period, self.total)
        delivering = 0
        for name in self.machines:
            days = period_days(table, period, [name])
            delivering += 10 * int(np.count_nonzero(days.present[name])) >= DELIVERING_TENTHS * len(days.days)
        if total is None or total <= 0:
            return Measure(None, {"delivering": delivering})
        rate = delivering / total
        return Measure(rate, {"delivering": delivering, "total": total, "points": band_points(rate)})
