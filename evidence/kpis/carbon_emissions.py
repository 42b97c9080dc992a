"""CO2 of the energy used, per unit of output: sum of f A / O, from energies and never from rounded emissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from evidence.carrier_kpi import CARRIER_INPUTS, CarrierKpi
from evidence.factors import GRID_CARBON, Factor
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, Objective
from evidence.result import Wording


class CarbonEmissions(CarrierKpi):
    """``carbon_emissions``: all carriers in kg CO2 per unit of output."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="carbon_emissions",
        name=Wording(en="CO2 per unit of output", zh="单位产品二氧化碳排放"),
        objectives=(Objective.GREEN,),
        formula="sum of f A / O",
        source="GB/T 32150-2015, activity data times emission factor; electricity: Ministry of Ecology and Environment",
        unit="kgCO2/unit of output",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=CARRIER_INPUTS,
        cannot_tell=Wording(
            en="One factor year stands on both sides: what a cleaner grid saved is left out on purpose. Fuels count by "
            "the factor that the plan states; process emissions are not in it.",
            zh="前后采用同一年度的因子：电网变清洁带来的下降有意不计。燃料按方案给出的因子计算；不含工业过程排放。",
        ),
    )
    table: ClassVar[Mapping[str, Factor]] = GRID_CARBON
    measure: ClassVar[str] = "kgCO2"
    calorific: ClassVar[bool] = False

    kind: Literal["carbon_emissions"]
