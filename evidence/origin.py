"""Where the values of a table come from, and what a figure may claim that rests on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evidence.grade import EvidenceGrade, weakest
from evidence.kpi import KpiPlan
from evidence.plan import Plan, SeriesPlan
from evidence.result import KpiResult, Reason, SeriesInput, Wording
from evidence.saving_kpi import SavingKpiModel
from evidence.table import IntervalTable
from evidence.verdict import Verdict

GRADE_NAMES: Mapping[EvidenceGrade, Wording] = {
    EvidenceGrade.GATEWAY_SIGNED: Wording(en="signed by a gateway", zh="网关签名"),
    EvidenceGrade.METER_HISTORY: Wording(en="meter's own history, signed by a gateway", zh="电表自存数据（网关签名）"),
    EvidenceGrade.IMPORTED_DOCUMENT: Wording(en="imported document, not signed", zh="导入文件（未签名）"),
}

BY_MONTHS = "bill_month"
"""Granularity of models that are learnt on whole months: they see the sums of bills, never their days."""

_NOT_LEARNT_FROM_DAYS: Mapping[str, object] = {
    "half_width": None,
    "placebo": None,
    "detectable": None,
    "alternative_intervals": (),
    "specification_curve": None,
}
_DOUBTS = frozenset({
    *("placebo", "placebo_above_nominal", "placebo_not_determinable"),
    *("minimum_detectable", "specifications", "no_specification"),
})  # fmt: skip
"""What is said of how far an interval can be trusted, where there is none."""


@dataclass(frozen=True)
class Origin:
    """What is known of a table beside its values.

    ``inputs``: where each series comes from, by time. ``spread``: the series whose days are equal parts of longer
    amounts. ``screened``: what gateways measured, where the table itself is coarser than that; the screens look at it.
    """

    inputs: Mapping[str, tuple[SeriesInput, ...]]
    spread: frozenset[str] = frozenset()
    screened: IntervalTable | None = None


def origin_of_table(plan: Plan) -> Origin:
    """All series come from a table that nobody signed, and of which nothing is known."""
    return Origin({name: (_input(plan, name, EvidenceGrade.IMPORTED_DOCUMENT, ()),) for name in plan.series})


def origin_of_documents(plan: Plan, sources: Mapping[str, tuple[str, ...]], spread: frozenset[str]) -> Origin:
    """Each series comes from the imported series named in ``sources``."""
    return Origin(
        {name: (_input(plan, name, EvidenceGrade.IMPORTED_DOCUMENT, sources[name]),) for name in plan.series}, spread
    )


def origin_of_plan(plan: Plan, spread: frozenset[str] = frozenset(), screened: IntervalTable | None = None) -> Origin:
    """Each series comes from where the plan says."""
    inputs = {name: tuple(_planned(plan, name, series)) for name, series in plan.series.items()}
    return Origin(inputs, spread, screened)


def _planned(plan: Plan, name: str, series: SeriesPlan) -> Iterator[SeriesInput]:
    earlier = series.earlier
    if earlier is not None:
        grade = EvidenceGrade.IMPORTED_DOCUMENT if earlier.documents else EvidenceGrade.METER_HISTORY
        before = _input(plan, name, grade, earlier.documents or earlier.stored)
        yield before.model_copy(update={"end": earlier.until})
    if series.sources:
        since = _input(plan, name, EvidenceGrade.GATEWAY_SIGNED, series.sources)
    elif series.stored:
        since = _input(plan, name, EvidenceGrade.METER_HISTORY, series.stored)
    else:
        since = _input(plan, name, EvidenceGrade.IMPORTED_DOCUMENT, series.documents)
    yield since if earlier is None else since.model_copy(update={"first": earlier.until})


def _input(plan: Plan, series: str, grade: EvidenceGrade, sources: tuple[str, ...]) -> SeriesInput:
    return SeriesInput(
        series=series, first=plan.baseline.start, end=plan.reporting.to, grade=grade, sources=tuple(sources)
    )


def plan_of_table(plan: Plan, table: IntervalTable) -> Plan:
    """The plan with only the series that a table has; a whole of which a part is elsewhere has no parts."""
    if set(plan.series) == set(table.values):
        return plan
    kept = {name: one for name, one in plan.series.items() if name in table.values}
    series = {
        name: one if set(one.parts) <= set(kept) else one.model_copy(update={"parts": (), "losses": None})
        for name, one in kept.items()
    }
    return plan.model_copy(update={"series": series})


def with_origin(kpi: KpiPlan, result: KpiResult, origin: Origin) -> KpiResult:
    """The result with what it rests on; without a verdict where its days were never measured.

    A method that learns from days finds a bill's equal parts much too regular: its interval would be a false one.
    """
    names = list(dict.fromkeys(kpi.names()))
    inputs = tuple(one for name in names for one in origin.inputs[name])
    graded = result.model_copy(update={"grade": weakest(one.grade for one in inputs), "inputs": inputs})
    spread = [name for name in names if name in origin.spread]
    if not spread or getattr(result.model, "granularity", None) == BY_MONTHS:
        return graded
    reason = spread_over_days(spread, blocking=result.interval is not None)
    if result.interval is None:
        return graded.model_copy(update={"reasons": (*result.reasons, reason)})
    model = result.model
    if isinstance(model, SavingKpiModel):
        model = model.model_copy(update=_NOT_LEARNT_FROM_DAYS)
    kept = [one for one in result.reasons if one.level != "finding" and one.code not in _DOUBTS]
    return graded.model_copy(
        update={
            "interval": None,
            "verdict": Verdict.INSUFFICIENT_DATA,
            "reasons": (reason, *kept),
            "model": model,
        }
    )


def spread_over_days(names: Sequence[str], *, blocking: bool) -> Reason:
    """Days of these series are equal parts of longer amounts."""
    quoted, quoted_zh = ", ".join(f"'{name}'" for name in names), "、".join(f"“{name}”" for name in names)
    return Reason(
        code="spread_over_days",
        level="blocking" if blocking else "warning",
        en=f"Known only by longer periods than days (bills), and divided evenly among their days: {quoted}. Sums are "
        "right, but nothing can be learnt from single days.",
        zh=f"只有比日更长周期的数据（账单），已平均分摊到各日：{quoted_zh}。合计正确，但不能由单日数据得出结论。",
    )
