"""A plan and a table become a result."""

from __future__ import annotations

from collections.abc import Iterable

from evidence.events.evaluation import judge_with_events
from evidence.events.measurement_changes import scaled
from evidence.one_thread import settle_linear_algebra
from evidence.origin import Origin, origin_of_table, plan_of_table, with_origin
from evidence.plan import Period, Plan
from evidence.result import Evaluation, PeriodDates
from evidence.screen import Channel, subject_of
from evidence.screens import screen
from evidence.screens.impossible_increments import credible
from evidence.signed_facts import SignedFacts
from evidence.table import IntervalTable
from evidence.totals import totals


def evaluate(
    plan: Plan,
    table: IntervalTable,
    signed: SignedFacts | None = None,
    siblings: Iterable[Channel] = (),
    origin: Origin | None = None,
) -> Evaluation:
    """Evaluate every KPI of ``plan`` over ``table``, which must hold all series of the plan, and screen the data.

    For the screens and the changes of meters: ``signed``, what the signed records say beside the values; for the
    screens: ``siblings``, what else the same meters told at the times of the table. ``origin``: where the values come
    from; without it nothing is known of that, and every KPI has the weakest grade.

    Deterministic: the same plan and table give the same document, byte for byte. Data that do not suffice give
    `evidence.verdict.Verdict.INSUFFICIENT_DATA` with reasons, never an exception.
    """
    settle_linear_algebra()
    # Screens see what was measured; figures only what can have flowed.
    possible = figures_table(plan, table)
    judged = judge_with_events(plan, possible, table, signed)
    known = origin_of_table(plan) if origin is None else origin
    screened = table if known.screened is None else known.screened
    return Evaluation(
        project=plan.project,
        plan_hash=plan.hash,
        timezone=plan.timezone,
        baseline=_dates(plan.baseline),
        reporting=_dates(plan.reporting),
        step_ms=table.step_ms,
        kpis=tuple(with_origin(kpi, result, known) for kpi, result in zip(plan.kpis, judged.kpis, strict=True)),
        totals=totals(possible, known.spread),
        screens=screen(subject_of(plan_of_table(plan, screened), screened, signed, siblings)),
        events=judged.events,
    )


def figures_table(plan: Plan, table: IntervalTable) -> IntervalTable:
    """What can have flowed: the table in one measure throughout, as people recorded it, without impossible values."""
    return credible(scaled(plan, table))


def _dates(period: Period) -> PeriodDates:
    return PeriodDates(first=period.start, end=period.to)
