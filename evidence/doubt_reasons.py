"""What stands beside a claimed saving: how far the method and the choice of model can be trusted, in two languages."""

from __future__ import annotations

import math

from evidence.detectable_change import DetectableSaving
from evidence.placebo import Placebo
from evidence.reasons import percent
from evidence.result import Reason
from evidence.specification_curve import SpecificationCurve


def _size(fraction: float) -> str:
    return percent(fraction).removeprefix("+")


def placebo_reason(found: Placebo) -> Reason:
    """The false-positive rate of the placebo test, beside what the confidence allows.

    A warning when more windows exclude zero than allowed, counted in whole windows.
    """
    if found.state == "not_determinable":
        return _placebo_not_determinable(found)
    rate, nominal = _size(found.false_positive_rate or 0.0), _size(found.nominal)
    above = found.excluding_zero > math.ceil(found.nominal * found.windows)
    return Reason(
        code="placebo_above_nominal" if above else "placebo",
        level="warning" if above else "finding",
        en=f"Placebo test on the baseline, where nothing was changed: {found.excluding_zero} of {found.windows} "
        f"windows of {found.window_days} days give an interval that excludes zero, a false-positive rate of {rate} "
        f"where the interval allows {nominal}; {found.claiming_saving} would have claimed a saving. The windows "
        f"overlap; {found.separate} fit without overlap.",
        zh=f"安慰剂检验（基准期内未实施改造）：{found.windows} 个 {found.window_days} 天的窗口中，"
        f"{found.excluding_zero} 个的区间不含零，误报率 {rate}，区间允许 {nominal}；"
        f"其中 {found.claiming_saving} 个会误称节能。窗口相互重叠，互不重叠的为 {found.separate} 个。",
    )


def _placebo_not_determinable(found: Placebo) -> Reason:
    if found.why == "no_interval":
        en = f"none of its windows of {found.window_days} days has an interval."
        zh = f"{found.window_days} 天的窗口均无法给出区间。"
    elif found.why == "bills":
        en = "a year has too few bills to take a reporting period out of them and learn from the rest."
        zh = "一年的账单过少，无法划出报告期后再用其余账单建模。"
    else:
        en = (
            f"the baseline of {found.baseline_days} days is too short for two separate windows of "
            f"{found.window_days} days and days to learn from."
        )
        zh = f"基准期 {found.baseline_days} 天，不足以划分两个互不重叠的 {found.window_days} 天窗口并留出建模天数。"
    return Reason(
        code="placebo_not_determinable",
        level="warning",
        en=f"The false-positive rate of the method on this baseline is not determinable: {en}",
        zh=f"本方法在该基准期上的误报率无法确定：{zh}",
    )


def detectable_reason(found: DetectableSaving) -> Reason:
    """Which savings these days can tell from zero."""
    at_least, powered = _size(found.excludes_zero), _size(found.with_power)
    return Reason(
        code="minimum_detectable",
        level="finding",
        en=f"These days can tell a saving from zero when it is measured as more than {at_least}; a true saving of "
        f"{powered} is found in {100 * found.power:g} of 100 cases.",
        zh=f"以现有数据，测得的节能率大于 {at_least} 才能与零区分；真实节能率为 {powered} 时，"
        f"100 次中有 {100 * found.power:g} 次能够识别。",
    )


def curve_reason(found: SpecificationCurve, change: float) -> Reason:
    """How many other models and baseline windows agree with the claim; a warning when not all do."""
    count = len(found.specifications)
    if not count:
        return Reason(
            code="no_specification",
            level="warning",
            en=f"None of {found.tried} combinations of model and baseline window is admissible for comparison.",
            zh=f"{found.tried} 种模型与基准窗口的组合均不满足比较条件。",
        )
    low, high = percent(found.specifications[0].change), percent(found.specifications[-1].change)
    sign_en, sign_zh = ("a decrease", "下降") if change < 0 else ("an increase", "上升")
    return Reason(
        code="specifications",
        level="finding" if found.same_sign == count else "warning",
        en=f"Of {count} admissible combinations of model and baseline window ({found.tried} tried), {found.same_sign} "
        f"show {sign_en} as this one does, {found.same_sign_excluding_zero} of them with an interval that excludes "
        f"zero; their changes lie between {low} and {high}.",
        zh=f"在 {count} 种可用的模型与基准窗口组合中（共试 {found.tried} 种），"
        f"{found.same_sign} 种与本结果同为{sign_zh}，"
        f"其中 {found.same_sign_excluding_zero} 种的区间不含零；变化率在 {low} 至 {high} 之间。",
    )
