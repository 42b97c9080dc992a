"""The local days behind the figure of a KPI: what was measured, what the baseline model says, and which days count.

All values come from `evidence`; the band is its regression read at single days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.baseline_model import Conditions, FittedModel
from evidence.days import PeriodDays, period_days
from evidence.kpi import KpiPlan
from evidence.kpis.adjusted_saving import AdjustedSaving, SavingModel
from evidence.kpis.normalised_saving import NormalisedSaving
from evidence.plan import Plan
from evidence.quantities import Aggregation
from evidence.ratio_kpi import RatioKpi
from evidence.result import KpiResult
from evidence.rule_kpi import RuleKpi
from evidence.table import IntervalTable

LINE_POINTS = 25


@dataclass(frozen=True)
class Day:
    """One local day of one period.

    ``complete`` is the share of its intervals that have every needed series; ``values`` holds the day's value of each
    series, None unless the day is used. ``excluded`` says why a day of the baseline or reporting period is not used.
    ``adjusted_baseline``, its band ``low`` to ``high`` and ``target`` are in the unit of the energy.
    """

    day: str
    period: str
    used: bool
    excluded: str | None
    complete: float
    values: Mapping[str, float | None]
    adjusted_baseline: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The day as JSON values."""
        return {
            "day": self.day,
            "period": self.period,
            "used": self.used,
            "excluded": self.excluded,
            "complete": self.complete,
            "values": dict(self.values),
            "adjusted_baseline": self.adjusted_baseline,
            "adjusted_low": self.low,
            "adjusted_high": self.high,
            "target": self.target,
        }


