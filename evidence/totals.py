"""What a series adds up to: sum, local months, peak power, load factor.

Values that are stated to a resolution are added as whole multiples of it, so that a sum is right to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from evidence.quantities import KWH_PER_UNIT, Aggregation
from evidence.result import Totals
from evidence.table import FloatArray, IntArray, IntervalTable, local_date, midnight_ms, multiples_of

HOUR_MS = 3_600_000


def totals(table: IntervalTable, spread: Collection[str] = ()) -> dict[str, Totals]:
    """Return the totals of every series of increments, over the whole table.

    Those in ``spread`` are equal parts of longer amounts, as the days of a bill are: no peak can be seen in them.
    """
    return {
        name: series_totals(table, name, peaks=name not in spread)
        for name, series in table.series.items()
        if series.definition.aggregation is Aggregation.INCREMENT
    }


def series_totals(table: IntervalTable, name: str, *, peaks: bool = True) -> Totals:
    """Return the totals of one series of increments, in its unit; missing intervals add nothing and lower coverage.

    Peak power and load factor are of active energy only, and only with ``peaks``.
    """
    series = table.series[name]
    resolution = series.resolution
    present = np.isfinite(table.values[name])
    measured = table.values[name][present]
    times = table.time_ms[present]
    seen = peaks and series.definition.active_energy
    peak_kw, peak_start_ms, load_factor = _power(table, name) if seen else (None, None, None)
    span_ms = int(table.time_ms[-1] - table.time_ms[0]) + table.step_ms if len(table.time_ms) else 0
    return Totals(
        unit=series.unit,
        sum=_exact_sum(measured, resolution),
        sum_unrounded=math.fsum(measured.tolist()),
        resolution=None if resolution is None else float(resolution),
        months={month: _exact_sum(measured[part], resolution) for month, part in _months(times, table.zone)},
        peak_kw=peak_kw,
        peak_start_ms=peak_start_ms,
        load_factor=load_factor,
        coverage=len(measured) / max(round(span_ms / table.step_ms), 1),
    )


def _months(times: IntArray, zone: ZoneInfo) -> Iterator[tuple[str, slice]]:
    """Yield each local month that has intervals, with the part of ``times`` (sorted) that begins in it."""
    position = 0
    while position < len(times):
        month = local_date(int(times[position]), zone).replace(day=1)
        following = (month + timedelta(days=31)).replace(day=1)
        end = int(np.searchsorted(times, midnight_ms(following, zone)))
        yield f"{month:%Y-%m}", slice(position, end)
        position = end


def _exact_sum(values: FloatArray, resolution: Decimal | None) -> float:
    if resolution is None:
        return math.fsum(values.tolist())
    return float(int(multiples_of(resolution, values).astype(np.int64).sum()) * resolution)


def _power(table: IntervalTable, name: str) -> tuple[float | None, int | None, float | None]:
    values = table.stated(name)
    present = np.isfinite(values)
    if not present.any():
        return None, None, None
    energy_kwh = values[present] * KWH_PER_UNIT[table.series[name].unit]
    hours = table.durations_ms()[present] / HOUR_MS
    power_kw = energy_kwh / hours
    highest = int(np.argmax(power_kw))
    peak_kw = float(power_kw[highest])
    load_factor = math.fsum(energy_kwh.tolist()) / float(hours.sum()) / peak_kw if peak_kw > 0 else None
    return peak_kw, int(table.time_ms[present][highest]), load_factor
