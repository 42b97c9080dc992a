"""Quality ratio: GQ / PQ."""

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


class QualityRatio(RatioKpi):
    """``quality_ratio``: GQ / PQ."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="quality_ratio",
        name=Wording(en="Quality ratio", zh="合格率"),
        objectives=(Objective.QUALITY,),
        formula="GQ / PQ",
        source=clause("Quality ratio"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("good", "produced"),
        cannot_tell=Wording(
            en="It does not see defects that are found later or by the customer, and depends on what the factory "
            "calls good.",
            zh="看不到事后或由客户发现的缺陷，并取决于企业对合格的界定。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "good": Dimension.COUNT,
        "produced": Dimension.COUNT,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["quality_ratio"]
    good: SeriesSum
    produced: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """GQ / PQ, day by day."""
        return sums["good"], sums["produced"]
