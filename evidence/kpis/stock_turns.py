"""Stock turns: value of goods used up or sold over the mean value of the stock, a year."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evidence.days import part_of
from evidence.kpi import Problem, series_problem
from evidence.kpi_description import Better, IntervalMethod, KpiDescription, KpiInput, Objective
from evidence.result import Wording
from evidence.rule_kpi import Measure, RuleKpi
from evidence.table import DAY_MS

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable

DAYS_A_YEAR = 365.0


class StockTurns(RuleKpi):
    """``stock_turns``: ``goods`` of a year at the period's pace, over the mean ``stock``."""

    description: ClassVar[KpiDescription] = KpiDescription(
        kind="stock_turns",
        name=Wording(en="Stock turns", zh="库存周转次数"),
        objectives=(Objective.STOCK,),
        formula="365 x sum of G / days / mean of S",
        source="ISO 22400-2:2014, clause 8, 'Inventory turns' (throughput over average inventory), by value, a year",
        unit="1/a",
        better=Better.HIGHER,
        interval=IntervalMethod.NONE,
        inputs=(
            KpiInput(
                field="goods",
                symbol="G",
                meaning=Wording(en="goods_value: cost of what left the stock, imported", zh="出库成本序列（导入）"),
            ),
            KpiInput(
                field="stock",
                symbol="S",
                meaning=Wording(en="stock_value: value of the stock, imported", zh="库存金额序列（导入）"),
            ),
        ),
        cannot_tell=Wording(
            en="It rests on imported books, not on signed data. Season, prices and a clearance before the closing date "
            "move it; a shortage raises it.",
            zh="依据导入的账表而非签名数据；季节、价格和期末清库都会影响；缺货反而使其升高。",
        ),
    )
    why_by_rule: ClassVar[Wording] = Wording(
        en="books state a stock at few moments, and these depend on each other.",
        zh="账面库存只在少数时点给出，且相互关联。",
    )

    kind: Literal["stock_turns"]
    goods: str
    stock: str

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield series that are unknown or of another quantity, and two currencies."""
        for field, name, quantity in (("goods", self.goods, "goods_value"), ("stock", self.stock, "stock_value")):
            yield from series_problem((field,), name, series)
            if name in series and series[name].quantity != quantity:
                yield (field,), f"'{name}' is {series[name].quantity}, not {quantity}"
        if self.goods in series and self.stock in series and series[self.goods].unit != series[self.stock].unit:
            yield ("stock",), "is in another currency than the goods; state both in one"
        yield from self.rule_problems()

    def names(self) -> list[str]:
        """Goods and stock."""
        return [self.goods, self.stock]

    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """Turns a year over the intervals that have both values."""
        part = part_of(table, period)
        goods, stock = part.stated(self.goods), part.stated(self.stock)
        both = np.isfinite(goods) & np.isfinite(stock)
        days = part.durations_ms()[both] / DAY_MS
        total = float(days.sum())
        if total <= 0:
            return Measure(None)
        mean_stock = float((stock[both] * days).sum()) / total
        facts = {"goods": float(goods[both].sum()), "mean_stock": mean_stock, "days": total}
        return Measure(DAYS_A_YEAR * facts["goods"] / total / mean_stock if mean_stock > 0 else None, facts)
