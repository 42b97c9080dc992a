"""A plan and its bills become a result: what bills can tell, and for every other KPI that they cannot."""

from __future__ import annotations

import math

import numpy as np

from evidence.bill_reasons import events_not_taken_out, needs_intervals
from evidence.bills import BillTable
from evidence.kpi import KpiPlan
from evidence.kpis.adjusted_saving import AdjustedSaving
from evidence.origin import origin_of_table, with_origin
from evidence.plan import Plan
from evidence.quantities import Aggregation
from evidence.result import Evaluation, Events, KpiResult, PeriodDates, Totals
from evidence.table import DAY_MS, IntervalTable


def evaluate_bills(plan: Plan, bills: BillTable) -> Evaluation:
    """Evaluate the adjusted savings of ``plan`` that are asked of bills; other KPIs have insufficient data.

    Nothing is screened and no events are looked for: bills have nothing finer than themselves. Deterministic.
    """
    return Evaluation(
        project=plan.project,
        plan_hash=plan.hash,
        timezone=plan.timezone,
        baseline=PeriodDates(first=plan.baseline.start, end=plan.baseline.to),
        reporting=PeriodDates(first=plan.reporting.start, end=plan.reporting.to),
        step_ms=DAY_MS,
        kpis=tuple(with_origin(kpi, _result(plan, kpi, bills), origin_of_table(plan)) for kpi in plan.kpis),
        totals=_totals(bills),
        screens=(),
        events=Events(searches=(), recorded=(), figures=(), measurement=()),
    )


def _result(plan: Plan, kpi: KpiPlan, bills: BillTable) -> KpiResult:
    if isinstance(kpi, AdjustedSaving) and kpi.takes_bills:
        found = kpi.evaluate_bills(plan, bills)
        recorded = len(plan.non_routine_events) + len(plan.measurement_changes)
        told = (events_not_taken_out(recorded),) if recorded else ()
        return found.model_copy(update={"reasons": (*found.reasons, *told)})
    none = np.array([], dtype=np.int64)
    values = {name: np.array([], dtype=np.float64) for name in plan.series}
    found = kpi.evaluate(plan, IntervalTable(none, DAY_MS, values, plan.series, plan.zone))
    return found.model_copy(update={"reasons": (needs_intervals(), *found.reasons)})


def _totals(bills: BillTable) -> dict[str, Totals]:
    """Sums over all bills; a bill tells neither months nor peaks."""
    found = {}
    lengths = [(end - first).days for first, end in zip(bills.first, bills.end, strict=True)]
    span = (bills.end[-1] - bills.first[0]).days
    for name, series in bills.series.items():
        if series.definition.aggregation is not Aggregation.INCREMENT:
            continue
        measured = [
            (value, days)
            for value, days in zip(bills.values[name].tolist(), lengths, strict=True)
            if not math.isnan(value)
        ]
        total = math.fsum(value for value, _ in measured)
        found[name] = Totals(
            unit=series.unit,
            sum=total,
            sum_unrounded=total,
            resolution=None,
            months={},
            peak_kw=None,
            peak_start_ms=None,
            load_factor=None,
            coverage=sum(days for _, days in measured) / span,
        )
    return found
