"""Power of a period from the energy of its intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evidence.days import part_of
from evidence.result import Totals
from evidence.table import DAY_MS
from evidence.totals import series_totals

if TYPE_CHECKING:
    from evidence.plan import Period
    from evidence.table import IntervalTable

HOUR_MS = 3_600_000


def demand_totals(table: IntervalTable, period: Period, energy: str) -> Totals | None:
    """Peak power and load factor of ``energy`` over ``period``; None when intervals are longer than an hour or empty.

    A mean over more than an hour is no demand: what is billed is the mean of 15 minutes.
    """
    if table.step_ms > HOUR_MS or table.step_ms == DAY_MS:
        return None
    found = series_totals(part_of(table, period), energy)
    return found if found.peak_kw is not None else None
