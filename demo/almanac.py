"""When the simulated factory works: weekly day off, public holidays, shifts.

The holidays are those announced by the State Council (国务院办公厅放假安排) for 2025 and 2026; a year that is not in
the table keeps only the days that are fixed by date. Days are local days in Asia/Shanghai, which has no daylight
saving time.
"""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
MINUTES_A_DAY = 1440
MINUTE_MS = 60_000
DAY_MS = MINUTES_A_DAY * MINUTE_MS

FIRST_SHIFT = (6 * 60, 14 * 60)
SECOND_SHIFT = (14 * 60, 22 * 60)
BREAK_AFTER = 4 * 60
BREAK_MINUTES = 30

_SUNDAY = 6
_HOLIDAYS = (
    (date(2025, 10, 1), date(2025, 10, 8)),
    (date(2026, 1, 1), date(2026, 1, 3)),
    (date(2026, 2, 15), date(2026, 2, 23)),
    (date(2026, 4, 4), date(2026, 4, 6)),
    (date(2026, 5, 1), date(2026, 5, 5)),
    (date(2026, 6, 19), date(2026, 6, 21)),
    (date(2026, 9, 25), date(2026, 9, 27)),
    (date(2026, 10, 1), date(2026, 10, 7)),
)
_CLOSED = frozenset(first + timedelta(n) for first, last in _HOLIDAYS for n in range((last - first).days + 1))
_FIXED = frozenset({(1, 1), (5, 1), (10, 1), (10, 2), (10, 3)})


def is_working_day(day: date) -> bool:
    """Whether the line is manned on a local day: not on Sundays, not on public holidays."""
    return day.weekday() != _SUNDAY and day not in _CLOSED and (day.month, day.day) not in _FIXED
