"""Reasons that several KPIs share, beside those of `evidence.reasons`: from the numbers, in English and Chinese."""

from __future__ import annotations

from evidence.kpi_description import Better
from evidence.reasons import Side, percent
from evidence.result import Reason, Wording
from evidence.verdict import Verdict

_SIDE_ZH: dict[Side, str] = {"baseline": "基准期", "reporting": "报告期"}


def figure(value: float, unit: str) -> str:
    """A value with its unit, to six digits; a share as percent."""
    return f"{100 * value:.4g} %" if unit == "1" else f"{value:,.6g} {unit}"


def zero_denominator(side: Side, formula: str) -> Reason:
    """What is divided by is zero."""
    return Reason(
        code=f"zero_denominator_{side}",
        level="blocking",
        en=f"What is divided by in {formula} is not above zero over the {side} period: the figure does not exist.",
        zh=f"{_SIDE_ZH[side]}内 {formula} 的分母不大于零：该指标不存在。",
    )


def zero_numerator(side: Side, formula: str) -> Reason:
    """What is divided is zero: there is a figure, but no relative change with an interval."""
    return Reason(
        code=f"zero_numerator_{side}",
        level="blocking",
        en=f"What is divided in {formula} is not above zero over the {side} period: no interval of a relative change "
        "exists.",
        zh=f"{_SIDE_ZH[side]}内 {formula} 的分子不大于零：相对变化的区间不存在。",
    )


def above_one(side: Side, value: float, cause: Wording) -> Reason:
    """A share above 100 %: shown as it is, with what is wrong with the inputs."""
    share = percent(value).removeprefix("+")
    return Reason(
        code=f"above_one_{side}",
        level="warning",
        en=f"{share} over the {side} period is more than 100 %. It is not clipped: {cause.en}",
        zh=f"{_SIDE_ZH[side]}为 {share}，超过 100 %。未作截断：{cause.zh}",
    )


INPUTS_CONTRADICT = Wording(en="the inputs contradict each other.", zh="输入数据相互矛盾。")
STALE_RUN_TIME = Wording(
    en="the planned run time of an item is longer than the machine needs; state the present one.",
    zh="单件计划运行时间大于设备实际所需，应更新。",
)


def limits(cannot_tell: Wording) -> Reason:
    """What the KPI cannot tell, beside its verdict."""
    return Reason(code="cannot_tell", level="warning", en=cannot_tell.en, zh=cannot_tell.zh)


def by_rule(why: Wording) -> Reason:
    """Why there is a verdict without an interval."""
    return Reason(
        code="verdict_by_rule",
        level="warning",
        en=f"No interval is given, the figures are compared as they are: {why.en}",
        zh=f"不给出区间，直接比较数值：{why.zh}",
    )


def undecided(side: Side) -> Reason:
    """A period has no value."""
    return Reason(
        code=f"no_value_{side}",
        level="blocking",
        en=f"There is no value for the {side} period.",
        zh=f"{_SIDE_ZH[side]}没有数值。",
    )


def no_relative_change() -> Reason:
    """A baseline of zero, and a target relative to it."""
    return Reason(
        code="no_relative_change",
        level="blocking",
        en="The baseline value is zero: no change is relative to it. State 'required', the value to be reached.",
        zh="基准期数值为零，无法计算相对变化。请在方案中用 required 写明要求达到的数值。",
    )


def rule_finding(
    verdict: Verdict, values: tuple[float | None, float], unit: str, limit: float | None, better: Better
) -> Reason:
    """The comparison that gave a verdict by rule.

    ``values`` are those of the baseline (may be None) and the reporting period, ``limit`` what the reporting value is
    held against: the required value, or the one that the target asks for; None = the baseline value itself.
    """
    before, after = values
    from_en = "" if before is None else f"from {figure(before, unit)} "
    from_zh = "" if before is None else f"由 {figure(before, unit)} "
    en, zh = f"{from_en}to {figure(after, unit)}; ", f"{from_zh}到 {figure(after, unit)}；"
    side_en, side_zh = ("at least", "不低于") if better is Better.HIGHER else ("at most", "不高于")
    if limit is not None:
        reached_en, reached_zh = ("is reached", "已达到") if verdict is Verdict.MET else ("is not reached", "未达到")
        en += f"what is asked for, {side_en} {figure(limit, unit)}, {reached_en}."
        zh += f"要求{side_zh} {figure(limit, unit)}，{reached_zh}。"
    else:
        said = {
            Verdict.MET: ("an improvement", "有改善"),
            Verdict.NOT_MET: ("no improvement", "没有改善"),
        }.get(verdict, ("unchanged", "不变"))
        en, zh = en + said[0] + " (no target is set).", zh + said[1] + "（未设目标）。"
    return Reason(code=f"by_rule_{verdict.value}", level="finding", en=en[0].upper() + en[1:], zh=zh)


def reporting_model_fails(r2: float | None, p_value: float | None) -> Reason:
    """The model of the reporting period explains too little (the gate of SEP 50001, asked of both models)."""
    told = "R² = -" if r2 is None else f"R² = {r2:.3f}"
    if p_value is not None:
        told += f", p = {p_value:.3f}"
    return Reason(
        code="reporting_model_fails",
        level="blocking",
        en=f"The model of the reporting period explains too little of it: {told} (SEP 50001).",
        zh=f"报告期模型的解释不足：{told}（SEP 50001）。",
    )
