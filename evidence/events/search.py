"""The search for non-routine events in a KPI's residuals, period by period, beside the events that people recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from evidence.events.detection import FALSE_ALARM_LEVEL, MINIMUM_DAYS, ROUNDING, Run, search_runs
from evidence.events.recorded import PERIODS, PeriodName
from evidence.events.treatment import touched_days
from evidence.kpis.adjusted_saving import SavingDay, SavingModel
from evidence.result import EventCandidate, EventSearch, KpiResult, Wording

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.table import IntervalTable

QUESTION = Wording(
    en="Needs checking on site: what happened on these days? If a static factor changed, record it in the plan. "
    "This changes no figure.",
    zh="需现场核实：这些日期发生了什么？如有固定因素变化，请在方案中登记。该提示不改变任何结果。",
)


def searches(plan: Plan, table: IntervalTable, results: Sequence[KpiResult]) -> tuple[EventSearch, ...]:
    """Search the residuals of every KPI that shows them, as measured: no recorded event may be taken out of them."""
    found = (
        _search(plan, table, result, result.model, period)
        for result in results
        if isinstance(result.model, SavingModel)
        for period in PERIODS
    )
    return tuple(found)


def _search(plan: Plan, table: IntervalTable, result: KpiResult, model: SavingModel, period: PeriodName) -> EventSearch:
    days = [day for day in model.daily if day.period == period]
    residuals = np.array([day.residual for day in days])
    if np.abs(residuals).max(initial=0.0) <= ROUNDING * max((abs(day.measured) for day in days), default=0.0):
        residuals = np.zeros(len(days))
    ordinals = np.array([day.day.toordinal() for day in days], dtype=np.int64)
    # Within the reporting period a slope on the load is taken out: savings are often in proportion to it.
    load = np.array([day.adjusted_baseline for day in days]) if period == "reporting" else None
    search = search_runs(residuals, ordinals, load)
    if search is None:
        return EventSearch(
            kpi=result.id,
            period=period,
            state="not_checked",
            days=len(days),
            level=FALSE_ALARM_LEVEL,
            rho=None,
            critical=None,
            candidates=(),
            finding=Wording(
                en=f"Not checked: {len(days)} days with a residual; {MINIMUM_DAYS} are needed.",
                zh=f"未检查：有残差的日期为 {len(days)} 天，至少需要 {MINIMUM_DAYS} 天。",
            ),
        )
    candidates = tuple(_candidates(plan, table, model, days, search.runs))
    return EventSearch(
        kpi=result.id,
        period=period,
        state="searched",
        days=len(days),
        level=FALSE_ALARM_LEVEL,
        rho=search.rho,
        critical=search.critical,
        candidates=candidates,
        finding=_finding(len(candidates)),
    )


def _finding(count: int) -> Wording:
    level = f"{100 * FALSE_ALARM_LEVEL:g} %"
    if not count:
        return Wording(
            en=f"No run of days stands apart (a period without events has one in {level} of cases).",
            zh=f"没有明显不同的日期段（没有事件时误报的概率为 {level}）。",
        )
    return Wording(
        en=f"{count} run(s) of days stand apart (a period without events has one in {level} of cases).",
        zh=f"有 {count} 段日期明显不同（没有事件时误报的概率为 {level}）。",
    )


def _candidates(
    plan: Plan, table: IntervalTable, model: SavingModel, days: Sequence[SavingDay], runs: Sequence[Run]
) -> Iterator[EventCandidate]:
    touched = {
        event.id: touched_days(plan, table, event) for event in plan.non_routine_events if event.series == model.energy
    }
    for run in runs:
        inside = days[run.first : run.end]
        first, end = inside[0].day, inside[-1].day + timedelta(days=1)
        yield EventCandidate(
            first=first,
            end=end,
            days=len(inside),
            level=run.level,
            energy=run.level * len(inside),
            unit=model.energy_unit,
            statistic=run.statistic,
            recorded=tuple(name for name, of_event in touched.items() if _overlaps(of_event, first, end)),
            statement=QUESTION,
        )


def _overlaps(days: frozenset[date], first: date, end: date) -> bool:
    return any(first <= day < end for day in days)
