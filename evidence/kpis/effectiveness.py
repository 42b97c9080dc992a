"""Effectiveness: PRI x PQ / APT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import RunTime, clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.kpi_reasons import STALE_RUN_TIME
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class Effectiveness(RatioKpi):
    """``effectiveness``: PRI x PQ / APT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="effectiveness",
        name=Wording(en="Effectiveness", zh="效能"),
        objectives=(Objective.EFFICIENCY,),
        formula="PRI x PQ / APT",
        source=clause("Effectiveness"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("planned_run_time", "produced", "production_time"),
        cannot_tell=Wording(
            en="It is as good as the planned run time: a generous one hides slow running, and above 100 % it is out "
            "of date. Other sheets call it performance.",
            zh="取决于单件计划运行时间：定得过宽会掩盖低速运行，超过 100 % 说明已过时。其他算法称之为性能率。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "produced": Dimension.COUNT,
        "production_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = STALE_RUN_TIME

    kind: Literal["effectiveness"]
    planned_run_time: RunTime
    produced: SeriesSum
    production_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """PRI x PQ / APT, day by day."""
        return self.planned_run_time.seconds * sums["produced"], sums["production_time"]
