"""Avoided energy: what the reporting period would have used before the retrofit, minus what it did use.

IPMVP options B and C: a model of daily energy is learnt on the baseline days, driven by the conditions of the reporting
days, and compared with the measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator

from evidence import doubt_reasons, reasons
from evidence.alternative_intervals import AlternativeInterval, alternative_intervals
from evidence.baseline_model import Conditions, FittedModel
from evidence.comparison import Comparison, compare
from evidence.day_conditions import day_conditions, outdoor_temperature
from evidence.days import PeriodDays, period_days
from evidence.detectable_change import DetectableSaving, detectable_saving
from evidence.industrial_gate import gate_reasons
from evidence.kpi import KpiPlan, Problem, energy_problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.model_choice import Judged, judge
from evidence.models import MODELS
from evidence.placebo import Placebo, placebo_test
from evidence.quantities import Aggregation
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, Reason, ResultModel, VariableRange, Wording
from evidence.specification_curve import SpecificationCurve, SpecificationData, specification_curve
from evidence.sufficiency import coverage_reasons
from evidence.table import FloatArray
from evidence.verdict import decide
from wire.document import suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable

AUTOMATIC = "auto"
"""In a plan: the model is chosen by the rule of `evidence.model_choice`, and the runners-up are shown."""

MINIMUM_BASELINE_DAYS = 28
"""Four weeks: every weekday is seen four times."""
MINIMUM_REPORTING_DAYS = 7
"""One week: every weekday is seen."""
CALTRACK_BASELINE_DAYS = 365

MAXIMUM_STANDARD_DEVIATIONS = 3.0


class Coefficient(ResultModel):
    """One coefficient with its unit; standard error and p for independent residuals, as the gate wants them."""

    name: str
    value: float
    unit: str
    standard_error: float
    p_value: float


class ModelCandidate(ResultModel):
    """A model that the choice looked at: CV(RMSE) on weeks left out of its learning, and that of its fit on all days.

    Both are None for a model that the days do not determine.
    """

    name: str
    p: int | None
    cv_rmse_left_out: float | None
    cv_rmse: float | None


class SavingDay(ResultModel):
    """One used day: measured energy, and what the baseline model says for the day's conditions."""

    day: date
    period: Literal["baseline", "reporting"]
    measured: float
    adjusted_baseline: float
    residual: float


class SavingModel(KpiModel):
    """The baseline model and its goodness. Energies are in ``energy_unit``; fields are None where undefined.

    ``candidates`` are the models that were weighed, the chosen one first, when the plan leaves the choice to us.
    ``n`` baseline days, ``p`` coefficients, ``m`` reporting days. ``residuals`` are those of the baseline days,
    measured minus fitted. ``saving`` is avoided energy, positive = less was used; ``standard_error`` and ``half_width``
    are of the saving, and there is no half width where there is no interval. ``placebo``,
    ``detectable``, ``alternative_intervals`` and ``specification_curve`` say how far the figure can be trusted.
    """

    kind: str
    candidates: tuple[ModelCandidate, ...]
    energy: str
    energy_unit: str
    variables: tuple[str, ...]
    coefficients: tuple[Coefficient, ...]
    n: int
    p: int | None
    m: int
    r2: float | None
    adjusted_r2: float | None
    cv_rmse: float | None
    nmbe: float | None
    f: float | None
    f_p_value: float | None
    rho: float | None
    rho_debiased: float | None
    n_effective: float | None
    degrees_of_freedom: float | None
    t: float | None
    saving: float | None
    standard_error: float | None
    half_width: float | None
    placebo: Placebo | None
    detectable: DetectableSaving | None
    alternative_intervals: tuple[AlternativeInterval, ...]
    specification_curve: SpecificationCurve | None
    ranges: tuple[VariableRange, ...]
    residuals: tuple[float, ...]
    daily: tuple[SavingDay, ...]


@dataclass(frozen=True)
class Learnt:
    """The model a KPI goes on with; None when the days do not determine it. ``candidates`` are as in the result."""

    name: str
    model: FittedModel | None
    candidates: tuple[ModelCandidate, ...]


@dataclass(frozen=True)
class _Study:
    """Days, model and comparison of one evaluation, as far as the data carry."""

    baseline: PeriodDays
    reporting: PeriodDays
    ranges: tuple[VariableRange, ...]
    learnt: Learnt
    before: Conditions
    after: Conditions
    comparison: Comparison | None


