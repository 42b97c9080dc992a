"""Ratios over what was made: one series, or a mix of products brought to one by weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from evidence import reasons
from evidence.kpi import Problem, series_problem
from evidence.kpi_description import KpiInput
from evidence.ratio_kpi import DAYS, Columns, PeriodRatio, RatioKpi
from evidence.result import Reason, Wording
from evidence.table import FloatArray

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan
    from evidence.table import IntervalTable

OUTPUT = "output"

OUTPUT_INPUTS = (
    KpiInput(
        field="output",
        symbol="O",
        meaning=Wording(
            en="a production series; without any the figure is a day's, and has no verdict",
            zh="产量序列；缺省时按日给出，不下结论",
        ),
        optional=True,
    ),
    KpiInput(
        field="outputs",
        symbol="w O",
        meaning=Wording(
            en="instead of output: production series with their weights, {plate: 1.0, tube: 1.35}",
            zh="代替 output：各产品产量序列及其折算系数",
        ),
        optional=True,
    ),
)


class OutputKpi(RatioKpi):
    """Something per unit of output. Without output the figure is a day's, and no verdict is given.

    ``outputs`` brings several products to equivalent units of one: output = sum of weight x quantity (折合产量). The
    weights are those of both periods, so that a change of the mix is not taken for a saving.
    """

    output: str | None = None
    outputs: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    def output_problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield outputs that are unknown or no production, in several units, or stated twice."""
        if self.output is not None and self.outputs:
            yield ("outputs",), "stands beside 'output'; state either one output or a mix"
        named: list[tuple[tuple[str, ...], str]] = [(("outputs", name), name) for name in self.outputs]
        if self.output is not None:
            named.append((("output",), self.output))
        for location, name in named:
            yield from series_problem(location, name, series)
            if name in series and not series[name].definition.production:
                yield location, f"'{name}' is {series[name].quantity}, which is nothing that a factory makes"
        units = {series[name].unit for _, name in named if name in series}
        if len(units) > 1:
            yield ("outputs",), f"mixes {', '.join(sorted(units))}; state all products in one unit"

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each output series."""
        return self.outputs if self.output is None else {self.output: 1.0}

    def output_unit(self, series: Mapping[str, SeriesPlan]) -> str:
        """The unit of the output, a day without one."""
        return next((series[name].unit for name in self.weights), "d")

    def output_values(self, table: IntervalTable) -> dict[str, FloatArray]:
        """The column of the output by interval, none without output."""
        if not self.weights:
            return {}
        return {OUTPUT: np.sum([weight * table.stated(name) for name, weight in self.weights.items()], axis=0)}

    def per_output(self, amount: FloatArray, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """``amount`` over the output of each day, over days without output."""
        return amount, sums[OUTPUT if self.weights else DAYS]

    def blocking(self) -> list[Reason]:
        """Without output less may only mean that less was made."""
        return [] if self.weights else [reasons.no_production_variable()]

    def value_reasons(self, side: reasons.Side, period: PeriodRatio) -> Iterator[Reason]:
        """Yield a period without output, or without anything to divide."""
        if not period.days.n_used:
            return
        if float(period.denominator.sum()) <= 0:
            yield reasons.no_output(side)
        elif float(period.numerator.sum()) <= 0:
            yield reasons.no_energy(side)

    def caveat(self) -> Reason:
        """A ratio takes nothing out."""
        return reasons.ratio_not_adjusted()
