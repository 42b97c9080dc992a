"""Data continuity: the share of intervals that were delivered, the proof of 上云用云."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from evidence.days import period_days
from evidence.equipment import EDITION
from evidence.kpi import Problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure, RuleKpi

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable


class DataContinuity(RuleKpi):
    """``data_continuity``: complete intervals of all ``of`` series over the intervals of the period."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="data_continuity",
        name=Wording(en="Data continuity", zh="数据连续性（上云用云）"),
        objectives=(Objective.EFFICIENCY,),
        formula="intervals with data / intervals",
        source=f"this project; shows 上云用云 and, of {EDITION}, 数据采集",
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.NONE,
        inputs=(
            KpiInput(field="of", symbol="intervals", meaning=Wording(en="series that must come", zh="应有的序列")),
        ),
        cannot_tell=Wording(
            en="It says that data came, not that they are right nor that anybody uses them.",
            zh="只说明数据到达，不说明数据正确，也不说明有人使用。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(
        en="all intervals of the period were counted, none was sampled.", zh="时期内的区间为全数清点，并非抽样。"
    )
    needs_whole_periods: ClassVar[bool] = False

    kind: Literal["data_continuity"]
    of: tuple[str, ...] = Field(min_length=1)

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, and one that stands twice."""
        for position, name in enumerate(self.of):
            yield from series_problem(("of", position), name, series)
            if name in self.of[:position]:
                yield ("of", position), f"'{name}' stands twice; keep one"
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """The series."""
        return list(self.of)

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The share of all series, and the poorest series' own."""
        days = period_days(table, period, self.of)
        expected = int(days.expected.sum())
        present = [int(days.present[name].sum()) for name in self.of]
        facts = {"intervals": expected * len(self.of), "present": sum(present), "lowest_share": min(present) / expected}
        return Measure(sum(present) / (expected * len(self.of)), facts)
