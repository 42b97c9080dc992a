"""Throughput rate: PQ / AOET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class ThroughputRate(RatioKpi):
    """``throughput_rate``: PQ / AOET."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="throughput_rate",
        name=Wording(en="Throughput rate", zh="产出率"),
        objectives=(Objective.EFFICIENCY,),
        formula="PQ / AOET",
        source=clause("Throughput rate"),
        unit="item/h",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("produced", "order_execution_time"),
        cannot_tell=Wording(
            en="It counts every item alike: another mix of products changes it. Rejects count, too.",
            zh="各种产品同等计数：产品结构变化会使其变化；不合格品也计入。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "produced": Dimension.COUNT,
        "order_execution_time": Dimension.DURATION,
    }
    item: ClassVar[str | None] = "produced"

    kind: Literal["throughput_rate"]
    produced: SeriesSum
    order_execution_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """PQ / AOET, day by day."""
        return 3600.0 * sums["produced"], sums["order_execution_time"]
