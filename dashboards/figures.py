"""How numbers, units and times are written on a page. Display only: nothing here changes a value that is exported."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from dashboards.language import Catalogue

NO_VALUE = "—"
MINUS = "\u2212"
NARROW_SPACE = "\u202f"
MOST_PERCENT_DIGITS = 4
_LARGE = 1000.0
_MEDIUM = 10.0
_UNIT_WORDS = ("piece", "d", "degC")


def number(value: float | None, digits: int | None = None) -> str:
    """A number with thousands separators and a true minus sign; `digits` after the point, by size when not given.

    None and NaN are written as a dash, never as zero.
    """
    if value is None or math.isnan(value):
        return NO_VALUE
    if digits is None:
        size = abs(value)
        digits = 0 if size >= _LARGE else 1 if size >= 100 else 2 if size >= _MEDIUM else 4
    return _grouped(_rounded(value, digits))


def percent_digits(values: Iterable[float | None], target: float | None) -> int:
    """Digits after the point at which no fraction in `values` that differs from `target` is written like it.

    A verdict must not look wrong because two different figures were rounded to the same text.
    """
    given = [value for value in values if value is not None]
    digits = 1
    while digits < MOST_PERCENT_DIGITS:
        written = None if target is None else _rounded(target * 100, digits)
        if all(value == target or _rounded(value * 100, digits) != written for value in given):
            break
        digits += 1
    return digits


def percent(fraction: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A fraction as per cent, with a sign when `signed`."""
    if fraction is None or math.isnan(fraction):
        return NO_VALUE
    rounded = _rounded(fraction * 100, digits)
    sign = "+" if signed and rounded > 0 else ""
    return f"{sign}{_grouped(rounded)}{NARROW_SPACE}%"


def unit_text(unit: str, text: Catalogue) -> str:
    """A unit as the reader writes it: `kWh/piece` is `kWh/件` in Chinese."""
    return "/".join(text(f"unit.{word}") if word in _UNIT_WORDS else word for word in unit.split("/"))


def quantity(value: float | None, unit: str, text: Catalogue) -> str:
    """A number with its unit."""
    written = number(value)
    return written if written == NO_VALUE or not unit else f"{written}{NARROW_SPACE}{unit_text(unit, text)}"


def iso_time(time_ms: int, timezone: str) -> str:
    """ISO 8601 with the offset of `timezone` at that moment; milliseconds only when there are any."""
    moment = _local(time_ms, timezone)
    return moment.isoformat(timespec="milliseconds" if time_ms % 1000 else "seconds")


def local_time(time_ms: int | None, timezone: str) -> str:
    """Date and time to the second in `timezone`, without naming it: the page names it once beside the figures."""
    return NO_VALUE if time_ms is None else _local(time_ms, timezone).strftime("%Y-%m-%d %H:%M:%S")


def zone_text(timezone: str, at_ms: int) -> str:
    """The zone and its offset: `Asia/Shanghai (UTC+08:00)`."""
    offset = _local(at_ms, timezone).strftime("%z")
    return f"{timezone} (UTC{offset[:3]}:{offset[3:5]})"


def duration(milliseconds: int | None, text: Catalogue) -> str:
    """An age in its largest fitting unit; below two seconds it is 'now'."""
    if milliseconds is None:
        return NO_VALUE
    age = timedelta(milliseconds=max(milliseconds, 0))
    if age < timedelta(seconds=2):
        return text("age.now")
    for key, size in (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1))):
        if age >= 2 * size:
            return text(f"age.{key}", n=age // size)
    return text("age.seconds", n=age // timedelta(seconds=1))


def _local(time_ms: int, timezone: str) -> datetime:
    moment = datetime.fromtimestamp(time_ms // 1000, ZoneInfo(timezone))
    return moment.replace(microsecond=time_ms % 1000 * 1000)


def _rounded(value: float, digits: int) -> Decimal:
    quantum = Decimal(1).scaleb(-digits)
    rounded = Decimal(repr(value)).quantize(quantum, rounding=ROUND_HALF_EVEN)
    return abs(rounded) if rounded == 0 else rounded


def _grouped(value: Decimal) -> str:
    return f"{value:,f}".replace("-", MINUS)
