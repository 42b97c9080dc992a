"""Limit excursions: how long a quantity was outside its safe limits, in hours a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evidence.days import part_of
from evidence.kpi import Problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.quantities import Aggregation
from evidence.result import Wording
from evidence.rule_kpi import Measure, RuleKpi

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable

HOUR_MS = 3_600_000
HOURS_A_DAY = 24.0


class LimitExcursions(RuleKpi):
    """``limit_excursions``: time below ``low`` or above ``high``, over the covered time."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="limit_excursions",
        name=Wording(en="Time outside safe limits", zh="超限时长"),
        objectives=(Objective.SAFETY, Objective.QUALITY),
        formula="24 x sum of t where x < low or x > high / sum of t",
        source="this project; the limits are those of the safety rules or the process sheet cited in 'citation'",
        unit="h/d",
        better=Better.LOWER,
        interval=IntervalMethod.NONE,
        inputs=(
            KpiInput(
                field="series",
                symbol="x",
                meaning=Wording(en="a temperature, pressure, level, current ...", zh="温度、压力、电流等序列"),
            ),
            KpiInput(field="low", symbol="low", meaning=Wording(en="lower limit", zh="下限"), optional=True),
            KpiInput(field="high", symbol="high", meaning=Wording(en="upper limit", zh="上限"), optional=True),
            KpiInput(
                field="citation",
                symbol="",
                meaning=Wording(en="where the limits are from", zh="限值依据"),
            ),
        ),
        cannot_tell=Wording(
            en="Means of intervals are compared: an excursion that is shorter than an interval may not show. It says "
            "nothing of what was not measured, and is no alarm system.",
            zh="比较的是区间平均值：短于一个区间的超限可能看不到；未测量的量不在其中；不能代替报警系统。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(
        en="excursions are rare and come in clusters; days do not show their spread.",
        zh="超限事件少且成串出现，其离散程度无法由各日得出。",
    )

    kind: Literal["limit_excursions"]
    series: str
    low: float | None = None
    high: float | None = None
    citation: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield a series that is unknown or summed, and limits that are missing or the wrong way round."""
        yield from series_problem(("series",), self.series, series)
        if self.series in series and series[self.series].definition.aggregation is not Aggregation.MEAN:
            yield ("series",), f"'{self.series}' is {series[self.series].quantity}, which has no limits at a moment"
        if self.low is None and self.high is None:
            yield ("high",), "needs 'low', 'high' or both"
        elif self.low is not None and self.high is not None and self.low >= self.high:
            yield ("low",), f"{self.low:g} is not below 'high', {self.high:g}"
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """The series."""
        return [self.series]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """Hours a day outside, how many excursions there were, and the extremes."""
        part = part_of(table, period)
        values = part.stated(self.series)
        present = np.isfinite(values)
        hours = part.durations_ms() / HOUR_MS
        covered = float(hours[present].sum())
        if covered <= 0:
            return Measure(None)
        outside = np.zeros(len(values), dtype=np.bool_)
        if self.low is not None:
            outside |= values < self.low
        if self.high is not None:
            outside |= values > self.high
        begins = int(np.count_nonzero(outside[1:] & ~outside[:-1])) + int(outside[0])
        facts = {
            "excursions": begins,
            "hours_outside": float(hours[outside].sum()),
            "hours_covered": covered,
            "lowest": float(values[present].min()),
            "highest": float(values[present].max()),
        }
        return Measure(HOURS_A_DAY * facts["hours_outside"] / covered, facts)
