"""A plan and a table become a result."""

from __future__ import annotations

from evidence.plan import Period, Plan
from evidence.result import Evaluation, PeriodDates
from evidence.table import IntervalTable
from evidence.totals import totals


def evaluate(plan: Plan, table: IntervalTable) -> Evaluation:
    """Evaluate every KPI of ``plan`` over ``table``, which must hold all series of the plan.

    Deterministic: the same plan and table give the same document, byte for byte. Data that do not suffice give
    `evidence.verdict.Verdict.INSUFFICIENT_DATA` with reasons, never an exception.
    """
    return Evaluation(
        project=plan.project,
        plan_hash=plan.hash,
        timezone=plan.timezone,
        baseline=_dates(plan.baseline),
        reporting=_dates(plan.reporting),
        step_ms=table.step_ms,
        kpis=tuple(kpi.evaluate(plan, table) for kpi in plan.kpis),
        totals=totals(table),
    )


def _dates(period: Period) -> PeriodDates:
    return PeriodDates(first=period.start, end=period.to)
