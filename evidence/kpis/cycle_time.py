"""Cycle time: APT / PQ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class CycleTime(RatioKpi):
    """``cycle_time``: APT / PQ."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="cycle_time",
        name=Wording(en="Cycle time", zh="实际节拍"),
        objectives=(Objective.EFFICIENCY,),
        formula="APT / PQ",
        source="reciprocal of the production rate in actual production time (APT, PQ of ISO 22400-2:2014); compare PRI",
        unit="s/item",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("production_time", "produced"),
        cannot_tell=Wording(
            en="It is a mean over all items: another mix of products changes it, and single slow cycles are not seen.",
            zh="为全部产品的平均值：产品结构变化会使其变化，也看不到个别慢节拍。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "production_time": Dimension.DURATION,
        "produced": Dimension.COUNT,
    }
    item: ClassVar[str | None] = "produced"

    kind: Literal["cycle_time"]
    production_time: SeriesSum
    produced: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """APT / PQ, day by day."""
        return sums["production_time"], sums["produced"]
