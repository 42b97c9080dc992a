"""Dates, months and times of day as people and spreadsheets write them. All are local; zones come from the mapping.

The midnight cell of Excel has many faces: a date-time at 00:00 is read as a date, the time 24:00 as the number 1 or as
1900-01-01, and what was computed as 23:59:59.99 is the next midnight. Everything is rounded to whole seconds, which is
finer than any table is and coarser than the noise of a binary fraction of a day.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from evidence.imports.cells import Cell, cell_text, is_empty

DAY_SECONDS = 86_400
SERIALS = (20_000.0, 80_000.0)
"""A bare number in this range is a day of the spreadsheet's calendar (1954 to 2119); outside it is none."""
EPOCH = date(1899, 12, 30)
EPOCH_1904 = date(1904, 1, 1)
YEARS = (1900, 2199)

_DAY_ZERO = datetime(1899, 12, 31)  # noqa: DTZ001 - times of cells have no zone
"""What a number of days is counted from when calamine reads it as a date-time: 1, which is 24:00, as 1900-01-01."""
_DAY_ONE = date(1900, 1, 1)
_WEEKDAY = re.compile(r"[(\s]*(?:星期|周|礼拜)[一二三四五六日天][)\s]*")
_DAY_FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*[日号]?",
        r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
        r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?!\d)",
        r"(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*[日号]",
        r"(?P<m>\d{1,2})[/-](?P<d>\d{1,2})(?![/\-.\d])",
    )
)
_MONTH_FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月份?",
        r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})",
        r"(?P<y>\d{4})(?P<m>\d{2})",
        r"(?P<m>\d{1,2})\s*月份?",
    )
)
_DAY_LAST = re.compile(r"(?P<one>\d{1,2})[-/.](?P<other>\d{1,2})[-/.](?P<y>\d{4})")
_CLOCK = re.compile(
    r"(?P<half>上午|下午|晚上|凌晨|AM|PM|am|pm)?\s*"
    r"(?P<h>\d{1,2})\s*[:时点]\s*(?:(?P<m>\d{1,2})\s*分?)?(?::?\s*(?P<s>\d{1,2}(?:\.\d+)?)\s*秒?)?"
    r"\s*(?P<half_after>AM|PM|am|pm)?"
)
_ZONE = re.compile(r"\s*(?P<sign>[+-])(?P<h>\d{2}):?(?P<m>\d{2})|\s*(?P<utc>Z)")
_RANGE = re.compile(r"\s*(?:-|~|至|到|—|–)\s*")


class MomentError(ValueError):
    """What stands there is no date or time; the message says why, and what to write."""


@dataclass(frozen=True)
class Moment:
    """A local day, the seconds since its midnight where they were written (86,400 is the next midnight), and the offset
    from UTC where the text has one."""

    day: date
    seconds: int | None = None
    offset: timedelta | None = None

    @property
    def local(self) -> datetime:
        """Day and time of day; the start of the day where no time was written."""
        return datetime.combine(self.day, time(0)) + timedelta(seconds=self.seconds or 0)

    @property
    def exact_ms(self) -> int | None:
        """UTC milliseconds where the text has an offset."""
        if self.offset is None:
            return None
        return round(self.local.replace(tzinfo=timezone(self.offset)).timestamp() * 1000)


def read_moment(cell: Cell, year: int | None = None, epoch: date = EPOCH) -> Moment:
    """A day, with the time of day where there is one. ``year`` is that of dates without one. Raises `MomentError`."""
    if isinstance(cell, datetime):
        rounded = _to_second(cell)
        return Moment(rounded.date(), rounded.hour * 3600 + rounded.minute * 60 + rounded.second)
    if isinstance(cell, date):
        return Moment(cell)
    if isinstance(cell, bool | time | timedelta):
        raise MomentError(f"{cell} is a time without a date; name the column of the date, and this one as 'clock'")
    if isinstance(cell, int | float):
        return _of_number(float(cell), epoch)
    text = _plain(cell)
    day, rest = _day_of_text(text, year)
    rest = rest.removeprefix("T").strip()
    if not rest:
        return Moment(day)
    clock = _CLOCK.match(rest)
    if clock is None:
        raise MomentError(f"'{cell_text(cell)}' is no date; write 2025-03-01, or 2025-03-01 00:15")
    tail = rest[clock.end() :]
    zone = _ZONE.fullmatch(tail)
    if tail and zone is None:
        raise MomentError(f"'{cell_text(cell)}' goes on after its time; write 2025-03-01 00:15")
    return Moment(day, _seconds(clock, rest), None if zone is None else _offset(zone))


