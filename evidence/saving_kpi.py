"""What every saving by a baseline model has in common: its part of a plan, its variables, its choice of a model.

A KPI that learns from the days of a period what drives the energy is a subclass of `SavingKpi` in `evidence.kpis`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, PrivateAttr, field_validator

from evidence import reasons
from evidence.alternative_intervals import AlternativeInterval
from evidence.baseline_model import Conditions, FittedModel
from evidence.comparison import Method
from evidence.day_conditions import day_conditions, outdoor_temperature
from evidence.days import PeriodDays
from evidence.detectable_change import DetectableSaving
from evidence.kpi import KpiPlan, Problem, energy_problem, series_problem
from evidence.kpi_description import KpiInput
from evidence.model_choice import Judged, judge
from evidence.models import MODELS
from evidence.operating_modes import OperatingMode, mode_problems, with_modes
from evidence.placebo import Placebo
from evidence.result import KpiModel, Reason, ResultModel, VariableRange, Wording
from evidence.saving_doubt import DoubtRules
from evidence.saving_rows import Drivers, SavingRows
from evidence.saving_sufficiency import (
    MAXIMUM_STANDARD_DEVIATIONS,
    MINIMUM_BASELINE_DAYS,
    Criterion,
    mean_distance,
)
from evidence.specification_curve import SpecificationCurve
from evidence.table import FloatArray
from wire.document import suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan

MODE_NAME = r"^[a-z][a-z0-9_]{0,63}$"

AUTOMATIC = "auto"
"""In a plan: the model is chosen by the rule of `evidence.model_choice`, and the runners-up are shown."""


class ModelCandidate(ResultModel):
    """A model that the choice looked at: CV(RMSE) on weeks left out of its learning, and that of its fit on all days.

    Both are None for a model that the days do not determine.
    """

    name: str
    p: int | None
    cv_rmse_left_out: float | None
    cv_rmse: float | None


class SavingKpiModel(KpiModel):
    """What every modelled saving shows. Energies are in ``energy_unit``; fields are None where undefined.

    ``candidates`` are the models that were weighed, the chosen one first, when the plan leaves the choice to us.
    ``saving`` is positive = less was used; ``half_width`` is of the saving, and there is none where there is no
    interval. ``sufficiency`` has a line for everything that was asked of the data and the model. ``placebo``,
    ``detectable``, ``alternative_intervals`` and ``specification_curve`` say how far the figure can be trusted.
    """

    candidates: tuple[ModelCandidate, ...]
    energy: str
    energy_unit: str
    variables: tuple[str, ...]
    t: float | None
    saving: float | None
    half_width: float | None
    placebo: Placebo | None
    detectable: DetectableSaving | None
    alternative_intervals: tuple[AlternativeInterval, ...]
    specification_curve: SpecificationCurve | None
    ranges: tuple[VariableRange, ...]
    sufficiency: tuple[Criterion, ...]


MODES_INPUT = KpiInput(
    field="modes",
    symbol="z",
    meaning=Wording(
        en="operating modes, each with a constant of its own: weekdays, dates, or a limit of a variable",
        zh="运行工况（各有常数项）：星期、日期或变量限值",
    ),
    optional=True,
)


@dataclass(frozen=True)
class Learnt:
    """The model a KPI goes on with; None when the days do not determine it. ``candidates`` are as in the result."""

    name: str
    model: FittedModel | None
    candidates: tuple[ModelCandidate, ...]


class SavingKpi(KpiPlan):
    """Saving of ``energy`` by a ``model`` on ``variables`` and operating ``modes``."""

    energy: str
    model: str = "linear"
    variables: tuple[str, ...] = ()
    modes: dict[Annotated[str, Field(pattern=MODE_NAME)], OperatingMode] = Field(default_factory=dict)
    _doubted: bool = PrivateAttr(default=True)

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
        yield from mode_problems(self.modes, self.variables, list(series))
        known = all(name in series for name in self.variables)
        needed = self.model != AUTOMATIC and MODELS[self.model].needs_temperature
        if known and needed and outdoor_temperature(series, self.variables) is None:
            yield ("model",), f"'{self.model}' needs an outdoor temperature; name a series of quantity temperature"
        yield from self.target_problems()

    @property
    def drivers(self) -> Drivers:
        """The energy and what is to explain it."""
        return Drivers(self.energy, self.variables, self.modes)

    def names(self) -> list[str]:
        """The energy and what drives it."""
        return [self.energy, *self.variables]

    def without_doubt(self) -> Self:
        """This KPI without placebo test, alternatives and specification curve: value, interval and verdict alone."""
        bare = self.model_copy()
        bare._doubted = False
        return bare

    def conditions(self, plan: Plan, days: PeriodDays) -> Conditions:
        """What drives the energy on the used days of a period."""
        return with_modes(day_conditions(plan.series, self.variables, days), self.modes)

    def learn(self, plan: Plan, baseline: PeriodDays) -> Learnt:
        """Learn the plan's model from the used days of the baseline, or choose one by `evidence.model_choice`."""
        return self.learn_from(self.conditions(plan, baseline), baseline.used_values(self.energy))

    def learn_from(self, conditions: Conditions, energy: FloatArray) -> Learnt:
        """The same from rows of any granularity."""
        if self.model != AUTOMATIC:
            return Learnt(self.model, MODELS[self.model].learn(conditions, energy), ())
        judged = judge(MODELS, conditions, energy)
        candidates = tuple(_candidate(one) for one in judged)
        return Learnt(judged[0].name, judged[0].learnt, candidates)

    def variable_reasons(self, series: Mapping[str, SeriesPlan]) -> Iterator[Reason]:
        """Yield that nothing is told of production, and variables that are readings of the load itself."""
        if not any(series[name].definition.production for name in self.variables):
            yield reasons.no_production_variable()
        endogenous = [name for name in self.variables if not series[name].definition.exogenous]
        if endogenous:
            yield reasons.variable_not_exogenous(endogenous)

    def doubt_rules(self, plan: Plan, method: Method, minimum: int = MINIMUM_BASELINE_DAYS) -> DoubtRules:
        """The rules by which this KPI is doubted: production in every model, windows as long as its reporting."""
        return DoubtRules(
            method=method,
            window_days=(plan.reporting.to - plan.reporting.start).days,
            minimum_days=minimum,
            required=frozenset(name for name in self.variables if plan.series[name].definition.production),
            confidence=self.confidence,
        )


def range_reasons(rows: SavingRows) -> Iterator[Reason]:
    """Yield reporting days outside the baseline's range of a variable, and means far outside it."""
    total = len(set(rows.row_days))
    for variable in rows.ranges:
        low, high = variable.baseline_low, variable.baseline_high
        after = rows.data.after.variables[variable.name]
        outside = ((after < low) | (after > high)).tolist()
        listed = sorted({day for day, out in zip(rows.row_days, outside, strict=True) if out})
        if listed:
            yield reasons.extrapolation(variable, listed, total, bills=rows.bills is not None)
        distance = mean_distance(variable)
        if distance is None or distance > MAXIMUM_STANDARD_DEVIATIONS:
            yield reasons.mean_outside(variable)


def _candidate(judged: Judged) -> ModelCandidate:
    fit = None if judged.learnt is None else judged.learnt.fit
    return ModelCandidate(
        name=judged.name,
        p=None if fit is None else fit.p,
        cv_rmse_left_out=judged.cv_rmse_left_out,
        cv_rmse=None if fit is None else fit.cv_rmse,
    )
