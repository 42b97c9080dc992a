"""Shares of a factory's machines, and the points that the national yardstick gives for them.

《中小企业数字化水平评测指标（2024年版）》: 生产设备数字化率 and 生产设备联网率, at most 6 points each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from evidence.days import part_of
from evidence.kpi import Problem, series_problem

if TYPE_CHECKING:
    from evidence.plan import Period, SeriesPlan
    from evidence.table import IntervalTable
    from wire.document import Location

EDITION = "《中小企业数字化水平评测指标（2024年版）》"
BANDS = ((0.10, 0.0), (0.20, 1.5), (0.40, 3.0), (0.60, 4.5), (1.0, 6.0))
"""Upper end of each band (inclusive) and its points."""


def band_points(share: float) -> float:
    """Points for a share of machines; a share above one counts as all."""
    return next((points for end, points in BANDS if share <= end), BANDS[-1][1])


def count_problems(location: Location, name: str, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
    """Yield a problem when ``name`` is no count of equipment."""
    yield from series_problem(location, name, series)
    if name in series and series[name].quantity != "equipment_count":
        yield location, f"'{name}' is {series[name].quantity}; name a series of equipment_count"


def last_count(table: IntervalTable, period: Period, name: str) -> float | None:
    """The count that stands at the end of a period: its last value; None without any."""
    values = part_of(table, period).stated(name)
    present = values[np.isfinite(values)]
    return float(present[-1]) if len(present) else None
