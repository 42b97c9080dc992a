"""Idle and standby energy: the share of energy that is used while nothing is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from evidence.kpi import Problem, energy_problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.quantities import KWH_PER_UNIT, Aggregation
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Reason, Wording
from evidence.table import FloatArray

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan
    from evidence.table import IntervalTable


class IdleEnergyShare(RatioKpi):
    """``idle_energy_share``: energy of the intervals with no more ``activity`` than ``threshold``, over all energy."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="idle_energy_share",
        name=Wording(en="Idle and standby energy share", zh="空载待机能耗占比"),
        objectives=(Objective.GREEN, Objective.COST),
        formula="sum of E where a <= threshold / sum of E",
        source="this project; the idle state is that of ISO 14955-1:2017 (ready, not processing) by intervals",
        unit="1",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=(
            KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列")),
            KpiInput(
                field="activity",
                symbol="a",
                meaning=Wording(
                    en="a count or a duration of the same machine: good_count, production_time",
                    zh="同一设备的产量或生产时间序列",
                ),
            ),
            KpiInput(
                field="threshold",
                symbol="threshold",
                meaning=Wording(en="activity an interval up to which it is idle, 0 unless stated", zh="待机判定阈值"),
                optional=True,
            ),
        ),
        cannot_tell=Wording(
            en="Idling that is shorter than an interval is not seen, and what keeps a process warm counts as idle. "
            "More "
            "production lowers the share without any less idle energy.",
            zh="看不到短于一个区间的空载；保温等必要用能也计为待机；产量增加会使占比下降，而待机能耗并未减少。",
        ),
    )

    kind: Literal["idle_energy_share"]
    energy: str
    activity: str
    threshold: float = Field(default=0.0, ge=0)

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield an energy that is none, and an activity that is not counted by interval."""
        yield from energy_problem(("energy",), self.energy, series)
        yield from series_problem(("activity",), self.activity, series)
        if self.activity in series:
            definition = series[self.activity].definition
            if definition.aggregation is not Aggregation.INCREMENT or not definition.exogenous:
                yield ("activity",), f"'{self.activity}' is {definition.name}; name a count or a duration"
        yield from self.target_problems()

    def names(self) -> list[str]:
        """Energy and activity."""
        return [self.energy, self.activity]

    def columns(self, table: IntervalTable) -> Columns | Reason:
        """Energy, and the part of it that was used idly."""
        energy = table.stated(self.energy) * KWH_PER_UNIT[table.series[self.energy].unit]
        activity = table.stated(self.activity)
        return {"idle": np.where(activity <= self.threshold, energy, 0.0 * energy), "energy": energy}

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """Idle energy over energy."""
        return sums["idle"], sums["energy"]
