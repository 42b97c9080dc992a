"""Normalised saving: both periods under the same conditions, each by a model of its own.

IPMVP: where savings are stated under fixed, normal conditions, a model of the reporting period is learnt as well as one
of the baseline. Normal conditions are here those of all used days of both periods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from evidence import kpi_reasons, reasons
from evidence.alternative_intervals import alternative_intervals_of_models
from evidence.baseline_model import FittedModel
from evidence.industrial_gate import MAXIMUM_MODEL_P, MINIMUM_R2, gate_reasons
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.models import MODELS
from evidence.normalised_comparison import (
    NormalisedComparison,
    NormalPrediction,
    normalised_comparison,
    normalised_energy,
)
from evidence.result import KpiResult, Reason, Wording
from evidence.saving_doubt import Doubt, doubt_of
from evidence.saving_kpi import (
    MODES_INPUT,
    Learnt,
    SavingKpi,
    SavingKpiModel,
    range_reasons,
)
from evidence.saving_rows import SavingRows, rows_of_days
from evidence.saving_sufficiency import MINIMUM_BASELINE_DAYS, criteria, following_reasons, sufficiency_reasons
from evidence.verdict import decide

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable


class NormalisedModel(SavingKpiModel):
    """Both models; pairs are baseline and reporting. ``normal_days`` is the number of days that both are driven by."""

    normal_days: int
    coefficients_of_periods: tuple[dict[str, float], dict[str, float]]
    r2_of_periods: tuple[float | None, float | None]
    rho_of_periods: tuple[float | None, float | None]
    standard_errors: tuple[float | None, float | None]


@dataclass(frozen=True)
class _Study:
    """Days, the models of both periods and their comparison, as far as the data carry."""

    rows: SavingRows
    learnt: Learnt
    second: FittedModel | None
    comparison: NormalisedComparison | None


class NormalisedSaving(SavingKpi):
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
            MODES_INPUT,
        ),
        cannot_tell=Wording(
            en="It is what two models say, not what a meter read: it is no amount of energy that was really avoided. "
            "Both extrapolate where a period has not seen the other's conditions.",
            zh="为两个模型的推算值，并非电表读数，也不是实际避免的用能；一方未出现的条件属于外推。",
        ),
    )

    kind: Literal["normalised_saving"]
    variables: tuple[str, ...] = Field(min_length=1)

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Learn twice, drive both by the same days, compare."""
        study = self._study(plan, table)
        comparison = study.comparison
        found = [*self.variable_reasons(plan.series)]
        found += sufficiency_reasons(study.rows, MINIMUM_BASELINE_DAYS)
        found += self._model_reasons(plan.series, study)
        interval = None
        if comparison is not None and not any(reason.level == "blocking" for reason in found):
            interval = comparison.interval
        verdict = decide(interval, self.target_change)
        doubt = self._doubt(plan, study)
        if interval is not None and doubt is not None and comparison is not None:
            said = reasons.finding(verdict, interval, self.target_change, self.confidence)
            found = [said, *found, *doubt.reasons(comparison.change or 0.0)]
            found.append(kpi_reasons.limits(self.description.cannot_tell))
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=plan.series[self.energy].unit,
            baseline=None if comparison is None else comparison.before.total,
            reporting=None if comparison is None else comparison.after.total,
            change=None if comparison is None else comparison.change,
            interval=interval,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=study.rows.coverage,
            model=self._model(plan.series, study, doubt, determined=interval is not None),
        )

    def _study(self, plan: Plan, table: IntervalTable) -> _Study:
        rows = rows_of_days(plan, table, self.drivers)
        learnt = self.learn_from(rows.data.before, rows.data.energy_before)
        # The model that the plan names or the choice on the baseline gives is that of both periods.
        second = MODELS[learnt.name].learn(rows.data.after, rows.data.energy_after)
        comparison = None
        if learnt.model is not None and second is not None:
            comparison = normalised_comparison(learnt.model, second, rows.data, self.confidence)
        return _Study(rows, learnt, second, comparison)

    def _model_reasons(self, series: Mapping[str, SeriesPlan], study: _Study) -> Iterator[Reason]:
        if study.comparison is None:
            yield reasons.coefficients_undetermined((*self.variables, *self.modes))
            return
        before, after = study.comparison.before, study.comparison.after
        if before.total <= 0:
            yield reasons.non_positive_baseline(before.total, series[self.energy].unit)
        yield from gate_reasons(before.model)
        r2, (_, p_value) = after.model.fit.r2, after.model.fit.f_test
        if r2 is None or r2 < MINIMUM_R2 or (p_value is not None and p_value > MAXIMUM_MODEL_P):
            yield kpi_reasons.reporting_model_fails(r2, p_value)
        for learnt in (before, after):
            if learnt.variance is None:
                p = learnt.model.fit.p
                yield reasons.not_determinable(learnt.rho, learnt.degrees + p, p)
        yield from range_reasons(study.rows)
        yield from following_reasons(study.rows)

    def _doubt(self, plan: Plan, study: _Study) -> Doubt | None:
        comparison = study.comparison
        if comparison is None or not self._doubted:
            return None
        rules = self.doubt_rules(plan, normalised_energy)
        others = alternative_intervals_of_models(comparison)
        return doubt_of(study.learnt.name, study.rows.data, comparison, others, rules)

    def _model(
        self, series: Mapping[str, SeriesPlan], study: _Study, doubt: Doubt | None, *, determined: bool
    ) -> NormalisedModel:
        rows, comparison = study.rows, study.comparison
        models = (study.learnt.model, study.second)
        predictions = (None, None) if comparison is None else (comparison.before, comparison.after)
        return NormalisedModel(
            kind=study.learnt.name,
            days=rows.use,
            candidates=study.learnt.candidates,
            energy=self.energy,
            energy_unit=series[self.energy].unit,
            variables=self.variables,
            t=None if comparison is None or not determined else comparison.t,
            saving=None if comparison is None else comparison.saving,
            half_width=None if comparison is None or not determined else comparison.half_width,
            placebo=None if doubt is None else doubt.placebo,
            detectable=None if doubt is None else doubt.detectable,
            alternative_intervals=() if doubt is None or not determined else doubt.alternatives,
            specification_curve=None if doubt is None else doubt.curve,
            ranges=rows.ranges,
            sufficiency=criteria(rows, MINIMUM_BASELINE_DAYS, study.learnt.model, None),
            normal_days=rows.data.before.n + rows.data.after.n,
            coefficients_of_periods=(_coefficients(models[0]), _coefficients(models[1])),
            r2_of_periods=(_r2(models[0]), _r2(models[1])),
            rho_of_periods=(_rho(predictions[0]), _rho(predictions[1])),
            standard_errors=(_standard_error(predictions[0]), _standard_error(predictions[1])),
        )


def _coefficients(learnt: FittedModel | None) -> dict[str, float]:
    if learnt is None:
        return {}
    return dict(zip([term.name for term in learnt.terms], learnt.fit.coefficients.tolist(), strict=True))


def _r2(learnt: FittedModel | None) -> float | None:
    return None if learnt is None else learnt.fit.r2


def _rho(prediction: NormalPrediction | None) -> float | None:
    return None if prediction is None else prediction.rho


def _standard_error(prediction: NormalPrediction | None) -> float | None:
    return None if prediction is None or prediction.variance is None else math.sqrt(prediction.variance)
