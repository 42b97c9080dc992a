"""Avoided energy: what the reporting period would have used before the retrofit, minus what it did use.

IPMVP options B and C: a model of daily energy is learnt on the baseline days, driven by the conditions of the reporting
days, and compared with the measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evidence import bill_reasons, reasons
from evidence.alternative_intervals import AlternativeInterval, alternative_intervals
from evidence.baseline_model import Conditions, FittedModel, Granularity
from evidence.bill_uncertainty import ashrae_half_width
from evidence.bills import BillTable
from evidence.comparison import BeforeAndAfter, Comparison, avoided_energy, compare
from evidence.hours import needs_hours, takes_hours
from evidence.industrial_gate import gate_reasons
from evidence.kpi import Problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.models import MODELS
from evidence.quantities import Aggregation
from evidence.result import KpiResult, Reason, ResultModel, Wording
from evidence.saving_doubt import Doubt, doubt_of
from evidence.saving_kpi import AUTOMATIC, MODES_INPUT, Learnt, SavingKpi, SavingKpiModel, range_reasons
from evidence.saving_rows import BillBasis, SavingRows, rows_of_bills, rows_of_days, rows_of_hours
from evidence.saving_sufficiency import (
    MINIMUM_BASELINE_BILLS,
    MINIMUM_BASELINE_DAYS,
    correlation_limit,
    criteria,
    following_reasons,
    sufficiency_reasons,
)
from evidence.table import FloatArray, IntArray
from evidence.verdict import decide

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable

PeriodName = Literal["baseline", "reporting"]

MINIMUM_REPORTING_DAYS = 7
"""One week: every weekday is seen."""


class Coefficient(ResultModel):
    """One coefficient with its unit; standard error and p for independent residuals, as the gate wants them."""

    name: str
    value: float
    unit: str
    standard_error: float
    p_value: float


class SavingDay(ResultModel):
    """One used day: measured energy, and what the baseline model says for the day's conditions."""

    day: date
    period: PeriodName
    measured: float
    adjusted_baseline: float
    residual: float


class SavingBill(ResultModel):
    """One bill, or month, that counts: from ``first`` to before ``end``, with the energy of all its days."""

    first: date
    end: date
    period: PeriodName
    measured: float
    adjusted_baseline: float
    residual: float


class SavingModel(SavingKpiModel):
    """The baseline model and its goodness.

    ``n`` baseline rows, ``p`` coefficients, ``m`` reporting rows; a row is what ``granularity`` says. ``residuals`` are
    those of the baseline rows, measured minus fitted (of bills a day's); ``standard_error`` is of the saving. ``daily``
    has the used days, also of a model of hours; ``bills`` has the bills instead.
    """

    granularity: Granularity
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
    standard_error: float | None
    residuals: tuple[float, ...]
    daily: tuple[SavingDay, ...]
    bills: tuple[SavingBill, ...]


@dataclass(frozen=True)
class _Study:
    """Days, model and comparison of one evaluation, as far as the data carry."""

    rows: SavingRows
    learnt: Learnt
    comparison: Comparison | None


