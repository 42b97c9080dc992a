"""What a result from bills says of itself, in English and Chinese."""

from __future__ import annotations

from datetime import date

from evidence.bills import LONGEST_DAYS, SHORTEST_DAYS, Exclusion
from evidence.reasons import Side
from evidence.result import Reason

_SIDE_ZH: dict[Side, str] = {"baseline": "基准期", "reporting": "报告期"}

_WHY: dict[Exclusion, tuple[str, str]] = {
    "crosses_edge": ("it lies across the edge of the period", "跨越该期边界"),
    "missing": ("a value is missing or was never read", "数值缺失或从未抄表"),
    "too_short": (f"it has fewer than {SHORTEST_DAYS} days", f"不足 {SHORTEST_DAYS} 天"),
    "too_long": (f"it has more than {LONGEST_DAYS} days", f"超过 {LONGEST_DAYS} 天"),
}


def too_few_bills(side: Side, used: int, minimum: int) -> Reason:
    """A period has too few bills for a model."""
    return Reason(
        code=f"too_few_bills_{side}",
        level="blocking",
        en=f"The {side} period has {used} usable bills; this method needs at least {minimum}.",
        zh=f"{_SIDE_ZH[side]}只有 {used} 张可用账单，本方法至少需要 {minimum} 张。",
    )


def bill_not_used(side: Side, first: date, end: date, why: Exclusion) -> Reason:
    """A bill that does not count."""
    en, zh = _WHY[why]
    return Reason(
        code=f"bill_not_used_{side}_{first}",
        level="warning",
        en=f"The bill from {first} to {end} is not used in the {side} period: {en}.",
        zh=f"{_SIDE_ZH[side]}未采用 {first} 至 {end} 的账单：{zh}。",
    )


def bills_correlated(rho: float, limit: float) -> Reason:
    """Neighbouring bills resemble each other more than chance allows."""
    return Reason(
        code="bills_correlated",
        level="warning",
        en=f"Residuals of neighbouring bills are correlated (rho = {rho:.3f}, by chance at most {limit:.3f}): the "
        "interval takes bills for independent and is too narrow.",
        zh=f"相邻账单的残差自相关（ρ = {rho:.3f}，随机情形不超过 {limit:.3f}）：区间按账单相互独立计算，因而偏窄。",
    )


def needs_intervals() -> Reason:
    """A KPI that bills cannot tell anything of."""
    return Reason(
        code="needs_intervals",
        level="blocking",
        en="This KPI is computed from days or shorter intervals; the table has bills. An adjusted saving with "
        "granularity bill_month is what bills can show.",
        zh="该指标需要按日或更短间隔的数据，而所给为账单；账单可用于 granularity 为 bill_month 的调整后节能量。",
    )


def events_not_taken_out(recorded: int) -> Reason:
    """Events and changes of meters that the plan records, and bills that cannot be cut."""
    return Reason(
        code="events_not_taken_out",
        level="warning",
        en=f"The plan records {recorded} non-routine events or changes of meters; bills cannot be cut by days, so none "
        "of them is taken out of this figure.",
        zh=f"方案记录了 {recorded} 项非常规事件或计量变更；账单无法按日拆分，本结果未予扣除。",
    )
