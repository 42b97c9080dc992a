"""Rework ratio: RQ / PQ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class ReworkRatio(RatioKpi):
    """``rework_ratio``: RQ / PQ."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="rework_ratio",
        name=Wording(en="Rework ratio", zh="返工率"),
        objectives=(Objective.QUALITY,),
        formula="RQ / PQ",
        source=clause("Rework ratio"),
        unit="1",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("rework", "produced"),
        cannot_tell=Wording(
            en="Items that are reworked twice count as often as they are reported, and rework that nobody reports "
            "does not count.",
            zh="多次返工按上报次数计；未上报的返工不计入。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "rework": Dimension.COUNT,
        "produced": Dimension.COUNT,
    }

    kind: Literal["rework_ratio"]
    rework: SeriesSum
    produced: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """RQ / PQ, day by day."""
        return sums["rework"], sums["produced"]
