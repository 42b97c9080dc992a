"""Mean operating time between failures: operating time / failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.event_rates import mean_time_change_interval
from evidence.iso_22400 import element_inputs
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.quantities import SECONDS_PER_UNIT
from evidence.ratio_kpi import Columns, PeriodRatio, RatioKpi, RatioModel
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray
from evidence.uncertainty import RatioChange


class MeanTimeBetweenFailures(RatioKpi):
    """``mtbf``: operating time / failures."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="mtbf",
        name=Wording(en="Mean operating time between failures", zh="平均故障间隔时间 MTBF"),
        objectives=(Objective.EFFICIENCY, Objective.SAFETY),
        formula="TBF / FE",
        source="IEC 60050-192:2015, 192-05-13; ISO 22400-2:2014, clause 8, MTBF (there over FE + 1)",
        unit="h",
        better=Better.HIGHER,
        interval=IntervalMethod.EXACT_POISSON,
        inputs=element_inputs("operating_time", "failures"),
        cannot_tell=Wording(
            en="Divided by the failures, as IEC 60050-192 does; ISO 22400-2 divides by failures + 1. Failures that "
            "come "
            "in clusters make the interval too narrow, and few failures make it very wide.",
            zh="按 IEC 60050-192 除以故障次数；ISO 22400-2 除以故障次数加 1。故障成串出现时区间偏窄，故障很少时区间很"
            "宽。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "operating_time": Dimension.DURATION,
        "failures": Dimension.COUNT,
    }

    kind: Literal["mtbf"]
    operating_time: SeriesSum
    failures: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """TBF / FE, day by day."""
        return sums["operating_time"] / SECONDS_PER_UNIT["h"], sums["failures"]

    def bounds(
        self, baseline: PeriodRatio, reporting: PeriodRatio
    ) -> tuple[tuple[float, float] | None, RatioChange | None]:
        """The exact interval of two Poisson rates."""
        before, after = ((float(one.numerator.sum()), round(one.denominator.sum())) for one in (baseline, reporting))
        return mean_time_change_interval(before, after, self.confidence), None

    def model_of(self, baseline: PeriodRatio, reporting: PeriodRatio, sampled: RatioChange | None) -> RatioModel:
        """As of every ratio, by another method."""
        return super().model_of(baseline, reporting, sampled).model_copy(update={"kind": "poisson_rates"})
