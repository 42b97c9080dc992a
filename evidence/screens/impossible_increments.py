"""Increments beyond what the circuit can deliver. What is impossible is no energy: `credible` takes it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evidence.quantities import Aggregation
from evidence.result import Wording
from evidence.screen import BoolArray, Found, NotChecked, Screen, Strength, Subject
from evidence.table import FloatArray, IntervalTable

FACTOR = 20.0
"""Without a declared maximum: an increment is impossible beyond so many times what the series does at its highest."""
REFERENCE_SHARE = 0.001
REFERENCE_LEAST = 3
"""What a series does at its highest: the value that a thousandth of the intervals, and two at least, exceed."""
MINIMUM_INTERVALS = 40


class ImpossibleIncrements(Screen):
    """Does an interval hold more than can have flowed?"""

    name = "impossible_increments"
    strength = Strength.STRONG
    title = Wording(en="Impossible increments", zh="不可能的增量")
    meaning = Wording(
        en="More than the circuit can deliver: a counter glitch, a misread digit, or a typed number. Such an interval "
        "is treated as missing: it enters no sum, no peak and no figure.",
        zh="超过线路可能输送的数量：计数器跳变、误读数位或手工录入。这样的时段按缺失处理，不计入任何合计、最大值或指标。",
    )
    limits = Wording(
        en="A false value below the bound passes. Without `maximum_rate` in the plan the bound is learned, "
        f"{FACTOR:g} times what the series does at its highest, and is wide.",
        zh="低于上限的虚假数值会通过。方案未声明 maximum_rate 时，"
        f"上限由序列学习得到（为其高位值的 {FACTOR:g} 倍），较为宽松。",
    )

    def examine(self, subject: Subject) -> Found | NotChecked:
        """Look at every amount."""
        looked, places, figures = [], [], {}
        for channel in subject.channels:
            if not channel.is_increment:
                continue
            limit = _limit(channel.values, channel.maximum_rate, subject.step_ms)
            if limit is None:
                continue
            looked.append(channel.name)
            figures[f"{channel.name}.bound"] = limit
            for row in np.flatnonzero(_above(channel.values, limit)).tolist():
                places.append(
                    subject.place([channel.name], row, row, {"value": float(channel.values[row]), "bound": limit})
                )
        if not looked:
            return NotChecked(
                f"No series of amounts has {MINIMUM_INTERVALS} intervals to learn from or a declared `maximum_rate`.",
                f"没有任何增量序列有 {MINIMUM_INTERVALS} 个时段可供学习，也未声明 maximum_rate。",
            )
        names = ", ".join(sorted({place.series[0] for place in places}))
        if places:
            return Found(
                tuple(looked),
                f"{len(places)} interval(s) of {names} hold more than the circuit can deliver; they are treated as "
                "missing.",
                f"{names} 有 {len(places)} 个时段的增量超过线路可能输送的数量，已按缺失处理。",
                tuple(places),
                figures,
            )
        return Found(tuple(looked), "No increment exceeds its bound.", "没有增量超过上限。", (), figures)


def credible(table: IntervalTable) -> IntervalTable:
    """The table with impossible increments missing, as `ImpossibleIncrements` finds them."""
    values = dict(table.values)
    for name, series in table.series.items():
        if series.definition.aggregation is not Aggregation.INCREMENT:
            continue
        stated = table.stated(name)
        limit = _limit(stated, series.maximum_rate, table.step_ms)
        if limit is not None and bool(_above(stated, limit).any()):
            values[name] = np.where(_above(stated, limit), np.nan, table.values[name])
    return replace(table, values=values)


def _limit(values: FloatArray, maximum_rate: float | None, step_ms: int) -> float | None:
    if maximum_rate is not None:
        return maximum_rate * step_ms / 3_600_000
    positive = np.sort(values[np.isfinite(values) & (values > 0)])[::-1]
    if positive.size < MINIMUM_INTERVALS:
        return None
    return FACTOR * float(positive[max(REFERENCE_LEAST, int(np.ceil(REFERENCE_SHARE * positive.size))) - 1])


def _above(values: FloatArray, limit: float) -> BoolArray:
    # The bound itself is possible, whatever a change of the unit rounds.
    return np.asarray(np.nan_to_num(values) > limit * (1.0 + 1e-9), dtype=np.bool_)