@dataclass(frozen=True)
class _Doubt:
    """How far a compared figure can be trusted beside its interval."""

    placebo: Placebo
    detectable: DetectableSaving | None
    alternatives: tuple[AlternativeInterval, ...]
    curve: SpecificationCurve | None

    def reasons(self, change: float) -> Iterator[Reason]:
        """What stands beside a claimed ``change``."""
        yield doubt_reasons.placebo_reason(self.placebo)
        if self.detectable is not None:
            yield doubt_reasons.detectable_reason(self.detectable)
        if self.curve is not None:
            yield doubt_reasons.curve_reason(self.curve, change)


class AdjustedSaving(KpiPlan):
    """Saving of ``energy`` against a baseline ``model`` on ``variables``."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="adjusted_saving",
        name=Wording(en="Energy against adjusted baseline", zh="能耗（相对调整后基准能耗）"),
        topic=Wording(en="Energy against the adjusted baseline", zh="与调整后基准能耗相比，能耗"),
        objectives=(Objective.GREEN, Objective.COST),
        formula="sum of E - sum of E^, E^ = baseline model under reporting conditions",
        source="IPMVP, avoided energy use, options B and C; GB/T 28750-2012",
        unit="kWh",
        better=Better.LOWER,
        interval=IntervalMethod.MODEL,
        inputs=(
            KpiInput(field="energy", symbol="E", meaning=Wording(en="a series of active energy", zh="有功电量序列")),
            KpiInput(
                field="variables",
                symbol="x",
                meaning=Wording(en="what drives the energy: output, outdoor temperature", zh="影响用能的变量"),
            ),
            KpiInput(field="model", symbol="E^", meaning=Wording(en="baseline model", zh="基准期模型"), optional=True),
        ),
        cannot_tell=Wording(
            en="It is the effect of all that changed at once and is not among the variables; events beside the "
            "retrofit "
            "are in it unless they are recorded and taken out.",
            zh="反映变量之外所有同时发生的变化；改造以外的事件若未记录并扣除，也包含在内。",
        ),
    )
    kind: Literal["adjusted_saving"]
    energy: str
    model: str = "linear"
    variables: tuple[str, ...] = ()

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: str) -> str:
        if model not in (*MODELS, AUTOMATIC):
            raise ValueError(f"unknown model{suggestion(model, [*MODELS, AUTOMATIC])}")
        return model

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield unknown series, an energy that is none, and variables that stand twice or are the energy itself."""
        yield from energy_problem(("energy",), self.energy, series)
        for position, name in enumerate(self.variables):
            where = ("variables", position)
            yield from series_problem(where, name, series)
            if name == self.energy:
                yield where, f"'{name}' is the energy to be explained; it cannot explain itself"
            elif name in self.variables[:position]:
                yield where, f"'{name}' stands twice; keep one"
        known = all(name in series for name in self.variables)
        needed = self.model != AUTOMATIC and MODELS[self.model].needs_temperature
        if known and needed and outdoor_temperature(series, self.variables) is None:
            yield ("model",), f"'{self.model}' needs an outdoor temperature; name a series of quantity temperature"
        yield from self.target_problems()

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Learn, compare, bound, decide."""
        study = self._study(plan, table)
        baseline, reporting, comparison = study.baseline, study.reporting, study.comparison
        found = self._variable_reasons(plan.series)
        found += coverage_reasons(baseline, reporting, MINIMUM_BASELINE_DAYS, MINIMUM_REPORTING_DAYS)
        found += self._model_reasons(plan.series, study)
        if len(baseline.days) < CALTRACK_BASELINE_DAYS:
            found.append(reasons.baseline_shorter_than_year(len(baseline.days)))
        interval = None
        if comparison is not None and not any(reason.level == "blocking" for reason in found):
            interval = comparison.interval
        verdict = decide(interval, self.target_change)
        if interval is not None:
            found.insert(0, reasons.finding(verdict, interval, self.target_change, self.confidence))
        doubt = self._doubt(plan.series, study)
        if interval is not None and doubt is not None and comparison is not None:
            found += doubt.reasons(comparison.change or 0.0)
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=plan.series[self.energy].unit,
            baseline=None if comparison is None else comparison.adjusted_baseline,
            reporting=None if comparison is None else comparison.reporting_total,
            change=None if comparison is None else comparison.change,
            interval=interval,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=Coverage(baseline=baseline.coverage, reporting=reporting.coverage),
            model=self._model(plan.series, study, doubt, determined=interval is not None),
        )

    def conditions(self, plan: Plan, days: PeriodDays) -> Conditions:
        """What drives the energy on the used days of a period."""
        return day_conditions(plan.series, self.variables, days)

    def learn(self, plan: Plan, baseline: PeriodDays) -> Learnt:
        """Learn the plan's model from the used days of the baseline, or choose one by `evidence.model_choice`."""
        conditions, energy = self.conditions(plan, baseline), baseline.used_values(self.energy)
        if self.model != AUTOMATIC:
            return Learnt(self.model, MODELS[self.model].learn(conditions, energy), ())
        judged = judge(MODELS, conditions, energy)
        candidates = tuple(_candidate(one) for one in judged)
        return Learnt(judged[0].name, judged[0].learnt, candidates)

    def _variable_reasons(self, series: Mapping[str, SeriesPlan]) -> list[Reason]:
        found = []
        if not any(series[name].definition.production for name in self.variables):
            found.append(reasons.no_production_variable())
        endogenous = [name for name in self.variables if not series[name].definition.exogenous]
        if endogenous:
            found.append(reasons.variable_not_exogenous(endogenous))
        return found

    def _study(self, plan: Plan, table: IntervalTable) -> _Study:
        names = [self.energy, *self.variables]
        baseline = period_days(table, plan.baseline, names)
        reporting = period_days(table, plan.reporting, names)
        before, after = self.conditions(plan, baseline), self.conditions(plan, reporting)
        learnt = self.learn(plan, baseline)
        comparison = None
        if learnt.model is not None and reporting.n_used:
            measured = reporting.used_values(self.energy)
            comparison = compare(learnt.model, baseline.used_ordinals, after, measured, self.confidence)
        comparable = baseline.n_used > 1 and reporting.n_used > 0
        ranges = (
            _range(name, plan.series[name].unit, before.variables[name], after.variables[name])
            for name in self.variables
        )
        return _Study(baseline, reporting, tuple(ranges) if comparable else (), learnt, before, after, comparison)

    def _model_reasons(self, series: Mapping[str, SeriesPlan], study: _Study) -> Iterator[Reason]:
        learnt, comparison = study.learnt.model, study.comparison
        if learnt is None:
            yield reasons.coefficients_undetermined(self.variables)
            return
        if comparison is None:
            return
        if comparison.adjusted_baseline <= 0:
            yield reasons.non_positive_baseline(comparison.adjusted_baseline, series[self.energy].unit)
        if self.variables:
            yield from gate_reasons(learnt)
        uncertainty = comparison.uncertainty
        if uncertainty.half_width is None:
            yield reasons.not_determinable(uncertainty.rho, uncertainty.n_effective, learnt.fit.p)
        yield from _range_reasons(study.ranges, study.reporting)

    def _doubt(self, series: Mapping[str, SeriesPlan], study: _Study) -> _Doubt | None:
        learnt, comparison = study.learnt.model, study.comparison
        if learnt is None or comparison is None:
            return None
        energy = study.baseline.used_values(self.energy)
        production = frozenset(name for name in self.variables if series[name].definition.production)
        return _Doubt(
            placebo=placebo_test(
                MODELS[study.learnt.name],
                study.before,
                energy,
                window_days=len(study.reporting.days),
                minimum_days=MINIMUM_BASELINE_DAYS,
                confidence=self.confidence,
            ),
            detectable=detectable_saving(comparison),
            alternatives=alternative_intervals(
                learnt.fit,
                study.before.ordinals,
                learnt.design(study.after),
                study.after.ordinals,
                comparison,
                confidence=self.confidence,
            ),
            curve=specification_curve(
                MODELS,
                SpecificationData(study.before, energy, study.after, comparison.measured),
                comparison.change,
                required=production,
                minimum_days=MINIMUM_BASELINE_DAYS,
                confidence=self.confidence,
            )
            if comparison.change is not None
            else None,
        )

    def _model(
        self, series: Mapping[str, SeriesPlan], study: _Study, doubt: _Doubt | None, *, determined: bool
    ) -> SavingModel:
        learnt, comparison = study.learnt.model, study.comparison
        fit = None if learnt is None else learnt.fit
        uncertainty = None if comparison is None else comparison.uncertainty
        f, f_p_value = (None, None) if fit is None else fit.f_test
        return SavingModel(
            kind=study.learnt.name,
            candidates=study.learnt.candidates,
            days=DayUse(baseline=study.baseline.use(), reporting=study.reporting.use()),
            energy=self.energy,
            energy_unit=series[self.energy].unit,
            variables=self.variables,
            coefficients=() if learnt is None else tuple(self._coefficients(series, learnt)),
            n=study.baseline.n_used,
            p=None if fit is None else fit.p,
            m=study.reporting.n_used,
            r2=None if fit is None else fit.r2,
            adjusted_r2=None if fit is None else fit.adjusted_r2,
            cv_rmse=None if fit is None else fit.cv_rmse,
            nmbe=None if fit is None else fit.nmbe,
            f=f,
            f_p_value=f_p_value,
            rho=None if uncertainty is None else uncertainty.rho,
            rho_debiased=None if uncertainty is None else uncertainty.rho_debiased,
            n_effective=None if uncertainty is None else uncertainty.n_effective,
            degrees_of_freedom=None if uncertainty is None else uncertainty.degrees_of_freedom,
            t=None if uncertainty is None else uncertainty.t,
            saving=None if comparison is None else comparison.saving,
            standard_error=None if uncertainty is None else uncertainty.standard_error,
            half_width=uncertainty.half_width if uncertainty is not None and determined else None,
            placebo=None if doubt is None else doubt.placebo,
            detectable=None if doubt is None else doubt.detectable,
            alternative_intervals=() if doubt is None or not determined else doubt.alternatives,
            specification_curve=None if doubt is None else doubt.curve,
            ranges=study.ranges,
            residuals=() if fit is None else tuple(fit.residuals.tolist()),
            daily=tuple(_daily(study)),
        )

    def _coefficients(self, series: Mapping[str, SeriesPlan], learnt: FittedModel) -> Iterator[Coefficient]:
        energy_unit = f"{series[self.energy].unit}/d"
        fit = learnt.fit
        rows = zip(
            learnt.terms, fit.coefficients.tolist(), fit.standard_errors.tolist(), fit.p_values.tolist(), strict=True
        )
        for term, value, error, p_value in rows:
            unit = f"{energy_unit}/{term.per}" if term.per else energy_unit
            if term.variable is not None:
                variable = series[term.variable]
                # An increment is a day's increment: the days cancel. A mean does not depend on how long it is taken.
                increment = variable.definition.aggregation is Aggregation.INCREMENT
                unit = f"{series[self.energy].unit}/{variable.unit}" if increment else f"{energy_unit}/{variable.unit}"
            yield Coefficient(name=term.name, value=value, unit=unit, standard_error=error, p_value=p_value)


