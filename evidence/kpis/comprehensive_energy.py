"""Comprehensive energy consumption in standard coal equivalent, per unit of output: sum of k A / O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.carrier_kpi import CARRIER_INPUTS, CarrierKpi
from evidence.factors import COAL_EQUIVALENT, Factor
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.result import Wording


class ComprehensiveEnergy(CarrierKpi):
    """``comprehensive_energy``: all carriers in kgce per unit of output."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="comprehensive_energy",
        name=Wording(en="Comprehensive energy per unit of output", zh="单位产品综合能耗"),
        objectives=(Objective.GREEN,),
        formula="sum of k A / O",
        source="GB/T 2589-2020, comprehensive energy consumption and per unit of output; 1 kgce = 29307.6 kJ",
        unit="kgce/unit of output",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=CARRIER_INPUTS,
        cannot_tell=Wording(
            en="It holds only the carriers that the plan names, by default factors where no calorific value is "
            "measured. A move from one carrier to another changes it without any energy saved.",
            zh="只包括方案列出的能源；未实测热值的采用默认系数。改用另一种能源也会使其变化，并不等于节能。",
        ),
    )
    table: ClassVar[Mapping[str, Factor]] = COAL_EQUIVALENT
    measure: ClassVar[str] = "kgce"
    calorific: ClassVar[bool] = True

    kind: Literal["comprehensive_energy"]
