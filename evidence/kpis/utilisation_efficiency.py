"""Utilisation efficiency: APT / AUBT."""

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


class UtilisationEfficiency(RatioKpi):
    """``utilisation_efficiency``: APT / AUBT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="utilisation_efficiency",
        name=Wording(en="Utilisation efficiency", zh="利用效率"),
        objectives=(Objective.EFFICIENCY,),
        formula="APT / AUBT",
        source=clause("Utilization efficiency"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("production_time", "busy_time"),
        cannot_tell=Wording(
            en="It says how much of the busy time added value, not whether the machine should have been busy at all.",
            zh="只说明占用时间中有多少用于增值生产，不说明是否应当占用。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "production_time": Dimension.DURATION,
        "busy_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["utilisation_efficiency"]
    production_time: SeriesSum
    busy_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """APT / AUBT, day by day."""
        return sums["production_time"], sums["busy_time"]