def _candidate(judged: Judged) -> ModelCandidate:
    fit = None if judged.learnt is None else judged.learnt.fit
    return ModelCandidate(
        name=judged.name,
        p=None if fit is None else fit.p,
        cv_rmse_left_out=judged.cv_rmse_left_out,
        cv_rmse=None if fit is None else fit.cv_rmse,
    )


def _range(name: str, unit: str, before: FloatArray, after: FloatArray) -> VariableRange:
    return VariableRange(
        name=name,
        unit=unit,
        baseline_low=float(before.min()),
        baseline_high=float(before.max()),
        baseline_mean=float(before.mean()),
        baseline_deviation=float(before.std(ddof=1)),
        reporting_low=float(after.min()),
        reporting_high=float(after.max()),
        reporting_mean=float(after.mean()),
    )


def _range_reasons(ranges: tuple[VariableRange, ...], reporting: PeriodDays) -> Iterator[Reason]:
    for variable in ranges:
        low, high = variable.baseline_low, variable.baseline_high
        after = reporting.used_values(variable.name)
        outside = ((after < low) | (after > high)).tolist()
        days = [day for day, out in zip(reporting.used_days, outside, strict=True) if out]
        if days:
            yield reasons.extrapolation(variable, days, reporting.n_used)
        distance = abs(variable.reporting_mean - variable.baseline_mean)
        inside = low <= variable.reporting_mean <= high
        if not inside and distance > MAXIMUM_STANDARD_DEVIATIONS * variable.baseline_deviation:
            yield reasons.mean_outside(variable)


def _daily(study: _Study) -> Iterator[SavingDay]:
    if study.learnt.model is not None:
        fit = study.learnt.model.fit
        yield from _saving_days("baseline", study.baseline.used_days, fit.observed, fit.observed - fit.residuals)
    if study.comparison is not None:
        measured, predicted = study.comparison.measured, study.comparison.predicted
        yield from _saving_days("reporting", study.reporting.used_days, measured, predicted)


def _saving_days(
    period: Literal["baseline", "reporting"], days: tuple[date, ...], measured: FloatArray, adjusted: FloatArray
) -> Iterator[SavingDay]:
    for day, value, model in zip(days, measured.tolist(), adjusted.tolist(), strict=True):
        yield SavingDay(day=day, period=period, measured=value, adjusted_baseline=model, residual=value - model)
