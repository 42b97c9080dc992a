"""Cost of electricity under a time-of-use tariff: per unit of output, or per kWh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evidence import kpi_reasons, reasons
from evidence.kpi import Problem, energy_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.output_kpi import OUTPUT, OUTPUT_INPUTS, OutputKpi
from evidence.quantities import KWH_PER_UNIT
from evidence.ratio_kpi import Columns, PeriodRatio, RatioModel
from evidence.result import Reason, ResultModel, Wording
from evidence.table import FloatArray
from evidence.tariff import Tariff
from evidence.uncertainty import RatioChange

if TYPE_CHECKING:
    from evidence.plan import SeriesPlan
    from evidence.table import IntervalTable


class TariffShare(ResultModel):
    """Energy of one tariff period over the used days, baseline and reporting, kWh."""

    name: str
    price: float
    energy_kwh: tuple[float, float]


class EnergyCostModel(RatioModel):
    """A ratio with the tariff that made it, the same on both sides."""

    currency: str
    citation: str
    effective: str
    tariff: tuple[TariffShare, ...]


class EnergyCost(OutputKpi):
    """``energy_cost``: price times energy, by interval, per unit of output; per kWh without output."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="energy_cost",
        name=Wording(en="Cost of electricity", zh="用电成本（分时电价）"),
        objectives=(Objective.COST,),
        formula="sum of p E / O; without output sum of p E / E",
        source="time-of-use tariff as published and cited in the plan (尖峰平谷); one tariff on both sides",
        unit="currency/unit of output",
        better=Better.LOWER,
        interval=IntervalMethod.BLOCK_BOOTSTRAP,
        inputs=(
            KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列")),
            KpiInput(
                field="tariff",
                symbol="p",
                meaning=Wording(
                    en="citation, effective date, and periods: {name: 谷, price: 0.28, times: ['22:00-06:00']}",
                    zh="电价文件、执行日期与各时段价格",
                ),
            ),
            *OUTPUT_INPUTS,
        ),
        cannot_tell=Wording(
            en="It is no bill: demand charge, power-factor adjustment, surcharges and changes of the tariff are not in "
            "it. Shifted load lowers it without any energy saved.",
            zh="不等于电费账单：不含基本电费、力率调整、附加费，也不反映电价变动。负荷转移会使其下降，但不等于节能。",
        ),
    )

    kind: Literal["energy_cost"]
    energy: str
    tariff: Tariff

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield an energy that is none, and what is wrong with outputs and target."""
        yield from energy_problem(("energy",), self.energy, series)
        yield from self.output_problems(series)
        yield from self.target_problems()

    def names(self) -> list[str]:
        """The energy and the outputs."""
        return [self.energy, *self.weights]

    def unit(self, series: Mapping[str, SeriesPlan]) -> str:
        """Currency per output, or per kWh."""
        return f"{self.tariff.currency}/{self.output_unit(series) if self.weights else 'kWh'}"

    def blocking(self) -> list[Reason]:
        """A mean price needs no output: it says when energy was used, not how much."""
        return []

    def value_reasons(self, side: reasons.Side, period: PeriodRatio) -> Iterator[Reason]:
        """Yield a period without output or energy."""
        if not self.weights and period.days.n_used and float(period.denominator.sum()) <= 0:
            yield reasons.no_energy(side)
        else:
            yield from super().value_reasons(side, period)

    def caveat(self) -> Reason:
        """What a cost is not."""
        return kpi_reasons.limits(self.description.cannot_tell)

    def columns(self, table: IntervalTable) -> Columns | Reason:
        """Cost, energy of each tariff period, and output; or that the intervals are too long for the tariff."""
        if not self.tariff.fits(table.step_ms):
            return _too_coarse(table.step_ms // 60_000)
        energy = table.stated(self.energy) * KWH_PER_UNIT[table.series[self.energy].unit]
        period = self.tariff.period_of(table)
        prices = np.array([one.price for one in self.tariff.periods])
        by_period = {
            f"energy_{number}": np.where(period == number, energy, np.where(np.isfinite(energy), 0.0, np.nan))
            for number, one in enumerate(self.tariff.periods)
        }
        return {"cost": energy * prices[period], "energy": energy, **by_period, **self.output_values(table)}

    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """Cost over output, or over energy."""
        return sums["cost"], sums[OUTPUT if self.weights else "energy"]

    def model_of(self, baseline: PeriodRatio, reporting: PeriodRatio, sampled: RatioChange | None) -> EnergyCostModel:
        """The ratio's model with the tariff."""
        model = super().model_of(baseline, reporting, sampled)
        return EnergyCostModel(
            **{name: getattr(model, name) for name in RatioModel.model_fields},
            currency=self.tariff.currency,
            citation=self.tariff.citation,
            effective=self.tariff.effective.isoformat(),
            tariff=tuple(
                TariffShare(name=one.name, price=one.price, energy_kwh=model.sums.get(f"energy_{number}", (0.0, 0.0)))
                for number, one in enumerate(self.tariff.periods)
            ),
        )


def _too_coarse(minutes: int) -> Reason:
    return Reason(
        code="intervals_too_long_for_tariff",
        level="blocking",
        en=f"Intervals of {minutes} min do not tell in which tariff period energy was used; hand in shorter ones.",
        zh=f"{minutes} min 的区间无法区分电价时段，请提供更短的区间数据。",
    )
