"""The ten indicators: pure functions from a snapshot and the programme's thresholds to a light with its reason.

Grey is 'not known', with what is missing; no missing input is ever green.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from evidence.indicators.snapshot import Snapshot
from evidence.indicators.thresholds import AtLeast, AtMost, Thresholds
from evidence.indicators.trend import FEWEST_POINTS, extrapolate
from evidence.reasons import percent, share
from evidence.result import ResultModel, Wording


class Light(StrEnum):
    """The state of an indicator. ``symbol`` tells them apart without colour."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    GREY = "grey"

    @property
    def symbol(self) -> str:
        """A shape for each state."""
        return {"green": "●", "yellow": "▲", "red": "■", "grey": "○"}[self.value]

    @property
    def word(self) -> Wording:
        """What each state is called."""
        return _WORDS[self]


_WORDS = {
    Light.GREEN: Wording(en="in order", zh="正常"),
    Light.YELLOW: Wording(en="attention", zh="关注"),
    Light.RED: Wording(en="at risk", zh="风险"),
    Light.GREY: Wording(en="not known", zh="未知"),
}


class Indicator(ResultModel):
    """One light, and in words why it is what it is."""

    name: str
    title: Wording
    light: Light
    reason: Wording


Judged = tuple[Light, str, str]


def indicators(snapshot: Snapshot, thresholds: Thresholds) -> tuple[Indicator, ...]:
    """All ten, in their fixed order."""
    found = []
    for name, title, judge in _TEN:
        light, en, zh = judge(snapshot, thresholds)
        found.append(Indicator(name=name, title=title, light=light, reason=Wording(en=en, zh=zh)))
    return tuple(found)


def early_warning(snapshot: Snapshot, thresholds: Thresholds) -> Indicator:
    """Whether the project will miss its acceptance at today's pace, with the uncertainty of that.

    The trend is carried on to the end of the reporting period, or of acceptance if that is earlier. Red: its whole
    interval misses the target, or acceptance is over before the reporting period is. Yellow: the target lies inside
    the interval. Green: the whole interval reaches it.
    """
    light, en, zh = _early_warning(snapshot, thresholds)
    title = Wording(en="Early warning: acceptance at today's pace", zh="验收预警（按目前进度）")
    return Indicator(name="early_warning", title=title, light=light, reason=Wording(en=en, zh=zh))


def _unknown(en: str, zh: str) -> Judged:
    return Light.GREY, f"Not known: {en}.", f"未知：{zh}。"


def _more(value: float, limit: AtLeast) -> Light:
    return Light.GREEN if value >= limit.green else Light.YELLOW if value >= limit.yellow else Light.RED


def _less(value: float, limit: AtMost) -> Light:
    return Light.GREEN if value <= limit.green else Light.YELLOW if value <= limit.yellow else Light.RED


def _data_continuity(now: Snapshot, limits: Thresholds) -> Judged:
    if now.data_continuity is None:
        return _unknown("the reporting period has no interval yet", "报告期尚无数据区间")
    shown, limit = share(now.data_continuity), share(limits.data_continuity.green)
    return (
        _more(now.data_continuity, limits.data_continuity),
        f"{shown} of the intervals so far have data (green from {limit}).",
        f"目前 {shown} 的区间有数据（{limit} 起为绿）。",
    )


def _chain(now: Snapshot, _: Thresholds) -> Judged:
    if now.chain is None:
        return _unknown("the chain of records was not checked", "记录链未核验")
    if now.chain == "pass":
        return Light.GREEN, "Every record follows on the one before.", "每条记录均与前一条相接。"
    return Light.RED, "The chain of records is broken.", "记录链断裂。"


def _clock(now: Snapshot, limits: Thresholds) -> Judged:
    if now.clock_s is None:
        return _unknown("a gateway does not tell how far its clock is off", "有网关未报告时钟偏差")
    return (
        _less(now.clock_s, limits.clock_s),
        f"The worst clock is at most {now.clock_s:.3g} s off (green up to {limits.clock_s.green:g} s).",
        f"时钟偏差至多 {now.clock_s:.3g} 秒（{limits.clock_s.green:g} 秒以内为绿）。",
    )


