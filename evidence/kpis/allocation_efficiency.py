"""Allocation efficiency: AUBT / PBT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.kpi_reasons import INPUTS_CONTRADICT
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class AllocationEfficiency(RatioKpi):
    """``allocation_efficiency``: AUBT / PBT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="allocation_efficiency",
        name=Wording(en="Allocation efficiency", zh="分配效率"),
        objectives=(Objective.EFFICIENCY,),
        formula="AUBT / PBT",
        source=clause("Allocation efficiency"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("busy_time", "planned_busy_time"),
        cannot_tell=Wording(
            en="It says how much of the planned time orders filled. A shortage of orders lowers it like a breakdown "
            "does.",
            zh="只说明计划时间中有多少用于执行订单；订单不足与设备故障都会使其下降。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "busy_time": Dimension.DURATION,
        "planned_busy_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["allocation_efficiency"]
    busy_time: SeriesSum
    planned_busy_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """AUBT / PBT, day by day."""
        return sums["busy_time"], sums["planned_busy_time"]
