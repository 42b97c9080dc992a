"""Set-up ratio: AUST / AUPT."""

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


class SetupRatio(RatioKpi):
    """``setup_ratio``: AUST / AUPT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="setup_ratio",
        name=Wording(en="Set-up ratio", zh="准备时间占比"),
        objectives=(Objective.EFFICIENCY,),
        formula="AUST / AUPT",
        source=clause("Setup rate"),
        unit="1",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("setup_time", "processing_time"),
        cannot_tell=Wording(
            en="Fewer and larger batches lower it without any faster set-up, and raise the stock.",
            zh="减少批次、增大批量也会使其下降，但准备并未加快，库存反而增加。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "setup_time": Dimension.DURATION,
        "processing_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["setup_ratio"]
    setup_time: SeriesSum
    processing_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """AUST / AUPT, day by day."""
        return sums["setup_time"], sums["processing_time"]