class AdjustedSaving(SavingKpi):
    """Saving of ``energy`` against a baseline ``model`` on ``variables``.

    ``granularity`` is what the model is fitted on: days, hours, or bills of about a month; ``bill_basis`` is how bills
    are taken, a ``day``'s energy (the default) or each ``bill``'s total.
    """

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
            MODES_INPUT,
            KpiInput(
                field="granularity",
                symbol="t",
                meaning=Wording(
                    en="what the model is fitted on: day (default), hour, bill_month",
                    zh="建模粒度：day（默认）、hour、bill_month（账单）",
                ),
                optional=True,
            ),
        ),
        cannot_tell=Wording(
            en="It is the effect of all that changed at once and is not among the variables; events beside the "
            "retrofit "
            "are in it unless they are recorded and taken out.",
            zh="反映变量之外所有同时发生的变化；改造以外的事件若未记录并扣除，也包含在内。",
        ),
    )
    kind: Literal["adjusted_saving"]
    granularity: Granularity = "day"
    bill_basis: BillBasis | None = None

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield what is wrong with any modelled saving, and models that cannot be learnt from the granularity."""
        yield from super().problems(series)
        if self.granularity != "day" and self.model == AUTOMATIC:
            yield ("model",), f"'{AUTOMATIC}' chooses between models of days; name a model for {self.granularity}"
        elif self.model != AUTOMATIC and self.granularity not in MODELS[self.model].granularities:
            able = ", ".join(name for name, model in MODELS.items() if self.granularity in model.granularities)
            yield ("model",), f"'{self.model}' cannot be learnt from {self.granularity}; use one of: {able}"
        if self.modes and self.granularity == "bill_month":
            yield ("modes",), "are of days or hours; a bill has both in it"
        if self.bill_basis is not None and self.granularity != "bill_month":
            yield ("bill_basis",), "is for bills; leave it out or set 'granularity: bill_month'"

    @property
    def takes_bills(self) -> bool:
        """Whether `evaluate_bills` can be asked."""
        return self.granularity == "bill_month"

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Learn, compare, bound, decide."""
        match self.granularity:
            case "day":
                return self._evaluate(plan, rows_of_days(plan, table, self.drivers))
            case "hour" if not takes_hours(table):
                return self._evaluate(plan, rows_of_days(plan, table, self.drivers), needs_hours())
            case "hour":
                return self._evaluate(plan, rows_of_hours(plan, table, self.drivers))
            case "bill_month":
                return self.evaluate_bills(plan, table)

    def evaluate_bills(self, plan: Plan, bills: BillTable | IntervalTable) -> KpiResult:
        """The same from bills, or from the calendar months of intervals."""
        rows = rows_of_bills(plan, bills, self.drivers, self.bill_basis or "day")
        return self._evaluate(plan, rows)

    def _evaluate(self, plan: Plan, rows: SavingRows, *against: Reason) -> KpiResult:
        study = self._study(rows)
        comparison = study.comparison
        found = [*against, *self.variable_reasons(plan.series)]
        found += sufficiency_reasons(rows, MINIMUM_REPORTING_DAYS)
        found += self._model_reasons(plan.series, study)
        interval = None
        if comparison is not None and not any(reason.level == "blocking" for reason in found):
            interval = comparison.interval
        verdict = decide(interval, self.target_change)
        if interval is not None:
            found.insert(0, reasons.finding(verdict, interval, self.target_change, self.confidence))
        doubt = self._doubt(plan, study)
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
            coverage=rows.coverage,
            model=self._model(plan.series, study, doubt, determined=interval is not None),
        )

    def _study(self, rows: SavingRows) -> _Study:
        data = rows.data
        learnt = self.learn_from(data.before, data.energy_before)
        comparison = None
        if learnt.model is not None and data.after.n:
            comparison = compare(learnt.model, data.before, data.after, data.energy_after, self.confidence)
        return _Study(rows, learnt, comparison)

    def _model_reasons(self, series: Mapping[str, SeriesPlan], study: _Study) -> Iterator[Reason]:
        learnt, comparison = study.learnt.model, study.comparison
        if learnt is None:
            yield reasons.coefficients_undetermined((*self.variables, *self.modes))
            return
        if comparison is None:
            return
        if comparison.adjusted_baseline <= 0:
            yield reasons.non_positive_baseline(comparison.adjusted_baseline, series[self.energy].unit)
        if self.variables:
            yield from gate_reasons(learnt)
        uncertainty = comparison.uncertainty
        if uncertainty.half_width is None:
            p = round(uncertainty.n_effective - uncertainty.degrees_of_freedom)
            yield reasons.not_determinable(uncertainty.rho, uncertainty.n_effective, p)
        if study.rows.bills is not None and uncertainty.rho > correlation_limit(learnt.fit.n):
            yield bill_reasons.bills_correlated(uncertainty.rho, correlation_limit(learnt.fit.n))
        yield from range_reasons(study.rows)
        yield from following_reasons(study.rows)

    def _doubt(self, plan: Plan, study: _Study) -> Doubt | None:
        learnt, comparison = study.learnt, study.comparison
        if learnt.model is None or comparison is None or not self._doubted:
            return None
        minimum = MINIMUM_BASELINE_BILLS if study.rows.bills is not None else MINIMUM_BASELINE_DAYS
        rules = self.doubt_rules(plan, avoided_energy, minimum)
        return doubt_of(learnt.name, study.rows.data, comparison, self._alternatives(study, comparison), rules)

    def _alternatives(self, study: _Study, comparison: Comparison) -> tuple[AlternativeInterval, ...]:
        data, rows = study.rows.data, study.rows
        if rows.bills is not None:
            return (self._ashrae(comparison, rows.bills[1].n_used, data.after),)
        if rows.by_days is not None:
            return (self._on_days(study.learnt.name, rows.by_days),)
        learnt = comparison.learnt
        return alternative_intervals(
            learnt.fit,
            data.before.ordinals,
            learnt.design(data.after),
            data.after.ordinals,
            comparison,
            confidence=self.confidence,
        )

    def _on_days(self, model: str, data: BeforeAndAfter) -> AlternativeInterval:
        """What the same model says when it is learnt on the days of the same hours."""
        compared = avoided_energy(MODELS[model], data, self.confidence)
        return AlternativeInterval(
            method="fit_on_days",
            interval=None if compared is None else compared.interval,
            half_width=None if compared is None else compared.uncertainty.half_width,
        )

    def _ashrae(self, comparison: Comparison, days: int, after: Conditions) -> AlternativeInterval:
        half = ashrae_half_width(
            comparison.learnt, after, comparison.adjusted_baseline, days, confidence=self.confidence
        )
        return AlternativeInterval(method="ashrae_months", interval=comparison.interval_with(half), half_width=half)

    def _model(
        self, series: Mapping[str, SeriesPlan], study: _Study, doubt: Doubt | None, *, determined: bool
    ) -> SavingModel:
        learnt, comparison = study.learnt.model, study.comparison
        fit = None if learnt is None else learnt.fit
        uncertainty = None if comparison is None else comparison.uncertainty
        f, f_p_value = (None, None) if fit is None else fit.f_test
        return SavingModel(
            kind=study.learnt.name,
            days=study.rows.use,
            candidates=study.learnt.candidates,
            energy=self.energy,
            energy_unit=series[self.energy].unit,
            variables=self.variables,
            t=None if uncertainty is None else uncertainty.t,
            saving=None if comparison is None else comparison.saving,
            half_width=uncertainty.half_width if uncertainty is not None and determined else None,
            placebo=None if doubt is None else doubt.placebo,
            detectable=None if doubt is None else doubt.detectable,
            alternative_intervals=() if doubt is None or not determined else doubt.alternatives,
            specification_curve=None if doubt is None else doubt.curve,
            ranges=study.rows.ranges,
            sufficiency=criteria(study.rows, MINIMUM_REPORTING_DAYS, learnt, uncertainty),
            granularity=self.granularity,
            coefficients=() if learnt is None else tuple(self._coefficients(series, learnt)),
            n=study.rows.data.before.n,
            p=None if fit is None else fit.p,
            m=study.rows.data.after.n,
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
            standard_error=None if uncertainty is None else uncertainty.standard_error,
            residuals=() if fit is None else tuple(fit.residuals.tolist()),
            daily=tuple(_daily(study)),
            bills=tuple(_bills(study)),
        )

    @property
    def _row_unit(self) -> str:
        """What the model's energies are of: a day, an hour, or a bill."""
        if self.granularity == "bill_month":
            return "d" if self.bill_basis != "bill" else "bill"
        return "d" if self.granularity == "day" else "h"

    def _coefficients(self, series: Mapping[str, SeriesPlan], learnt: FittedModel) -> Iterator[Coefficient]:
        energy_unit = f"{series[self.energy].unit}/{self._row_unit}"
        fit = learnt.fit
        rows = zip(
            learnt.terms, fit.coefficients.tolist(), fit.standard_errors.tolist(), fit.p_values.tolist(), strict=True
        )
        for term, value, error, p_value in rows:
            unit = f"{energy_unit}/{term.per}" if term.per else energy_unit
            if term.variable is not None and term.variable not in self.modes:
                variable = series[term.variable]
                # An increment is that of a row, too: the rows cancel. A mean does not depend on how long it is taken.
                increment = variable.definition.aggregation is Aggregation.INCREMENT
                unit = f"{series[self.energy].unit}/{variable.unit}" if increment else f"{energy_unit}/{variable.unit}"
            yield Coefficient(name=term.name, value=value, unit=unit, standard_error=error, p_value=p_value)


