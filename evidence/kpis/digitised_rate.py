"""Digitised rate 生产设备数字化率: digital machines over all production machines, as the asset list counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from evidence.equipment import EDITION, band_points, count_problems, last_count
from evidence.kpi import Problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure, RuleKpi

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable


class DigitisedRate(RuleKpi):
    """``digitised_rate``: ``digitised`` over ``total``, both counts of the asset list."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="digitised_rate",
        name=Wording(en="Digitised rate of equipment", zh="生产设备数字化率"),
        objectives=(Objective.EFFICIENCY,),
        formula="digitised machines / machines in all",
        source=f"{EDITION}, 生产设备数字化率: <=10 % 0, <=20 % 1.5, <=40 % 3, <=60 % 4.5, >60 % 6 points",
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.NONE,
        inputs=(
            KpiInput(
                field="digitised",
                symbol="digitised machines",
                meaning=Wording(en="a series of equipment_count", zh="数字化设备台数序列"),
            ),
            KpiInput(
                field="total",
                symbol="machines in all",
                meaning=Wording(en="a series of equipment_count from the asset list", zh="资产清单中的设备总数"),
            ),
        ),
        cannot_tell=Wording(
            en="Both counts are declared: the data only prove the machines that deliver, which the connection rate "
            "counts.",
            zh="两个台数均为申报值；数据只能证明正在上传数据的设备，见联网率。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(en="machines were counted, not sampled.", zh="设备为全数清点，并非抽样。")
    needs_whole_periods: ClassVar[bool] = False

    kind: Literal["digitised_rate"]
    digitised: str
    total: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield series that are unknown or no counts of equipment."""
        yield from count_problems(("digitised",), self.digitised, series)
        yield from count_problems(("total",), self.total, series)
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """Both counts."""
        return [self.digitised, self.total]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The rate at the end of the period, its counts, and its points."""
        digitised, total = last_count(table, period, self.digitised), last_count(table, period, self.total)
        if digitised is None or total is None or total <= 0:
            return Measure(None)
        rate = digitised / total
        return Measure(rate, {"digitised": digitised, "total": total, "points": band_points(rate)})
