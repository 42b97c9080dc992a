"""The catalogue of reasons: every sentence a result may give for its verdict, in English and Chinese, from the
numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from evidence.result import Reason, VariableRange
from evidence.verdict import Verdict

Side = Literal["baseline", "reporting"]
_SIDE_ZH: dict[Side, str] = {"baseline": "基准期", "reporting": "报告期"}


def percent(fraction: float) -> str:
    """A fraction as signed percent with one decimal, a true minus sign, and no signed zero."""
    text = f"{100 * fraction:+.1f}"
    if float(text) == 0:
        text = "0.0"
    return text.replace("-", "−") + " %"


def share(fraction: float) -> str:
    """A share between 0 and 1 as percent, rounded down so that a value short of a limit never reads as the limit."""
    return f"{int(1000 * fraction + 1e-9) / 10:.1f} %"


_UNIT_SYMBOLS = {"degC": "°C", "degF": "°F"}
_UNITS_ZH = {**_UNIT_SYMBOLS, "piece": "件"}


def _figure(value: float) -> str:
    """A measured value as a reader compares it: four digits, all those before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _blocking(code: str, en: str, zh: str) -> Reason:
    return Reason(code=code, level="blocking", en=en, zh=zh)


def _warning(code: str, en: str, zh: str) -> Reason:
    return Reason(code=code, level="warning", en=en, zh=zh)


def finding(
    verdict: Verdict,
    interval: tuple[float, float],
    target: float | None,
    confidence: float,
    *,
    higher_is_better: bool = False,
) -> Reason:
    """The comparison that gave a verdict."""
    low, high = percent(interval[0]), percent(interval[1])
    sure = f"{100 * confidence:g} %"
    goal_en = "zero (no target is set)" if target is None else f"the target {percent(target)}"
    goal_zh = "零（未设目标）" if target is None else f"目标 {percent(target)}"
    en = f"The {sure} interval of the change, {low} to {high}, "
    zh = f"变化率的 {sure} 置信区间为 {low} 至 {high}，"
    match verdict:
        case Verdict.MET:
            code, en, zh = (
                "interval_reaches_target",
                en + f"lies entirely at or {'above' if higher_is_better else 'below'} {goal_en}.",
                zh + f"全部达到{goal_zh}。",
            )
        case Verdict.NOT_MET:
            code = "interval_misses_target"
            en += f"lies entirely {'below' if higher_is_better else 'above'} {goal_en}."
            zh += f"全部{'低' if higher_is_better else '高'}于{goal_zh}。"
        case _:
            code = "interval_contains_target"
            en += f"contains {goal_en}: the data cannot tell whether it is reached."
            zh += f"包含{goal_zh}：现有数据无法判断是否达到。"
    return Reason(code=code, level="finding", en=en, zh=zh)


def no_production_variable() -> Reason:
    """A change of energy without what was made says nothing about efficiency."""
    return _blocking(
        "no_production_variable",
        "No production variable is given: without output, less energy may only mean that less was made.",
        "未提供产量变量：没有产量数据，能耗下降可能只是生产减少所致。",
    )


def ratio_not_adjusted() -> Reason:
    """A ratio of sums takes nothing out: what changed beside the retrofit is in it, too."""
    return _warning(
        "ratio_not_adjusted",
        "The ratio is as measured: weather, product mix and the weight of the base load at another output are not "
        "taken out of it. The adjusted saving is the figure for that.",
        "该比值为实测值：天气、产品结构以及产量变化对基本负荷占比的影响均未扣除；扣除这些影响后的结果见相对调整后基准能耗的指标。",
    )


def variable_not_exogenous(names: Sequence[str]) -> Reason:
    """A variable is another reading of the load itself."""
    listed = ", ".join(names)
    return _blocking(
        "variable_not_exogenous",
        f"{listed}: another reading of the same electrical load, not a cause of it; it fits best and proves nothing.",
        f"{listed}：属于同一用电负荷的另一读数，并非用能原因，拟合虽好但不能作为证据。",
    )


def variable_follows_load(name: str, r2: float, limit: float) -> Reason:
    """The energy follows a variable as exactly as only a reading of the same load does."""
    return _warning(
        f"variable_follows_load_{name}",
        f"'{name}' alone explains {100 * r2:.2f} % of the variation of the energy, more than {100 * limit:g} %: check "
        "that it is not computed from the meter or another reading of the same load.",
        f"仅变量“{name}”就解释了能耗变化的 {100 * r2:.2f} %，超过 {100 * limit:g} %："
        "请核实其是否由电表推算或属于同一负荷的另一读数。",
    )


