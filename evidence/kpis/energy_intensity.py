"""Energy per unit of output, before and after: the ratio of sums, never the mean of ratios.

It says that a unit took less energy, not why: fewer small batches, warmer days or a better mix of products lower it
too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np

from evidence import reasons
from evidence.days import PeriodDays, period_days
from evidence.kpi import KpiPlan, Problem, energy_problem, series_problem
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, Reason, ResultModel
from evidence.sufficiency import coverage_reasons
from evidence.uncertainty import BLOCK_DAYS, REPLICATES, SEED, RatioChange, RatioSample, ratio_change_interval
from evidence.verdict import decide

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable

MINIMUM_DAYS = 28
"""Four blocks of a week in each period: a spread from fewer is a guess."""


class IntensityDay(ResultModel):
    """One used day. ``intensity`` is None without output; it is shown, never averaged."""

    day: date
    period: Literal["baseline", "reporting"]
    energy: float
    output: float | None
    intensity: float | None


class IntensityModel(KpiModel):
    """How the ratio and its interval came about. Sums are in the units of the series."""

    kind: Literal["ratio_of_sums"] = "ratio_of_sums"
    energy: str
    energy_unit: str
    output: str | None
    output_unit: str | None
    energy_sums: tuple[float, float]
    output_sums: tuple[float, float] | None
    block_days: int
    blocks: tuple[int, int] | None
    replicates: int
    seed: int
    rho: float | None
    log_standard_error: float | None
    daily: tuple[IntensityDay, ...]


class EnergyIntensity(KpiPlan):
    """``energy`` per ``output``. Without ``output`` energy a day is shown, and no verdict is given."""

    kind: Literal["energy_intensity"]
    energy: str
    output: str | None = None

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, an energy that is none, and an output that is no production."""
        yield from energy_problem(("energy",), self.energy, series)
        if self.output is None:
            return
        yield from series_problem(("output",), self.output, series)
        if self.output in series and not series[self.output].definition.production:
            yield (
                ("output",),
                f"'{self.output}' is {series[self.output].quantity}, which is nothing that a factory makes",
            )

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Compute ratio, change, interval and verdict."""
        names = [self.energy] if self.output is None else [self.energy, self.output]
        baseline = period_days(table, plan.baseline, names)
        reporting = period_days(table, plan.reporting, names)
        found = [reasons.no_production_variable()] if self.output is None else []
        found += coverage_reasons(baseline, reporting, MINIMUM_DAYS, MINIMUM_DAYS)
        before, value_reasons_before = self._value(baseline, "baseline")
        after, value_reasons_after = self._value(reporting, "reporting")
        found += value_reasons_before + value_reasons_after
        change = None if before is None or after is None or before <= 0 else after / before - 1.0
        sampled = None
        if not found:
            sampled = ratio_change_interval(self._sample(baseline), self._sample(reporting), self.confidence)
            if sampled.interval is None:
                found.append(reasons.interval_undetermined())
        interval = sampled.interval if sampled is not None else None
        verdict = decide(interval, self.target_change)
        if interval is not None:
            found.append(reasons.finding(verdict, interval, self.target_change, self.confidence))
            found.append(reasons.ratio_not_adjusted())
        energy_unit = plan.series[self.energy].unit
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=f"{energy_unit}/{'d' if self.output is None else plan.series[self.output].unit}",
            baseline=before,
            reporting=after,
            change=change,
            interval=interval,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=Coverage(baseline=baseline.coverage, reporting=reporting.coverage),
            model=self._model(plan, baseline, reporting, sampled),
        )

    def _value(self, days: PeriodDays, side: reasons.Side) -> tuple[float | None, list[Reason]]:
        if days.n_used == 0:
            return None, []
        if self.output is None:
            return float(days.used_values(self.energy).mean()), []
        energy = float(days.used_sums(self.energy).sum())
        output = float(days.used_sums(self.output).sum())
        if output <= 0:
            return None, [reasons.no_output(side)]
        return energy / output, [] if energy > 0 else [reasons.no_energy(side)]

    def _sample(self, days: PeriodDays) -> RatioSample:
        assert self.output is not None  # noqa: S101 - without output no interval is asked for
        return RatioSample(
            numerator=np.where(days.used, days.sums[self.energy], 0.0),
            denominator=np.where(days.used, days.sums[self.output], 0.0),
            used=days.used,
            weekdays=np.array([day.weekday() for day in days.days], dtype=np.int64),
        )

    def _model(
        self, plan: Plan, baseline: PeriodDays, reporting: PeriodDays, sampled: RatioChange | None
    ) -> IntensityModel:
        output = self.output
        sides = (baseline, reporting)
        return IntensityModel(
            days=DayUse(baseline=baseline.use(), reporting=reporting.use()),
            energy=self.energy,
            energy_unit=plan.series[self.energy].unit,
            output=output,
            output_unit=None if output is None else plan.series[output].unit,
            energy_sums=_pair([float(side.used_sums(self.energy).sum()) for side in sides]),
            output_sums=None if output is None else _pair([float(side.used_sums(output).sum()) for side in sides]),
            block_days=BLOCK_DAYS,
            blocks=None if sampled is None else sampled.blocks,
            replicates=REPLICATES,
            seed=SEED,
            rho=None if sampled is None else sampled.rho,
            log_standard_error=None if sampled is None else sampled.log_standard_error,
            daily=(*self._daily(baseline, "baseline"), *self._daily(reporting, "reporting")),
        )

    def _daily(self, days: PeriodDays, period: Literal["baseline", "reporting"]) -> Iterator[IntensityDay]:
        energies = days.used_sums(self.energy).tolist()
        outputs = [None] * len(energies) if self.output is None else days.used_sums(self.output).tolist()
        for day, energy, output in zip(days.used_days, energies, outputs, strict=True):
            intensity = energy / output if output else None
            yield IntensityDay(day=day, period=period, energy=energy, output=output, intensity=intensity)


def _pair(values: list[float]) -> tuple[float, float]:
    first, second = values
    return first, second
