"""Scrap ratio: SQ / PQ."""

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


class ScrapRatio(RatioKpi):
    """``scrap_ratio``: SQ / PQ."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="scrap_ratio",
        name=Wording(en="Scrap ratio", zh="废品率"),
        objectives=(Objective.QUALITY,),
        formula="SQ / PQ",
        source=clause("Scrap ratio"),
        unit="1",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("scrap", "produced"),
        cannot_tell=Wording(
            en="It does not tell the causes of scrap, and a change of inspection changes it without any change of the "
            "process.",
            zh="不说明报废原因；检验标准变化也会使其变化，而工艺并未改变。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "scrap": Dimension.COUNT,
        "produced": Dimension.COUNT,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["scrap_ratio"]
    scrap: SeriesSum
    produced: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """SQ / PQ, day by day."""
        return sums["scrap"], sums["produced"]
