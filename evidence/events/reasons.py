"""The sentences about events: why a verdict depends on one, or is none, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from evidence.reasons import percent
from evidence.result import Reason
from evidence.verdict import Verdict

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.MET: ("met", "达成"),
    Verdict.NOT_MET: ("not met", "未达成"),
    Verdict.NOT_DISTINGUISHABLE: ("not distinguishable", "无法区分"),
    Verdict.INSUFFICIENT_DATA: ("insufficient data", "数据不足"),
}


def with_and_without(
    count: int, verdict: Verdict, change: float | None, bare: Verdict, bare_change: float | None
) -> Reason:
    """The figure holds recorded events; what it would be without any."""
    en, zh = (_VERDICTS[one] for one in (verdict, bare))
    now, then = (("—" if one is None else percent(one)) for one in (change, bare_change))
    return Reason(
        code="events_taken_out",
        level="warning",
        en=f"{count} recorded non-routine event(s) are taken out of this figure: {now} ({en[0]}). As measured, with "
        f"none of them taken out: {then} ({zh[0]}).",
        zh=f"该结果已扣除 {count} 项已登记的非常规事件：{now}（{en[1]}）。"
        f"不扣除任何事件（按实测）：{then}（{zh[1]}）。",
    )


def verdict_depends_on_events(verdicts: Sequence[tuple[str, str, Verdict]]) -> Reason:
    """The verdict is another with other events; each as what it is called (en, zh) and its verdict."""
    en = "; ".join(f"{name}: {_VERDICTS[verdict][0]}" for name, _, verdict in verdicts)
    zh = "；".join(f"{name}：{_VERDICTS[verdict][1]}" for _, name, verdict in verdicts)
    return Reason(
        code="verdict_depends_on_events",
        level="warning",
        en=f"The verdict depends on how recorded events are treated: {en}. Whoever accepts it accepts those records.",
        zh=f"结论取决于已登记事件的处理方式：{zh}。接受该结论即接受这些记录。",
    )


def event_uncertainty(alone: float, together: float) -> Reason:
    """The interval holds the uncertainty of what events took or added; half widths of the change."""
    return Reason(
        code="event_uncertainty",
        level="warning",
        en=f"The interval holds the uncertainty of the events' quantities: ±{100 * together:.1f} points of change, "
        f"±{100 * alone:.1f} without it.",
        zh=f"区间已计入事件用能量的不确定度：变化率 ±{100 * together:.1f} 个百分点，"
        f"不计入时为 ±{100 * alone:.1f} 个百分点。",
    )


def event_not_quantified(event: str) -> Reason:
    """An event is to be taken out by the model, but the days do not say how much it was."""
    return Reason(
        code=f"event_not_quantified_{event}",
        level="blocking",
        en=f"Event '{event}' is to be taken out of the figure, but the days do not determine how much energy it was: "
        "there are too few usable days inside or outside of it. State the quantity, or leave its days out.",
        zh=f"事件“{event}”应从结果中扣除，但其内外可用日过少，无法确定其用能量。请给出用能量，或剔除相应日期。",
    )


def event_recorded_late(event: str, recorded: date, end: date) -> Reason:
    """Somebody who knew the result wrote the event down."""
    return Reason(
        code=f"event_recorded_late_{event}",
        level="warning",
        en=f"Event '{event}' was recorded on {recorded}, when the reporting period had ended ({end}) and its result "
        "could be known.",
        zh=f"事件“{event}”于 {recorded} 登记，当时报告期已结束（{end}），结果可能已知。",
    )


def candidates_found(count: int, unrecorded: int, period_en: str, period_zh: str) -> Reason:
    """Runs of days stand apart from the others."""
    return Reason(
        code=f"event_candidates_{period_en}",
        level="warning",
        en=f"{count} run(s) of days in the {period_en} period stand apart from its other days, {unrecorded} of them "
        "without a recorded event: ask what happened. No figure is changed by it.",
        zh=f"{period_zh}有 {count} 段日期的用能与其余日期明显不同，其中 {unrecorded} 段没有登记事件：需核实发生了什么。"
        "该提示不改变任何结果。",
    )


def measurement_changed(device: str, setting: str, day: date) -> Reason:
    """Values before and after are not in the same measure, and nobody has said what is right."""
    return Reason(
        code="measurement_changed",
        level="blocking",
        en=f"On {day} '{setting}' of {device} changed: values before and after it are not in one measure, unless a "
        "person records that they are, or by how much they are to be corrected (measurement_changes of the plan).",
        zh=f"{day} 设备 {device} 的“{setting}”发生变更：前后数值的计量口径不一致，"
        "除非有人在方案的 measurement_changes 中登记其一致，或给出修正系数。",
    )