def _baseline_coverage(now: Snapshot, limits: Thresholds) -> Judged:
    if now.baseline_coverage is None:
        return _unknown("the baseline has no data", "基准期无数据")
    shown, limit = share(now.baseline_coverage), share(limits.baseline_coverage.green)
    return (
        _more(now.baseline_coverage, limits.baseline_coverage),
        f"{shown} of the baseline's days are used (green from {limit}).",
        f"基准期 {shown} 的日子可用（{limit} 起为绿）。",
    )


def _registered(now: Snapshot, limits: Thresholds) -> Judged:
    if now.registered is None or now.reporting_start is None:
        return _unknown("the plan is not registered", "方案未登记")
    days = (now.reporting_start - now.registered).days
    if days <= 0:
        return (
            Light.RED,
            f"Registered {now.registered}, not before the reporting period begins ({now.reporting_start}).",
            f"{now.registered} 登记，不早于报告期开始（{now.reporting_start}）。",
        )
    return (
        _more(days, limits.registered_days),
        f"Registered {days} days before the reporting period (green from {limits.registered_days.green:g}).",
        f"报告期开始前 {days} 天登记（{limits.registered_days.green:g} 天起为绿）。",
    )


def _trend(now: Snapshot, _: Thresholds) -> Judged:
    if now.trend is None or not now.trend.points:
        return _unknown("no KPI with a target has a full week yet", "尚无设定目标的指标满一周")
    change, target = now.trend.points[-1].change, now.trend.target
    sign = 1 if now.trend.higher_is_better else -1
    light = Light.GREEN if sign * (change - target) >= 0 else Light.YELLOW if sign * change > 0 else Light.RED
    en = f"{now.trend.kpi}: the newest week changed by {percent(change)}, the target is {percent(target)}"
    zh = f"{now.trend.kpi}：最近一周变化 {percent(change)}，目标 {percent(target)}"
    return light, f"{en} (yellow: the right direction, not enough).", f"{zh}（黄：方向正确但未达目标）。"


def _schedule(now: Snapshot, limits: Thresholds) -> Judged:
    if now.reporting_end is None or now.acceptance_end is None:
        return _unknown("plan or programme states no end", "方案或计划未注明截止日期")
    days = (now.acceptance_end - now.reporting_end).days
    if days < 0 or now.today >= now.acceptance_end:
        return (
            Light.RED,
            f"Acceptance is over from {now.acceptance_end} on, the reporting period ends before {now.reporting_end}.",
            f"{now.acceptance_end} 起不再验收，报告期至 {now.reporting_end}（不含）。",
        )
    return (
        _more(days, limits.schedule_days),
        f"{days} days from the end of the reporting period to the end of acceptance "
        f"(green from {limits.schedule_days.green:g}).",
        f"报告期结束至验收截止有 {days} 天（{limits.schedule_days.green:g} 天起为绿）。",
    )


def _assets(now: Snapshot, limits: Thresholds) -> Judged:
    if not now.assets:
        return _unknown("the project has no asset list", "项目没有资产清单")
    missing = [
        one.gateway
        for one in now.assets
        if not one.enrolled or one.silent_hours is None or one.silent_hours > limits.silent_hours
    ]
    delivering = len(now.assets) - len(missing)
    en = f"{delivering} of {len(now.assets)} subsidised gateways are enrolled and deliver"
    zh = f"{len(now.assets)} 台受补助网关中 {delivering} 台已入网并持续上传"
    if missing:
        en, zh = f"{en}; not: {', '.join(missing)}", f"{zh}；未上传：{'、'.join(missing)}"
    return _more(delivering / len(now.assets), limits.assets_delivered), f"{en}.", f"{zh}。"


