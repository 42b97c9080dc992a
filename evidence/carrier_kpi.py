"""KPIs that bring several energy carriers to one measure, per unit of output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from evidence.carriers import Carrier, UsedFactor, carrier_problems, converted, used_factor
from evidence.factor_years import FactorYearFigure, factor_year_figures, factor_year_reason
from evidence.factors import Factor
from evidence.kpi import Problem
from evidence.kpi_description import KpiInput
from evidence.output_kpi import OUTPUT_INPUTS, OutputKpi
from evidence.ratio_kpi import Columns, PeriodRatio, RatioModel
from evidence.result import KpiResult, Reason, Wording
from evidence.table import FloatArray
from evidence.uncertainty import RatioChange

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable

CARRIER_INPUTS = (
    KpiInput(
        field="carriers",
        symbol="k A",
        meaning=Wording(
            en="series with their factors: {series: gas, factor: natural_gas, net_calorific_value: 35544}",
            zh="各能源序列及其系数",
        ),
    ),
    *OUTPUT_INPUTS,
)


class CarrierModel(RatioModel):
    """A ratio with the factors that made it, the same on both sides; ``factor_years`` says what others would have made
    of it where the factor in force changed between the periods."""

    factors: tuple[UsedFactor, ...]
    factor_years: tuple[FactorYearFigure, ...] = ()


class CarrierKpi(OutputKpi):
    """Carriers times factors, per unit of output."""

    table: ClassVar[Mapping[str, Factor]]
    """The factors that a plan may name."""
    measure: ClassVar[str]
    """kgce or kg CO2."""
    calorific: ClassVar[bool]
    """Whether a measured net calorific value gives the factor."""

    carriers: tuple[Carrier, ...] = Field(min_length=1)

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield what is wrong with carriers, outputs and target."""
        yield from carrier_problems(self.carriers, self.table, series, calorific=self.calorific)
        yield from self.output_problems(series)
        yield from self.target_problems()

    def names(self) -> list[str]:
        """Carriers and outputs."""
        return [*(carrier.series for carrier in self.carriers), *self.weights]

    def unit(self, series: Mapping[str, SeriesPlan]) -> str:
        """kgce or kg CO2 per output."""
        return f"{self.measure}/{self.output_unit(series)}"

    @property
    def factors(self) -> tuple[UsedFactor, ...]:
        """The factor of each carrier."""
        return tuple(used_factor(carrier, self.table) for carrier in self.carriers)

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """The ratio by the plan's factors, and beside it by those of other years where they matter."""
        result = super().evaluate(plan, table)

        def by_others(carriers: tuple[Carrier, ...]) -> KpiResult:
            return super(CarrierKpi, self.model_copy(update={"carriers": carriers})).evaluate(plan, table)

        figures = factor_year_figures(plan, self.table, self.carriers, by_others)
        if not figures:
            return result
        return result.model_copy(
            update={
                "model": result.model.model_copy(update={"factor_years": figures}),
                "reasons": (*result.reasons, factor_year_reason(result, figures)),
            }
        )

    def columns(self, table: IntervalTable) -> Columns | Reason:
        """The converted amount, never rounded, and the output."""
        return {"amount": converted(table, self.factors), **self.output_values(table)}

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """Amount over output, or over days."""
        return self.per_output(sums["amount"], sums)

    def model_of(self, baseline: PeriodRatio, reporting: PeriodRatio, sampled: RatioChange | None) -> CarrierModel:
        """The ratio's model with its factors."""
        model = super().model_of(baseline, reporting, sampled)
        return CarrierModel(**{name: getattr(model, name) for name in RatioModel.model_fields}, factors=self.factors)
