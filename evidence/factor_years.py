"""What another factor year would have said.

A KPI uses one factor on both sides. Statistics bring a new factor every year, and a figure of the baseline by the old
one against a figure of the reporting period by the new one calls a cleaner grid a saving: Ningxia's factor fell by
3.7 % from 2022 to 2023. Where the factor in force changed between the periods, the result shows the change by either
year on both sides, and what mixing them would have claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Literal

from evidence.carriers import Carrier
from evidence.factors import Factor
from evidence.reasons import percent
from evidence.result import KpiResult, Reason, ResultModel

if TYPE_CHECKING:
    from evidence.plan import Period, Plan


class FactorYearFigure(ResultModel):
    """The figure by other factors of the same table: ``factors`` of the baseline and of the reporting period.

    ``basis``: the year in force in the baseline, or in the reporting period, on both sides; or each period's own, which
    is no saving and has no verdict.
    """

    basis: Literal["baseline_year", "reporting_year", "mixed"]
    factors: tuple[tuple[str, ...], tuple[str, ...]]
    baseline: float | None
    reporting: float | None
    change: float | None


def factor_in_force(table: Mapping[str, Factor], name: str, period: Period) -> str:
    """The row of the same series of years as ``name`` that was the newest in the middle of ``period``.

    ``name`` itself where it belongs to no such series; its oldest row where all are of later years.
    """
    stem = _stem(table, name)
    if stem is None:
        return name
    of_series = sorted((row.year, other) for other, row in table.items() if _stem(table, other) == stem)
    middle = date.fromordinal((period.start.toordinal() + period.to.toordinal()) // 2).year
    known = [other for year, other in of_series if year <= middle]
    return known[-1] if known else of_series[0][1]


def factor_year_figures(
    plan: Plan,
    table: Mapping[str, Factor],
    carriers: Sequence[Carrier],
    evaluated: Callable[[tuple[Carrier, ...]], KpiResult],
) -> tuple[FactorYearFigure, ...]:
    """The figures by the factors of either period and by both mixed; empty where the same were in force in both.

    ``evaluated`` gives the result of the KPI by other carriers.
    """
    before, after = (
        tuple(_of_period(table, one, period) for one in carriers) for period in (plan.baseline, plan.reporting)
    )
    if before == after:
        return ()
    first, second = evaluated(before), evaluated(after)
    mixed = None
    if first.baseline is not None and second.reporting is not None and first.baseline > 0:
        mixed = second.reporting / first.baseline - 1.0
    return (
        _figure("baseline_year", (before, before), first.baseline, first.reporting, first.change),
        _figure("reporting_year", (after, after), second.baseline, second.reporting, second.change),
        _figure("mixed", (before, after), first.baseline, second.reporting, mixed),
    )


def factor_year_reason(result: KpiResult, figures: Sequence[FactorYearFigure]) -> Reason:
    """The factor year changed between the periods, and how much of a saving that would have pretended."""
    before, after, mixed = figures
    told = [
        ("—" if one is None else percent(one)) for one in (result.change, before.change, after.change, mixed.change)
    ]
    names = [", ".join(one) for one in mixed.factors]
    return Reason(
        code="factor_year_changed",
        level="warning",
        en=f"The factor in force changed between the periods ({names[0]} → {names[1]}). One year stands on both sides: "
        f"{told[0]} by the plan, {told[1]} by the baseline's factor, {told[2]} by the reporting period's. Mixed, it "
        f"would have been {told[3]}, which is not a saving.",
        zh=f"两个时期之间适用的因子发生变化（{names[0]} → {names[1]}）。前后采用同一年度：按方案 {told[0]}，"
        f"按基准期因子 {told[1]}，按报告期因子 {told[2]}。若混用不同年度则为 {told[3]}，这并不是节能。",
    )


def _stem(table: Mapping[str, Factor], name: str) -> str | None:
    stem, _, year = name.rpartition("_")
    return stem if name in table and year == str(table[name].year) else None


def _of_period(table: Mapping[str, Factor], carrier: Carrier, period: Period) -> Carrier:
    if not isinstance(carrier.factor, str):
        return carrier
    return carrier.model_copy(update={"factor": factor_in_force(table, carrier.factor, period)})


def _figure(
    basis: Literal["baseline_year", "reporting_year", "mixed"],
    carriers: tuple[Sequence[Carrier], Sequence[Carrier]],
    baseline: float | None,
    reporting: float | None,
    change: float | None,
) -> FactorYearFigure:
    before, after = (tuple(one.factor for one in side if isinstance(one.factor, str)) for side in carriers)
    return FactorYearFigure(basis=basis, factors=(before, after), baseline=baseline, reporting=reporting, change=change)