@dataclass(frozen=True)
class DayTable:
    """The days of one KPI.

    ``energy`` and ``output`` name series, empty and None without any; ``units`` has the unit of each series. ``line``
    are points (output a day, energy a day) of the baseline model with its other variables at their baseline mean; None
    without such a model.
    """

    kpi: str
    energy: str
    output: str | None
    units: Mapping[str, str]
    days: tuple[Day, ...]
    line: tuple[tuple[float, float], ...] | None

    def to_json(self) -> dict[str, Any]:
        """The table as JSON values."""
        return {
            "energy": self.energy,
            "output": self.output,
            "units": dict(self.units),
            "rows": [day.to_json() for day in self.days],
            "line": None if self.line is None else [list(point) for point in self.line],
        }

    def columns(self) -> list[tuple[str, str]]:
        """Name and unit of each column of `rows`."""
        energy_unit = self.units.get(self.energy, "")
        return [
            *((name, "") for name in ("day", "period", "used", "excluded", "complete")),
            *self.units.items(),
            *((name, energy_unit) for name in ("adjusted_baseline", "adjusted_low", "adjusted_high", "target")),
        ]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The days as rows of a flat table."""
        for day in self.days:
            state = (day.day, day.period, day.used, day.excluded, day.complete)
            measured = tuple(day.values[name] for name in self.units)
            yield (*state, *measured, day.adjusted_baseline, day.low, day.high, day.target)


def day_table(plan: Plan, kpi: KpiPlan, result: KpiResult, table: IntervalTable) -> DayTable:
    """The days behind `result`, the evaluation of `kpi` over `table`, in the order of time.

    A KPI of a kind that this module does not know gets a table without days.
    """
    if isinstance(kpi, AdjustedSaving):
        names = [kpi.energy, *kpi.variables]
    elif isinstance(kpi, RatioKpi | RuleKpi | NormalisedSaving):
        names = kpi.names()
    else:
        return DayTable(kpi.id, "", None, {}, (), None)
    energy = next((name for name in names if plan.series[name].definition.active_energy), "")
    spans = {"baseline": plan.baseline, "blackout": plan.blackout, "reporting": plan.reporting}
    periods = {name: period_days(table, span, names) for name, span in spans.items() if span is not None}
    learnt = _learnt(plan, kpi, periods["baseline"]) if isinstance(kpi, AdjustedSaving) else None
    modelled = isinstance(kpi, AdjustedSaving | NormalisedSaving)
    days: list[Day] = []
    for name, period in periods.items():
        # A ratio adds up what was measured; a model speaks of whole days. The file shows what the figure was made of.
        values = {series: _day_values(period, series, whole=modelled) for series in names}
        bands = _bands(plan, kpi, result, learnt, period) if name != "blackout" else {}
        days += _days(name, period, values, bands, None if name != "reporting" else kpi.target_change)
    output = next((name for name in names if plan.series[name].definition.production), None)
    return DayTable(
        kpi=kpi.id,
        energy=energy,
        output=output,
        units={name: plan.series[name].unit for name in names},
        days=tuple(days),
        line=_line(learnt, _conditions(plan, kpi, periods["baseline"]), output),
    )


@dataclass(frozen=True)
class _Band:
    adjusted: float
    half_width: float | None


def _learnt(plan: Plan, kpi: AdjustedSaving, baseline: PeriodDays) -> FittedModel | None:
    """The model of single days; None where the figure rests on hours or bills."""
    return kpi.learn(plan, baseline).model if kpi.granularity == "day" else None


def _conditions(plan: Plan, kpi: KpiPlan, baseline: PeriodDays) -> Conditions | None:
    return kpi.conditions(plan, baseline) if isinstance(kpi, AdjustedSaving) else None


def _day_values(period: PeriodDays, series: str, *, whole: bool) -> dict[int, float]:
    mean = period.aggregation[series] is Aggregation.MEAN
    values = period.used_values(series) if whole or mean else period.used_sums(series)
    return dict(zip(np.flatnonzero(period.used).tolist(), values.tolist(), strict=True))


def _bands(
    plan: Plan, kpi: KpiPlan, result: KpiResult, learnt: FittedModel | None, period: PeriodDays
) -> dict[int, _Band]:
    """The model on each used day, and half the prediction interval of that day's energy.

    Half width = t s sqrt(1 + (n/n') x (X'X)^-1 x'), the textbook interval of a single new observation with t and n' of
    the evaluation. It is wider, relative to its value, than the interval of the sum that the verdict rests on.
    """
    if learnt is None or not isinstance(kpi, AdjustedSaving) or not isinstance(result.model, SavingModel):
        return {}
    design = learnt.design(kpi.conditions(plan, period))
    adjusted = design @ learnt.fit.coefficients
    half_widths: Sequence[float | None] = [None] * period.n_used
    t, n_effective = result.model.t, result.model.n_effective
    if t is not None and n_effective:
        leverage = np.einsum("ij,jk,ik->i", design, learnt.fit.inverse, design) * learnt.fit.n / n_effective
        half_widths = (t * np.sqrt(learnt.fit.variance * (1.0 + leverage))).tolist()
    positions = np.flatnonzero(period.used).tolist()
    return {
        position: _Band(value, half)
        for position, value, half in zip(positions, adjusted.tolist(), half_widths, strict=True)
    }


def _days(
    name: str,
    period: PeriodDays,
    values: Mapping[str, Mapping[int, float]],
    bands: Mapping[int, _Band],
    target: float | None,
) -> Iterator[Day]:
    excluded = {day.day: day.reason for day in period.use().excluded}
    for position, day in enumerate(period.days):
        band = bands.get(position)
        half_width = None if band is None or name != "reporting" else band.half_width
        yield Day(
            day=day.isoformat(),
            period=name,
            used=bool(period.used[position]) and name != "blackout",
            excluded=name if name == "blackout" else excluded.get(day),
            complete=float(period.complete[position] / period.expected[position]),
            values={series: column.get(position) for series, column in values.items()},
            adjusted_baseline=None if band is None else band.adjusted,
            low=None if band is None or half_width is None else band.adjusted - half_width,
            high=None if band is None or half_width is None else band.adjusted + half_width,
            target=None if band is None or target is None else band.adjusted * (1.0 + target),
        )


def _line(
    learnt: FittedModel | None, conditions: Conditions | None, output: str | None
) -> tuple[tuple[float, float], ...] | None:
    if learnt is None or conditions is None or output is None or learnt.by_calendar:
        return None
    means = {name: values.mean() for name, values in conditions.variables.items()}
    measured = conditions.variables[output]
    outputs = np.linspace(float(measured.min()), float(measured.max()), LINE_POINTS)
    variables = {name: np.full(LINE_POINTS, mean) for name, mean in means.items()} | {output: outputs}
    ordinals = np.zeros(LINE_POINTS, dtype=np.int64)
    energies = learnt.design(Conditions(ordinals, variables)) @ learnt.fit.coefficients
    return tuple(zip(outputs.tolist(), energies.tolist(), strict=True))
