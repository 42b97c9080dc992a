"""How numbers, units and times are written on a page. Display only: nothing here changes a value that is exported."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dashboards.language import Catalogue
from evidence.figures import NARROW_SPACE, NO_VALUE, number

_UNIT_WORDS = ("piece", "d", "degC")


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
