"""What a meter froze by itself as amounts: the difference of two frozen readings is what flowed between them.

A gateway reads the history when it comes and signs what it reads; it cannot vouch for the time before. For which moment
an entry was frozen is in the entry where the meter writes it there; where it does not, the number of the entry counts
back from the time of reading (`docs/agent/device-models.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from evidence.errors import TableError
from evidence.plan import SeriesPlan
from evidence.spans import Spans, make_spans
from evidence.stored import StoredReading
from evidence.table import DAY_MS, local_ms

LONGEST_MS = {"day": DAY_MS + 3 * 3_600_000, "month": 31 * DAY_MS + 3 * 3_600_000}
"""Entries further apart than the period of the history have another one missing between them: a gap, not an amount."""

_FROZEN_TIME, _YEAR_MONTH, _DAY_HOUR = "frozen_time", "year_month", "day_hour"
_CENTURY = 2000


def frozen_ms(reading: StoredReading, period: str, zone: ZoneInfo) -> int | None:
    """When an entry was frozen (UTC ms), by the meter's clock in ``zone``; None where its time cannot be read."""
    told = {
        series.quantity: value
        for series, value in zip(reading.series, reading.values, strict=True)
        if series.quantity in (_FROZEN_TIME, _YEAR_MONTH, _DAY_HOUR)
    }
    if not told:
        return local_ms(_counted_back(reading, period, zone), zone)
    written = [None if value is None else int(value) for value in told.values()]
    if None in written:
        return None
    try:
        if _FROZEN_TIME in told:
            # YYMMDDhhmm as decimal digits
            moment = datetime.strptime(f"{_CENTURY // 100}{int(told[_FROZEN_TIME] or 0):010d}", "%Y%m%d%H%M")  # noqa: DTZ007
        else:
            # one byte each: year and month, day and hour
            year, month = divmod(int(told[_YEAR_MONTH] or 0), 256)
            day, hour = divmod(int(told.get(_DAY_HOUR) or 256), 256)
            moment = datetime(_CENTURY + year, month, day, hour)  # noqa: DTZ001
        return local_ms(moment, zone)
    except ValueError:
        return None


def _counted_back(reading: StoredReading, period: str, zone: ZoneInfo) -> datetime:
    read = datetime.fromtimestamp(reading.read_ms / 1000, UTC).astimezone(zone).date()
    back = reading.entry - 1
    if period == "month":
        months = 12 * read.year + read.month - 1 - back
        read = read.replace(year=months // 12, month=months % 12 + 1, day=1)
    else:
        read -= timedelta(days=back)
    return datetime.combine(read, time(0))


def history_spans(
    readings: Sequence[StoredReading], source: str, period: str, series: SeriesPlan, zone: ZoneInfo
) -> Spans:
    """Amounts of ``source`` (gateway, device, series of the history) between frozen readings that follow each other.

    A register that fell, and an entry that is missing, leave a gap. Raises `TableError` when the history does not have
    the series, or in another quantity or unit than ``series``.
    """
    name = source.rsplit("/", 1)[1]
    frozen: dict[int, float] = {}
    known: set[str] = set()
    for reading in readings:
        at_ms = frozen_ms(reading, period, zone)
        for one, value in zip(reading.series, reading.values, strict=True):
            known.add(one.name)
            if one.name != name:
                continue
            if (one.quantity, one.unit) != (series.quantity, series.unit):
                raise TableError(
                    [f"{source} is {one.quantity} in {one.unit}, the plan says {series.quantity} in {series.unit}"]
                )
            if at_ms is not None and value is not None:
                frozen.setdefault(at_ms, float(value))
    if name not in known:
        have = ", ".join(sorted(known)) or "nothing"
        raise TableError([f"{source}: the meter's history has no '{name}'; it has {have}"])
    times = sorted(frozen)
    longest = LONGEST_MS.get(period, LONGEST_MS["day"])
    return make_spans(
        [
            (one, other, frozen[other] - frozen[one])
            for one, other in pairwise(times)
            if other - one <= longest and frozen[other] >= frozen[one]
        ]
    )
