"""Normalised saving: both periods under the same conditions, each by a model of its own.

IPMVP: where savings are stated under fixed, normal conditions, a model of the reporting period is learnt as well as one
of the baseline. Normal conditions are here those of all used days of both periods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from scipy import stats

from evidence import kpi_reasons, reasons
from evidence.baseline_model import Conditions, FittedModel
from evidence.day_conditions import day_conditions, outdoor_temperature
from evidence.days import PeriodDays, period_days
from evidence.industrial_gate import MAXIMUM_MODEL_P, MINIMUM_R2, gate_reasons
from evidence.kpi import KpiPlan, Problem, energy_problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.models import MODELS
from evidence.ratio_kpi import MINIMUM_DAYS
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, Reason, Wording
from evidence.sufficiency import coverage_reasons
from evidence.table import FloatArray, IntArray
from evidence.uncertainty import debiased_autocorrelation, effective_size, lag_one_autocorrelation
from evidence.verdict import decide
from wire.document import suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable


class NormalisedModel(KpiModel):
    """Both models; pairs are baseline and reporting. ``normal_days`` is the number of days that both are driven by."""

    energy: str
    energy_unit: str
    variables: tuple[str, ...]
    normal_days: int
    coefficients_of_periods: tuple[dict[str, float], dict[str, float]]
    r2_of_periods: tuple[float | None, float | None]
    rho_of_periods: tuple[float | None, float | None]
    standard_errors: tuple[float | None, float | None]
    t: float | None
    saving: float | None
    half_width: float | None


@dataclass(frozen=True)
class _Learnt:
    """A period's model and what it says for the normal days; ``variance`` is that of ``total``, None where n' <= p."""

    model: FittedModel
    total: float
    rho: float
    degrees: float
    variance: float | None

    @classmethod
    def of(cls, model: FittedModel, days: IntArray, normal: Conditions) -> _Learnt:
        fit, design = model.fit, model.design(normal)
        rho = lag_one_autocorrelation(fit.residuals, days)
        degrees = effective_size(fit.n, rho) - fit.p
        noise_rho = debiased_autocorrelation(rho, fit.n)
        column: FloatArray = design.sum(axis=0)
        spread = float(column @ fit.inverse @ column) * fit.variance
        return cls(
            model=model,
            total=float((design @ fit.coefficients).sum()),
            rho=rho,
            degrees=degrees,
            variance=spread * (1.0 + noise_rho) / (1.0 - noise_rho) if degrees >= 1.0 else None,
        )


class NormalisedSaving(KpiPlan):
    """Saving of ``energy`` between two models on ``variables`` under common conditions."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="normalised_saving",
        name=Wording(en="Energy under normal conditions", zh="同等条件下的能耗（归一化）"),
        objectives=(Objective.GREEN,),
        formula="sum of E^_baseline(x) - sum of E^_reporting(x), x = all used days of both periods",
        source="IPMVP, normalised savings, options B and C",
        unit="kWh",
        better=Better.LOWER,
        interval=IntervalMethod.MODEL,
        inputs=(
            KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列")),
            KpiInput(field="variables", symbol="x", meaning=Wording(en="what drives the energy", zh="影响用能的变量")),
            KpiInput(field="model", symbol="E^", meaning=Wording(en="model of both", zh="两期模型"), optional=True),
        ),
        cannot_tell=Wording(
            en="It is what two models say, not what a meter read: it is no amount of energy that was really avoided. "
            "Both extrapolate where a period has not seen the other's conditions.",
            zh="为两个模型的推算值，并非电表读数，也不是实际避免的用能；一方未出现的条件属于外推。",
        ),
    )

    kind: Literal["normalised_saving"]
    energy: str
    model: str = "linear"
    variables: tuple[str, ...] = Field(min_length=1)

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in MODELS:
            raise ValueError(f"unknown model{suggestion(model, list(MODELS))}")
        return model

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, an energy that is none, variables that cannot be, and a target of wrong direction."""
        yield from energy_problem(("energy",), self.energy, series)
        for position, name in enumerate(self.variables):
            where = ("variables", position)
            yield from series_problem(where, name, series)
            if name == self.energy:
                yield where, f"'{name}' is the energy to be explained; it cannot explain itself"
            elif name in self.variables[:position]:
                yield where, f"'{name}' stands twice; keep one"
        known = all(name in series for name in self.variables)
        if known and MODELS[self.model].needs_temperature and outdoor_temperature(series, self.variables) is None:
            yield ("model",), f"'{self.model}' needs an outdoor temperature; name a series of quantity temperature"
        yield from self.target_problems()

    def names(self) -> list[str]:
        """The energy and what drives it."""
        return [self.energy, *self.variables]

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Learn twice, drive both by the same days, compare."""
        names = self.names()
        sides = (period_days(table, plan.baseline, names), period_days(table, plan.reporting, names))
        before, after = self._learn(plan, sides)
        found = self._reasons(plan, sides, before, after)
        blocked = any(reason.level == "blocking" for reason in found)
        change = saving = t = half = None
        interval = None
        if before is not None and after is not None and before.total > 0:
            saving, change = before.total - after.total, after.total / before.total - 1.0
            if not blocked and before.variance is not None and after.variance is not None:
                t = float(stats.t.ppf(0.5 + self.confidence / 2.0, min(before.degrees, after.degrees)))
                half = t * math.sqrt(before.variance + after.variance)
                relative = t * math.sqrt(after.variance + (1.0 + change) ** 2 * before.variance) / before.total
                interval = (change - relative, change + relative)
        verdict = decide(interval, self.target_change)
        if interval is not None:
            said = reasons.finding(verdict, interval, self.target_change, self.confidence)
            found = [said, *found, kpi_reasons.limits(self.description.cannot_tell)]
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=plan.series[self.energy].unit,
            baseline=None if before is None else before.total,
            reporting=None if after is None else after.total,
            change=change,
            interval=interval,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=Coverage(baseline=sides[0].coverage, reporting=sides[1].coverage),
            model=NormalisedModel(
                kind=self.model,
                days=DayUse(baseline=sides[0].use(), reporting=sides[1].use()),
                energy=self.energy,
                energy_unit=plan.series[self.energy].unit,
                variables=self.variables,
                normal_days=sides[0].n_used + sides[1].n_used,
                coefficients_of_periods=(_coefficients(before), _coefficients(after)),
                r2_of_periods=(_r2(before), _r2(after)),
                rho_of_periods=(_rho(before), _rho(after)),
                standard_errors=(_standard_error(before), _standard_error(after)),
                t=t,
                saving=saving,
                half_width=half,
            ),
        )

    def _learn(self, plan: Plan, sides: tuple[PeriodDays, PeriodDays]) -> tuple[_Learnt | None, _Learnt | None]:
        first, second = (day_conditions(plan.series, self.variables, days) for days in sides)
        normal = Conditions(
            ordinals=np.concatenate([first.ordinals, second.ordinals]),
            variables={
                name: np.concatenate([first.variables[name], second.variables[name]]) for name in self.variables
            },
            temperature=first.temperature,
            temperature_unit=first.temperature_unit,
        )
        models = (
            MODELS[self.model].learn(conditions, days.used_values(self.energy))
            for conditions, days in zip((first, second), sides, strict=True)
        )
        before, after = (
            None if model is None else _Learnt.of(model, days.used_ordinals, normal)
            for model, days in zip(models, sides, strict=True)
        )
        return before, after

    def _reasons(
        self, plan: Plan, sides: tuple[PeriodDays, PeriodDays], before: _Learnt | None, after: _Learnt | None
    ) -> list[Reason]:
        series = plan.series
        found = []
        if not any(series[name].definition.production for name in self.variables):
            found.append(reasons.no_production_variable())
        endogenous = [name for name in self.variables if not series[name].definition.exogenous]
        if endogenous:
            found.append(reasons.variable_not_exogenous(endogenous))
        found += coverage_reasons(*sides, MINIMUM_DAYS, MINIMUM_DAYS)
        if before is None or after is None:
            return [*found, reasons.coefficients_undetermined(self.variables)]
        if before.total <= 0:
            found.append(reasons.non_positive_baseline(before.total, series[self.energy].unit))
        found += gate_reasons(before.model)
        r2, (_, p_value) = after.model.fit.r2, after.model.fit.f_test
        if r2 is None or r2 < MINIMUM_R2 or (p_value is not None and p_value > MAXIMUM_MODEL_P):
            found.append(kpi_reasons.reporting_model_fails(r2, p_value))
        for learnt in (before, after):
            if learnt.variance is None:
                n_effective = learnt.degrees + learnt.model.fit.p
                found.append(reasons.not_determinable(learnt.rho, n_effective, learnt.model.fit.p))
        return found


def _coefficients(learnt: _Learnt | None) -> dict[str, float]:
    if learnt is None:
        return {}
    return dict(zip([term.name for term in learnt.model.terms], learnt.model.fit.coefficients.tolist(), strict=True))


def _r2(learnt: _Learnt | None) -> float | None:
    return None if learnt is None else learnt.model.fit.r2


def _rho(learnt: _Learnt | None) -> float | None:
    return None if learnt is None else learnt.rho


def _standard_error(learnt: _Learnt | None) -> float | None:
    return None if learnt is None or learnt.variance is None else math.sqrt(learnt.variance)
