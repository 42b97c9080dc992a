"""Mean time to repair: TTR / FE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class MeanTimeToRepair(RatioKpi):
    """``mttr``: TTR / FE."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="mttr",
        name=Wording(en="Mean time to repair", zh="平均修复时间 MTTR"),
        objectives=(Objective.EFFICIENCY,),
        formula="TTR / FE",
        source="IEC 60050-192:2015, 192-07-23; ISO 22400-2:2014, clause 8, MTTR (there over FE + 1)",
        unit="h",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("repair_time", "failures"),
        cannot_tell=Wording(
            en="Divided by the failures, as IEC 60050-192 does; ISO 22400-2 divides by failures + 1. Waiting for a "
            "fitter and repairing are one time here.",
            zh="按 IEC 60050-192 除以故障次数；ISO 22400-2 除以故障次数加 1。等待维修与实际修理不加区分。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "repair_time": Dimension.DURATION,
        "failures": Dimension.COUNT,
    }

    kind: Literal["mttr"]
    repair_time: SeriesSum
    failures: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """TTR / FE, day by day."""
        return sums["repair_time"], 3600.0 * sums["failures"]
