"""OEE index: PRI x GQ / PBT."""

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


class OverallEquipmentEffectiveness(RatioKpi):
    """``oee``: PRI x GQ / PBT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="oee",
        name=Wording(en="OEE index", zh="设备综合效率 OEE"),
        objectives=(Objective.EFFICIENCY,),
        formula="PRI x GQ / PBT",
        source=clause("Overall equipment effectiveness index"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("planned_run_time", "good", "planned_busy_time"),
        cannot_tell=Wording(
            en="One figure for three losses: it does not tell which of availability, effectiveness and quality "
            "changed. It compares a machine with itself, not with another one. It equals availability x "
            "effectiveness x quality ratio, whatever the actual production time.",
            zh="一个数值反映三类损失，不说明是可用率、效能还是合格率发生变化；只能与自身比较，不宜用于不同设备之间。其"
            "值等于可用率×效能×合格率。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "good": Dimension.COUNT,
        "planned_busy_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = STALE_RUN_TIME

    kind: Literal["oee"]
    planned_run_time: RunTime
    good: SeriesSum
    planned_busy_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """PRI x GQ / PBT, day by day."""
        return self.planned_run_time.seconds * sums["good"], sums["planned_busy_time"]