def _daily(study: _Study) -> Iterator[SavingDay]:
    rows = study.rows
    if rows.bills is not None:
        return
    for period, ordinals, measured, adjusted in _compared(study):
        days, row = np.unique(ordinals, return_inverse=True)
        totals = (np.bincount(row, weights=values) for values in (measured, adjusted))
        for day, value, model in zip(days.tolist(), *(total.tolist() for total in totals), strict=True):
            yield SavingDay(
                day=date.fromordinal(day),
                period=period,
                measured=value,
                adjusted_baseline=model,
                residual=value - model,
            )


def _bills(study: _Study) -> Iterator[SavingBill]:
    if study.rows.bills is None:
        return
    for bills, (period, _, measured, adjusted) in zip(study.rows.bills, _compared(study), strict=False):
        for position, value, model in zip(bills.used, measured.tolist(), adjusted.tolist(), strict=True):
            yield SavingBill(
                first=bills.first[position],
                end=bills.end[position],
                period=period,
                measured=value,
                adjusted_baseline=model,
                residual=value - model,
            )


def _compared(study: _Study) -> Iterator[tuple[PeriodName, IntArray, FloatArray, FloatArray]]:
    """Yield each period with its rows' days, what was measured and what the model says, as far as there is a model."""
    data = study.rows.data
    if study.learnt.model is not None:
        fit = study.learnt.model.fit
        lengths = 1.0 if data.before.lengths is None else data.before.lengths
        yield "baseline", data.before.ordinals, fit.observed * lengths, (fit.observed - fit.residuals) * lengths
    if study.comparison is not None:
        yield "reporting", data.after.ordinals, study.comparison.measured, study.comparison.predicted