def read_month(cell: Cell, year: int | None = None, epoch: date = EPOCH) -> date:
    """The first day of a month. A whole date is taken when it is the first of a month. Raises `MomentError`."""
    if not isinstance(cell, str):
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            number = float(cell)
            if number.is_integer() and 190_001 <= number <= 219_912:
                return _date(int(number) // 100, int(number) % 100, 1, cell_text(cell))
            if not SERIALS[0] <= number < SERIALS[1]:
                raise MomentError(
                    f"{cell_text(cell)} is a number, and 2025.1 could be January or October; write 2025-01 as text"
                )
        return _first_of_month(read_moment(cell, year, epoch), cell)
    text = _plain(cell)
    for form in _MONTH_FORMS:
        found = form.fullmatch(text)
        if found:
            return _date(_year(found.groupdict().get("y"), year, cell), int(found["m"]), 1, cell_text(cell))
    return _first_of_month(read_moment(cell, year, epoch), cell)


def read_clock(cell: Cell) -> tuple[int, int | None]:
    """Seconds since midnight, and the end where a span is written (``00:00-00:15``), both 0 to 86,400.

    Raises `MomentError`.
    """
    if not isinstance(cell, str):
        return _within_day(_clock_of_value(cell), cell), None
    text = _plain(cell)
    parts = _RANGE.split(text)
    read = [_CLOCK.fullmatch(part) for part in parts]
    if len(read) > 2 or not all(read):
        raise MomentError(f"'{cell_text(cell)}' is no time of day; write 08:15")
    start, *end = (_seconds(found, text) for found in read if found)
    return start, end[0] if end else None


def _clock_of_value(cell: bool | float | date | time | timedelta) -> int:
    """Seconds that a typed cell counts, also where they are more than a day."""
    if isinstance(cell, bool):
        raise MomentError(f"{cell} is no time of day; write 08:15")
    seconds: float
    if isinstance(cell, datetime):
        since = _DAY_ZERO if cell.year <= _DAY_ZERO.year + 1 else datetime.combine(cell.date(), time(0))
        seconds = (cell - since).total_seconds()
    elif isinstance(cell, date):
        seconds = DAY_SECONDS if cell == _DAY_ONE else 0
    elif isinstance(cell, time):
        seconds = cell.hour * 3600 + cell.minute * 60 + cell.second + cell.microsecond / 1e6
    elif isinstance(cell, timedelta):
        seconds = cell.total_seconds()
    else:
        # Below 1 it is a fraction of a day; from 1 on, people write whole hours.
        seconds = cell * (DAY_SECONDS if cell < 1 else 3600)
    return round(seconds)


def _to_second(moment: datetime) -> datetime:
    return (moment + timedelta(milliseconds=500)).replace(microsecond=0)


def _plain(cell: str) -> str:
    text = unicodedata.normalize("NFKC", cell).strip()
    return _WEEKDAY.sub(" ", text).strip()


def _of_number(number: float, epoch: date) -> Moment:
    if number.is_integer() and 19_000_101 <= number <= 21_991_231:
        digits = int(number)
        return Moment(_date(digits // 10_000, digits // 100 % 100, digits % 100, str(digits)))
    if not SERIALS[0] <= number < SERIALS[1]:
        raise MomentError(f"{number:g} is no date; give the cell a date format, or write 2025-03-01")
    seconds = round(number * DAY_SECONDS)
    days, rest = divmod(seconds, DAY_SECONDS)
    return Moment(epoch + timedelta(days=days), rest if rest or not number.is_integer() else None)


def _day_of_text(text: str, year: int | None) -> tuple[date, str]:
    for form in _DAY_FORMS:
        found = form.match(text)
        if found:
            stated = _year(found.groupdict().get("y"), year, text)
            return _date(stated, int(found["m"]), int(found["d"]), text), text[found.end() :].strip()
    last = _DAY_LAST.match(text)
    if last:
        raise MomentError(
            f"'{text}' does not say which of {last['one']} and {last['other']} is the month; write {last['y']}-03-01"
        )
    raise MomentError(f"'{text}' is no date; write 2025-03-01")


def _year(written: str | None, stated: int | None, cell: Cell) -> int:
    if written is not None:
        return int(written)
    if stated is None:
        raise MomentError(f"'{cell_text(cell)}' has no year; state it in the mapping: 'year: 2025'")
    return stated


def _date(year: int, month: int, day: int, text: str) -> date:
    if not YEARS[0] <= year <= YEARS[1]:
        raise MomentError(f"'{text}' is in the year {year}; years {YEARS[0]} to {YEARS[1]} are understood")
    try:
        return date(year, month, day)
    except ValueError as error:
        raise MomentError(f"'{text}' is a day that does not exist; correct it") from error


def _first_of_month(moment: Moment, cell: Cell) -> date:
    if moment.seconds or moment.day.day != 1:
        raise MomentError(f"'{cell_text(cell)}' is a day, and the mapping says month; write 2025-03, or 'period: day'")
    return moment.day


def _seconds(found: re.Match[str], text: str) -> int:
    hours, minutes = int(found["h"]), int(found["m"] or 0)
    seconds = float(found["s"] or 0)
    half = (found["half"] or found["half_after"] or "").lower()
    if half and hours > 12:
        raise MomentError(f"'{text}' counts its hours to 12 and to 24 at once; write 13:00")
    if half in ("下午", "晚上", "pm") and hours < 12:
        hours += 12
    elif half in ("上午", "凌晨", "am") and hours == 12:
        hours = 0
    if minutes > 59 or seconds >= 60:
        raise MomentError(f"'{text}' is no time of day: an hour has 60 minutes, a minute 60 seconds")
    return _within_day(round(3600 * hours + 60 * minutes + seconds), text)


def _within_day(seconds: int, cell: Cell) -> int:
    if not 0 <= seconds <= DAY_SECONDS:
        raise MomentError(f"'{cell_text(cell)}' is no time of a day, which has 24 hours")
    return seconds


def _offset(zone: re.Match[str]) -> timedelta:
    if zone["utc"]:
        return timedelta(0)
    size = timedelta(hours=int(zone["h"]), minutes=int(zone["m"]))
    return -size if zone["sign"] == "-" else size


def is_time_like(cell: Cell) -> bool:
    """Whether a cell is meant as a date, a month or a time of day; neither a year nor the order of day and month is
    needed to say so."""
    if isinstance(cell, date | time | timedelta):
        return True
    if not isinstance(cell, str) or is_empty(cell):
        return False
    if _DAY_LAST.match(_plain(cell)):
        return True
    for read in (lambda: read_month(cell, 2000), lambda: read_moment(cell, 2000), lambda: read_clock(cell)):
        try:
            read()
        except MomentError:
            continue
        return True
    return False
