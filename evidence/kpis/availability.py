"""Availability: APT / PBT."""

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


class Availability(RatioKpi):
    """``availability``: APT / PBT."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="availability",
        name=Wording(en="Availability", zh="可用率"),
        objectives=(Objective.EFFICIENCY,),
        formula="APT / PBT",
        source=clause("Availability"),
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=element_inputs("production_time", "planned_busy_time"),
        cannot_tell=Wording(
            en="It counts time, not speed nor quality, and it falls when set-up and waiting grow: other sheets leave "
            "set-up inside. It says nothing of time that was not planned.",
            zh="只反映时间，不反映速度和质量；准备和等待时间增加时也会下降（有的算法把准备时间计入可用时间）；不涉及未"
            "列入计划的时间。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "production_time": Dimension.DURATION,
        "planned_busy_time": Dimension.DURATION,
    }
    more_than_all: ClassVar[Wording | None] = INPUTS_CONTRADICT

    kind: Literal["availability"]
    production_time: SeriesSum
    planned_busy_time: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """APT / PBT, day by day."""
        return sums["production_time"], sums["planned_busy_time"]
