"""Technical efficiency: APT / (APT + ADET)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.iso_22400 import clause, element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.ratio_kpi import Columns, RatioKpi
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class TechnicalEfficiency(RatioKpi):
    """``technical_efficiency``: APT / (APT + ADET)."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="technical_efficiency",
        name=Wording(en="Technical efficiency", zh="技术效率"),
        objectives=(Objective.EFFICIENCY,),
        formula="APT / (APT + ADET)",
        source=clause("Technical efficiency"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("production_time", "delay_time"),
        cannot_tell=Wording(
            en="It does not tell a delay of the machine from one that was forced on it by missing material or staff.",
            zh="无法区分设备自身的延误与缺料、缺人造成的延误。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "production_time": Dimension.DURATION,
        "delay_time": Dimension.DURATION,
    }

    kind: Literal["technical_efficiency"]
    production_time: SeriesSum
    delay_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """APT / (APT + ADET), day by day."""
        return sums["production_time"], sums["production_time"] + sums["delay_time"]
