"""How much energy an event was, by an indicator variable of the baseline model.

The model is learnt on the baseline days that no event touches. In the baseline period the indicators stand beside its
own terms; in the reporting period they stand beside a constant and the model's prediction, which are the saving of the
other days, so much a day and so much of the load: the event is what lies above those, and the retrofit stays out of it.
An indicator of a day is the share of 24 h that the event covers.

The standard uncertainty is that of a least-squares coefficient under AR(1) noise, without the approximation of n' days:
s^2 c'Oc with c the coefficient's row of (D'D)^-1 D', O = rho^|i-j| (`evidence.alternative_intervals`); in the reporting
period that of the model's coefficients under other conditions is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evidence.alternative_intervals import exact_model_variance
from evidence.baseline_model import FittedModel
from evidence.days import PeriodDays, period_days
from evidence.events.detection import ROUNDING, noise_rho
from evidence.events.recorded import PERIODS, NonRoutineEvent, PeriodName
from evidence.events.treatment import Part
from evidence.regression import LeastSquares, fit_least_squares
from evidence.saving_kpi import SavingKpi
from evidence.saving_sufficiency import MINIMUM_BASELINE_DAYS
from evidence.table import DAY_MS, FloatArray, IntArray, IntervalTable, day_start_ms

if TYPE_CHECKING:
    from evidence.plan import Plan

MINIMUM_DAYS_INSIDE = 3
"""With fewer, the indicator would explain its own days away and know nothing of its error."""
MINIMUM_REPORTING_DAYS_OUTSIDE = 7
"""One week, as long as the shortest reporting period."""


@dataclass(frozen=True)
class _Side:
    """The used days of a period, how much of each the events cover, and the model's design of them."""

    name: PeriodName
    days: PeriodDays
    ordinals: IntArray
    indicators: FloatArray

    @property
    def clear(self) -> int:
        """Used days that no event touches."""
        return int(np.count_nonzero(self.indicators.sum(axis=1) == 0.0))


def estimated_parts(
    plan: Plan, table: IntervalTable, kpi: SavingKpi, events: Sequence[NonRoutineEvent]
) -> tuple[Part, ...]:
    """What ``events`` of the energy of ``kpi`` took or added within each period, estimated together.

    A part is missing where the days do not determine it: `MINIMUM_DAYS_INSIDE` used days inside and, outside of all
    events, 28 baseline days or `MINIMUM_REPORTING_DAYS_OUTSIDE` reporting days are needed.
    """
    sides = {period: _side(plan, table, kpi, events, period) for period in PERIODS}
    before = sides["baseline"]
    if before.clear < MINIMUM_BASELINE_DAYS:
        return ()
    untouched = before.days.used.copy()
    untouched[np.flatnonzero(before.days.used)[before.indicators.sum(axis=1) > 0.0]] = False
    quiet = replace(before.days, used=untouched)
    learnt = kpi.learn(plan, quiet).model
    if learnt is None:
        return ()
    found: list[Part] = []
    for side in sides.values():
        usable = [
            position
            for position in range(len(events))
            if np.count_nonzero(side.indicators[:, position] > 0.0) >= MINIMUM_DAYS_INSIDE
        ]
        enough = side.name == "baseline" or side.clear >= MINIMUM_REPORTING_DAYS_OUTSIDE
        if usable and enough:
            found += _parts(plan, kpi, (learnt, quiet.used_ordinals), side, {place: events[place] for place in usable})
    return tuple(found)


def _side(
    plan: Plan, table: IntervalTable, kpi: SavingKpi, events: Sequence[NonRoutineEvent], period: PeriodName
) -> _Side:
    days = period_days(table, getattr(plan, period), kpi.names())
    starts = np.array([day_start_ms(day, plan.day_start, plan.zone) for day in days.used_days], dtype=np.int64)
    ends = starts + DAY_MS
    covered = np.zeros((days.n_used, len(events)))
    for position, event in enumerate(events):
        first, last = event.span_ms(plan)
        covered[:, position] = np.clip(np.minimum(ends, last) - np.maximum(starts, first), 0, None) / DAY_MS
    return _Side(period, days, days.used_ordinals, covered)


def _parts(
    plan: Plan,
    kpi: SavingKpi,
    model: tuple[FittedModel, IntArray],
    side: _Side,
    events: Mapping[int, NonRoutineEvent],
) -> list[Part]:
    """The parts of ``events`` (by column of the indicators), by a model and the days it was learnt on."""
    learnt, learnt_days = model
    indicators = side.indicators[:, list(events)]
    energy, design = side.days.used_values(kpi.energy), learnt.design(kpi.conditions(plan, side.days))
    if side.name == "baseline":
        terms, observed = design, energy
    else:
        predicted = design @ learnt.fit.coefficients
        terms, observed = _saving_terms(predicted), energy - predicted
    fit = fit_least_squares(np.column_stack([terms, indicators]), observed)
    if fit is None:
        return []
    found = []
    for place, event in enumerate(events.values()):
        column = np.zeros(fit.p)
        column[terms.shape[1] + place] = 1.0
        variance = _variance(fit, side.ordinals, column)
        if side.name == "reporting":
            weights = fit.design @ (fit.inverse @ column)
            variance += _variance(learnt.fit, learnt_days, design.T @ weights)
        inside = event.inside(plan, side.name)
        if inside is None:
            continue
        found.append(
            Part(
                event=event.id,
                source=f"{event.id} ({side.name})",
                series=event.series,
                period=side.name,
                start_ms=inside[0],
                end_ms=inside[1],
                rate=float(fit.coefficients @ column),
                uncertainty=math.sqrt(variance),
                days=int(np.count_nonzero(indicators[:, place] > 0.0)),
            )
        )
    return found


def _saving_terms(predicted: FloatArray) -> FloatArray:
    """A constant, and the load where it varies."""
    constant = np.ones(len(predicted))
    varies = float(np.ptp(predicted)) > ROUNDING * float(np.abs(predicted).max())
    return np.column_stack([constant, predicted] if varies else [constant])


def _variance(fit: LeastSquares, days: IntArray, column: FloatArray) -> float:
    variance, spread = exact_model_variance(fit, days, column, noise_rho(fit.residuals, days))
    return variance * spread
