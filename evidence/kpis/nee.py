"""Net equipment effectiveness: OEE that does not count set-up as a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from evidence.iso_22400 import RunTime, clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.kpi_reasons import STALE_RUN_TIME
from evidence.ratio_kpi import Columns, RatioKpi, share_of_log
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class NetEquipmentEffectiveness(RatioKpi):
    """``nee``: AUPT / PBT x PRI x GQ / APT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="nee",
        name=Wording(en="NEE index", zh="设备净效率 NEE"),
        objectives=(Objective.EFFICIENCY,),
        formula="AUPT / PBT x PRI x GQ / APT",
        source=clause("Net equipment effectiveness index"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.LINEARISED_BOOTSTRAP,
        inputs=element_inputs("planned_run_time", "good", "processing_time", "production_time", "planned_busy_time"),
        cannot_tell=Wording(
            en="It forgives set-up time, so that it is never below OEE; beside OEE it shows what set-up costs, alone "
            "it "
            "hides it.",
            zh="不把准备时间计为损失，故不低于 OEE；与 OEE 对照可看出准备时间的影响，单独使用则会掩盖。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "good": Dimension.COUNT,
        "processing_time": Dimension.DURATION,
        "production_time": Dimension.DURATION,
        "planned_busy_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = STALE_RUN_TIME

    kind: Literal["nee"]
    planned_run_time: RunTime
    good: SeriesSum
    processing_time: SeriesSum
    production_time: SeriesSum
    planned_busy_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """The product of two ratios of sums, as a ratio of sums to first order."""
        processing, production = sums["processing_time"], sums["production_time"]
        good, planned = sums["good"], sums["planned_busy_time"]
        totals = [float(part.sum()) for part in (processing, good, planned, production)]
        if min(totals) <= 0:
            exists = totals[2] > 0 and totals[3] > 0
            return np.zeros_like(planned), planned if exists else np.zeros_like(planned)
        value = totals[0] / totals[2] * self.planned_run_time.seconds * totals[1] / totals[3]
        shares = processing / totals[0] + good / totals[1] - planned / totals[2] - production / totals[3]
        return share_of_log(value, shares, planned)
