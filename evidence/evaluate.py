"""A plan and a table become a result."""

from __future__ import annotations

from collections.abc import Iterable

from evidence.plan import Period, Plan
from evidence.result import Evaluation, PeriodDates
from evidence.screen import Channel, subject_of
from evidence.screens import screen
from evidence.screens.impossible_increments import credible
from evidence.signed_facts import SignedFacts
from evidence.table import IntervalTable
from evidence.totals import totals


def evaluate(
    plan: Plan, table: IntervalTable, signed: SignedFacts | None = None, siblings: Iterable[Channel] = ()
) -> Evaluation:
    """Evaluate every KPI of ``plan`` over ``table``, which must hold all series of the plan, and screen the data.

    For the screens: ``signed``, what the signed records say beside the values, and ``siblings``, what else the same
    meters told at the times of the table.

    Deterministic: the same plan and table give the same document, byte for byte. Data that do not suffice give
    `evidence.verdict.Verdict.INSUFFICIENT_DATA` with reasons, never an exception.
    """
    # Screens see what was measured; figures only what can have flowed.
    possible = credible(table)
    return Evaluation(
        project=plan.project,
        plan_hash=plan.hash,
        timezone=plan.timezone,
        baseline=_dates(plan.baseline),
        reporting=_dates(plan.reporting),
        step_ms=table.step_ms,
        kpis=tuple(kpi.evaluate(plan, possible) for kpi in plan.kpis),
        totals=totals(possible),
        screens=screen(subject_of(plan, table, signed, siblings)),
    )


def _dates(period: Period) -> PeriodDates:
    return PeriodDates(first=period.start, end=period.to)
