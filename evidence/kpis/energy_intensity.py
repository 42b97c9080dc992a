"""Energy per unit of output, before and after: the ratio of sums, never the mean of ratios.

It says that a unit took less energy, not why: fewer small batches, warmer days or a better mix of products lower it
too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from evidence.kpi import Problem, energy_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.output_kpi import OUTPUT_INPUTS, OutputKpi
from evidence.ratio_kpi import Columns
from evidence.result import Reason, Wording
from evidence.table import FloatArray

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan
    from evidence.table import IntervalTable


class EnergyIntensity(OutputKpi):
    """``energy`` per ``output``. Without ``output`` energy a day is shown, and no verdict is given."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="energy_intensity",
        name=Wording(en="Energy per unit of output", zh="单位产品能耗"),
        objectives=(Objective.GREEN, Objective.COST),
        formula="E / O, O = sum of w O for a mix of products",
        source="GB/T 2589-2020, energy consumption per unit of output; ISO 50006:2014, ratio of measured values",
        unit="kWh/unit of output",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=(
            KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列")),
            *OUTPUT_INPUTS,
        ),
        cannot_tell=Wording(
            en="It says that a unit took less energy, not why: weather, batches and the weight of the base load are in "
            "it. The adjusted saving takes them out.",
            zh="只说明单位产品用能减少，不说明原因：天气、批量和基本负荷占比均在其中；扣除这些影响见调整后节能量。",
        ),
    )

    kind: Literal["energy_intensity"]
    energy: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, an energy that is none, and an output that is no production."""
        yield from energy_problem(("energy",), self.energy, series)
        yield from self.output_problems(series)
        yield from self.target_problems()

    def names(self) -> list[str]:
        """The energy and the outputs."""
        return [self.energy, *self.weights]

    def unit(self, series: Mapping[str, SeriesPlan]) -> str:
        """Energy per output, as the plan states both."""
        return f"{series[self.energy].unit}/{self.output_unit(series)}"

    def columns(self, table: IntervalTable) -> Columns | Reason:
        """Energy in its own unit, and the output."""
        return {"energy": table.stated(self.energy), **self.output_values(table)}

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """Energy over output, or over days."""
        return self.per_output(sums["energy"], sums)
