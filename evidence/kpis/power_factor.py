"""Mean power factor of a period: cos phi = P / sqrt(P^2 + Q^2) from active and reactive energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.ratio_kpi import Columns, RatioKpi, share_of_log
from evidence.result import Wording
from evidence.series_sum import Dimension, SeriesSum
from evidence.table import FloatArray


class PowerFactor(RatioKpi):
    """``power_factor``: P / sqrt(P^2 + Q^2) of the sums of a period."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="power_factor",
        name=Wording(en="Mean power factor", zh="平均功率因数"),
        objectives=(Objective.COST, Objective.GREEN),
        formula="P / sqrt(P^2 + Q^2)",
        source="功率因数调整电费办法, (83) 水电财字第 215 号: weighted mean power factor of a period",
        unit="1",
        better=Better.HIGHER,
        interval=IntervalMethod.LINEARISED_BOOTSTRAP,
        inputs=(
            KpiInput(field="active", symbol="P", meaning=Wording(en="active energy", zh="有功电量")),
            KpiInput(
                field="reactive",
                symbol="Q",
                meaning=Wording(
                    en="reactive energy as it is billed: lagging, or 'lagging + leading' where both count",
                    zh="计费口径的无功电量：正向，或正反向绝对值之和",
                ),
            ),
        ),
        cannot_tell=Wording(
            en="A mean: short spells of a poor power factor and overcompensation at night are not seen. It says "
            "nothing "
            "of harmonics.",
            zh="为平均值：看不到短时功率因数过低或夜间过补偿，也不反映谐波。",
        ),
    )
    dimensions: ClassVar[Mapping[str, Dimension]] = {"active": Dimension.ENERGY, "reactive": Dimension.REACTIVE}

    kind: Literal["power_factor"]
    active: SeriesSum
    reactive: SeriesSum

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """The power factor of the sums, as a ratio of sums to first order."""
        active, reactive = sums["active"], sums["reactive"]
        real, imaginary = float(active.sum()), float(reactive.sum())
        if real <= 0:
            return np.zeros_like(active), np.zeros_like(active)
        square = real**2 + imaginary**2
        contributions = imaginary**2 / (real * square) * active - imaginary / square * reactive
        return share_of_log(real / square**0.5, contributions, active)
