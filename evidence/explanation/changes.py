"""Changes, intervals and values in words, with the digits that their uncertainty leaves them."""

from __future__ import annotations

from evidence.explanation.phrases import say, unit_wording
from evidence.figures import NARROW_SPACE, digits_of, number, percent, percent_digits
from evidence.result import KpiResult, Wording

SHARE = "1"
"""The unit of shares, which are written as per cent."""


def change_digits(kpi: KpiResult) -> int:
    """Digits after the point of every per cent that is said about the change of ``kpi``."""
    interval = kpi.interval or ()
    half = (interval[1] - interval[0]) / 2 if interval else 0.0
    least = max(digits_of(100 * half), 0) if half > 0 else 1
    return percent_digits((kpi.change, *interval), kpi.target, min(least, 4))


def direction(change: float, digits: int) -> Wording:
    """A change in words: `下降 11.8 %`, `an increase of 2.0 %`, or unchanged when it rounds to nothing."""
    size = percent(abs(change), digits)
    if size == percent(0.0, digits):
        return say("change.unchanged")
    return say("change.decrease" if change < 0 else "change.increase", size=size)


def target_text(target: float, digits: int) -> Wording:
    """A target in words; one of zero is a decrease or increase of nothing, never 'unchanged'."""
    return say("change.increase" if target > 0 else "change.decrease", size=percent(abs(target), digits))


def range_text(interval: tuple[float, float], digits: int) -> Wording:
    """An interval of changes in words, to be read aloud: without signs, `下降 9.6 % 至 13.9 %`."""
    low, high = interval
    if low < 0 < high:
        return say("range.mixed", fall=percent(-low, digits), rise=percent(high, digits))
    small, large = sorted((abs(low), abs(high)))
    key = "range.decrease" if high <= 0 else "range.increase"
    return say(key, small=percent(small, digits), large=percent(large, digits))


def value_text(value: float | None, unit: str, uncertainty: float | None = None) -> Wording:
    """A value with its unit, ending where its ``uncertainty`` (in the same unit) ends; a share as per cent."""
    if value is None:
        return Wording(en="—", zh="—")
    factor = 100.0 if unit == SHARE else 1.0
    digits = None
    if uncertainty is not None and uncertainty > 0:
        digits = min(digits_of(factor * uncertainty), 6)
    elif unit == SHARE:
        digits = 1
    written = number(factor * value, digits)
    if unit == SHARE:
        return Wording(en=f"{written}{NARROW_SPACE}%", zh=f"{written}{NARROW_SPACE}%")
    names = unit_wording(unit)
    return Wording(en=f"{written}{NARROW_SPACE}{names.en}", zh=f"{written}{NARROW_SPACE}{names.zh}")