def low_coverage(side: Side, used: int, days: int, minimum: float) -> Reason:
    """Too many days of a period are not usable."""
    return _blocking(
        f"low_coverage_{side}",
        f"Only {used} of {days} {side} days are usable ({share(used / days)}); {100 * minimum:g} % are needed.",
        f"{_SIDE_ZH[side]} {days} 天中仅 {used} 天可用（{share(used / days)}），至少需要 {100 * minimum:g} %。",
    )


def too_few_days(side: Side, used: int, minimum: int) -> Reason:
    """A period is too short for the method."""
    return _blocking(
        f"too_few_days_{side}",
        f"The {side} period has {used} usable days; this method needs at least {minimum}.",
        f"{_SIDE_ZH[side]}只有 {used} 个可用日，本方法至少需要 {minimum} 个。",
    )


def no_output(side: Side) -> Reason:
    """Nothing was made in a period."""
    return _blocking(
        f"no_output_{side}",
        f"Output is zero over the {side} period: energy per unit of output does not exist.",
        f"{_SIDE_ZH[side]}产量为零：单位产品能耗不存在。",
    )


def no_energy(side: Side) -> Reason:
    """No energy was used in a period, so nothing can be divided by it."""
    return _blocking(
        f"no_energy_{side}",
        f"Energy is zero over the {side} period: a relative change does not exist.",
        f"{_SIDE_ZH[side]}能耗为零：相对变化不存在。",
    )


def non_positive_baseline(value: float, unit: str) -> Reason:
    """The adjusted baseline is not positive."""
    return _blocking(
        "non_positive_baseline",
        f"The baseline model gives {_figure(value)} {unit} for the reporting conditions; no change is relative to "
        "that.",
        f"基准期模型在报告期条件下给出 {_figure(value)} {unit}，相对于它的变化没有意义。",
    )


def coefficients_undetermined(names: Sequence[str]) -> Reason:
    """Variables are constant or linearly dependent over the baseline, or there are fewer days than coefficients."""
    listed = ", ".join(names) or "intercept"
    return _blocking(
        "coefficients_undetermined",
        f"The baseline days do not determine the coefficients of {listed}: a variable is constant, depends on the "
        "others, or there are too few days.",
        f"基准期数据无法确定 {listed} 的系数：某变量恒定、与其他变量线性相关，或天数过少。",
    )


def poor_fit(r2: float, minimum: float) -> Reason:
    """R2 below the industrial gate."""
    return _blocking(
        "poor_fit",
        f"The model explains too little of the baseline: R² = {r2:.3f}, at least {minimum:g} is needed (SEP 50001).",
        f"模型对基准期的解释不足：R² = {r2:.3f}，至少需要 {minimum:g}（SEP 50001）。",
    )


def constant_energy() -> Reason:
    """Energy that does not vary cannot be explained by anything."""
    return _blocking(
        "constant_energy",
        "Daily energy is the same on every baseline day: nothing can be said about what drives it.",
        "基准期每日能耗完全相同：无法判断其影响因素。",
    )


def model_not_significant(p_value: float, maximum: float) -> Reason:
    """F-test of the model fails."""
    return _blocking(
        "model_not_significant",
        f"The model is not significant: F-test p = {p_value:.3f}, at most {maximum:g} is allowed (SEP 50001).",
        f"模型不显著：F 检验 p = {p_value:.3f}，不得大于 {maximum:g}（SEP 50001）。",
    )


def no_significant_variable(smallest: float, maximum: float) -> Reason:
    """No variable is significant on its own."""
    return _blocking(
        "no_significant_variable",
        f"No variable is significant: the smallest p is {smallest:.3f}, one below {maximum:g} is needed (SEP 50001).",
        f"没有显著变量：最小 p 值为 {smallest:.3f}，至少一个须小于 {maximum:g}（SEP 50001）。",
    )


def weak_variable(name: str, p_value: float, maximum: float) -> Reason:
    """One variable contributes little."""
    return _warning(
        f"weak_variable_{name}",
        f"'{name}' contributes little: p = {p_value:.3f}, more than {maximum:g} (SEP 50001); it widens the interval.",
        f"变量“{name}”贡献较小：p = {p_value:.3f}，大于 {maximum:g}（SEP 50001），会使区间变宽。",
    )