def _connection_rate(now: Snapshot, limits: Thresholds) -> Judged:
    if now.connection_rate is None:
        return _unknown("the plan has no connection rate", "方案未设联网率指标")
    shown, limit = share(now.connection_rate), share(limits.connection_rate.green)
    return (
        _more(now.connection_rate, limits.connection_rate),
        f"{shown} of the machines are connected (green from {limit}).",
        f"{shown} 的设备已联网（{limit} 起为绿）。",
    )


def _open_incidents(now: Snapshot, limits: Thresholds) -> Judged:
    if now.open_incidents is None:
        return _unknown("incidents were not counted", "未统计异常事件")
    return (
        _less(now.open_incidents, limits.open_incidents),
        f"{now.open_incidents} incident{'' if now.open_incidents == 1 else 's'} "
        f"(green up to {limits.open_incidents.green:g}).",
        f"{now.open_incidents} 起异常事件（{limits.open_incidents.green:g} 起以内为绿）。",
    )


def _early_warning(now: Snapshot, limits: Thresholds) -> Judged:
    if now.acceptance_end is None:
        return _unknown("the programme states no end of acceptance", "计划未注明验收截止日期")
    schedule, en, zh = _schedule(now, limits)
    if schedule is Light.RED:
        return schedule, en, zh
    if now.trend is None:
        return _unknown("no KPI has a target", "没有设定目标的指标")
    confidence = limits.early_warning_confidence
    end = now.acceptance_end if now.reporting_end is None else min(now.reporting_end, now.acceptance_end)
    ahead = extrapolate(now.trend, end, confidence)
    if ahead is None:
        weeks = len(now.trend.points)
        return _unknown(
            f"{weeks} weeks of data, {FEWEST_POINTS} are needed", f"仅有 {weeks} 周数据，至少需要 {FEWEST_POINTS} 周"
        )
    worst, best = (ahead.low, ahead.high) if now.trend.higher_is_better else (-ahead.high, -ahead.low)
    target = now.trend.target if now.trend.higher_is_better else -now.trend.target
    light = Light.GREEN if worst >= target else Light.RED if best < target else Light.YELLOW
    spoken = {
        Light.GREEN: ("reaches", "可达到"),
        Light.YELLOW: ("may miss", "可能达不到"),
        Light.RED: ("misses", "将达不到"),
    }[light]
    sure = f"{100 * confidence:g} %"
    return (
        light,
        f"{now.trend.kpi}: at today's pace ({percent(ahead.per_week)} a week) {percent(ahead.value)} on {ahead.day}, "
        f"{sure} interval {percent(ahead.low)} to {percent(ahead.high)}: {spoken[0]} the target "
        f"{percent(now.trend.target)}, if the pace lasts and the weeks are independent.",
        f"{now.trend.kpi}：按目前进度（每周 {percent(ahead.per_week)}），{ahead.day} 为 {percent(ahead.value)}，"
        f"{sure} 区间 {percent(ahead.low)} 至 {percent(ahead.high)}：{spoken[1]}目标 {percent(now.trend.target)}"
        f"（假定进度不变且各周相互独立）。",
    )


_TEN: tuple[tuple[str, Wording, Callable[[Snapshot, Thresholds], Judged]], ...] = (
    ("data_continuity", Wording(en="Data continuity", zh="数据连续性"), _data_continuity),
    ("chain", Wording(en="Chain of records", zh="记录链"), _chain),
    ("clock", Wording(en="Clock", zh="时钟"), _clock),
    ("baseline_coverage", Wording(en="Baseline coverage", zh="基准期覆盖率"), _baseline_coverage),
    ("registered", Wording(en="Plan registered in time", zh="方案按时登记"), _registered),
    ("trend", Wording(en="Trend against target", zh="趋势与目标"), _trend),
    ("schedule", Wording(en="Schedule", zh="进度安排"), _schedule),
    ("assets", Wording(en="Assets delivered", zh="资产到位"), _assets),
    ("connection_rate", Wording(en="Connection rate", zh="联网率"), _connection_rate),
    ("open_incidents", Wording(en="Open incidents", zh="未结异常"), _open_incidents),
)