def not_determinable(rho: float, n_effective: float, p: int) -> Reason:
    """Residuals are so correlated that no uncertainty can be given."""
    return _blocking(
        "not_determinable",
        f"The uncertainty is not determinable: residuals are correlated (rho = {rho:.3f}), the baseline is worth only "
        f"n' = {n_effective:.1f} independent days, and {p + 1} are needed for {p} coefficients.",
        f"不确定度无法确定：残差自相关（ρ = {rho:.3f}），基准期仅相当于 n' = {n_effective:.1f} 个独立日，"
        f"{p} 个系数至少需要 {p + 1} 个。",
    )


def interval_undetermined() -> Reason:
    """Too many resamples contain no production."""
    return _blocking(
        "interval_undetermined",
        "No interval can be given: production or energy is concentrated in too few weeks.",
        "无法给出区间：产量或能耗集中在过少的几周内。",
    )


def extrapolation(variable: VariableRange, outside: Sequence[date], days: int, *, bills: bool = False) -> Reason:
    """Some reporting days (or ``bills``) lie outside the baseline's range of a variable."""
    rows, rows_zh = ("bills", "张账单") if bills else ("days", "天")
    name, low, high = variable.name, _figure(variable.baseline_low), _figure(variable.baseline_high)
    unit, unit_zh = _UNIT_SYMBOLS.get(variable.unit, variable.unit), _UNITS_ZH.get(variable.unit, variable.unit)
    return _warning(
        f"extrapolation_{name}",
        f"On {len(outside)} of {days} reporting {rows} '{name}' lies outside its baseline range of {low} to {high} "
        f"{unit} (first on {outside[0]}): the model extrapolates there.",
        f"报告期 {days} {rows_zh}中有 {len(outside)} {rows_zh}变量“{name}”超出基准期范围 {low} 至 {high} {unit_zh}"
        f"（首次 {outside[0]}）：模型在外推。",
    )


def mean_outside(variable: VariableRange) -> Reason:
    """A variable's reporting mean fails the criterion of SEP 50001."""
    name, mean = variable.name, _figure(variable.reporting_mean)
    low, high = _figure(variable.baseline_low), _figure(variable.baseline_high)
    unit, unit_zh = _UNIT_SYMBOLS.get(variable.unit, variable.unit), _UNITS_ZH.get(variable.unit, variable.unit)
    return _warning(
        f"mean_outside_{name}",
        f"The reporting mean of '{name}', {mean} {unit}, lies outside both the baseline range ({low} to "
        f"{high}) and three standard deviations of the baseline mean (SEP 50001): the result rests on the model's "
        "shape.",
        f"变量“{name}”报告期均值 {mean} {unit_zh} 既超出基准期范围（{low} 至 {high}），"
        "也超出基准期均值的三倍标准差（SEP 50001）：结果依赖模型形式。",
    )


def baseline_shorter_than_year(days: int) -> Reason:
    """The baseline does not cover a full year of seasons."""
    return _warning(
        "baseline_shorter_than_year",
        f"The baseline has {days} days, less than a year (CalTRACK 2.0 asks for 365): it has not seen every season.",
        f"基准期为 {days} 天，不足一年（CalTRACK 2.0 要求 365 天）：未覆盖的季节没有得到检验。",
    )


def season_not_seen(months: Sequence[int]) -> Reason:
    """Months of the year that only the reporting period has used days in."""
    listed = ", ".join(map(str, months))
    return _warning(
        "season_not_seen",
        f"The baseline has no usable day in these months of the year, the reporting period has: {listed}. The model "
        "has not seen their season.",
        f"报告期含有以下月份而基准期没有可用日：{listed} 月，模型未覆盖该季节。",
    )


def too_few_hours(side: Side, month: str, found: float, minimum: float) -> Reason:
    """A calendar month lacks hours."""
    return _blocking(
        f"too_few_hours_{side}_{month}",
        f"In {month} only {share(found)} of the {side} hours are complete; a model of hours needs more than "
        f"{100 * minimum:g} % of each calendar month (CalTRACK 2.0).",
        f"{_SIDE_ZH[side]} {month} 仅有 {share(found)} 的小时数据完整；小时模型要求每个自然月超过 {100 * minimum:g} %"
        "（CalTRACK 2.0）。",
    )


def model_not_of_plan(planned: str, tried: str) -> Reason:
    """The figure comes from a model that was tried afterwards."""
    return _warning(
        "model_not_of_plan",
        f"The model '{tried}' differs from the plan's '{planned}': this figure is a trial and proves nothing.",
        f"所用模型“{tried}”与方案规定的“{planned}”不同：该结果仅供试算，不能作为证据。",
    )
