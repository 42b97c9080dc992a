"""How numbers are written for people: grouped, with a true minus sign, and no more digits than they have.

Display only: nothing here changes a value that is computed with or exported. Where an uncertainty is known, it decides
how many digits are written, by the rule of the Particle Data Group (Review of Particle Physics, introduction, 5.3):
with the three leading digits of the uncertainty between 100 and 354 two of them are kept, between 355 and 949 one, and
above that it is rounded up to 1000 and two are kept; the value ends at the same place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

NO_VALUE = "—"
MINUS = "\u2212"
NARROW_SPACE = "\u202f"
MOST_PERCENT_DIGITS = 4
_LARGE = 1000.0
_MEDIUM = 10.0
_TWO_DIGITS_UP_TO = 3.545
"""Leading digits of an uncertainty of which two are kept (354 with three digits)."""


def number(value: float | None, digits: int | None = None) -> str:
    """A number with thousands separators and a true minus sign; `digits` after the point, by size when not given.

    Negative ``digits`` round before the point. None and NaN are written as a dash, never as zero.
    """
    if value is None or math.isnan(value):
        return NO_VALUE
    if digits is None:
        size = abs(value)
        digits = 0 if size >= _LARGE else 1 if size >= 100 else 2 if size >= _MEDIUM else 4
    return _grouped(_rounded(value, digits))


def digits_of(uncertainty: float) -> int:
    """Digits after the point (negative: before it) at which a value with this uncertainty, above zero, ends."""
    exponent = math.floor(math.log10(uncertainty))
    return 1 - exponent if uncertainty / 10.0**exponent < _TWO_DIGITS_UP_TO else -exponent


def percent_digits(values: Iterable[float | None], target: float | None, least: int = 1) -> int:
    """Digits after the point, at least ``least``, at which no fraction in `values` that differs from `target` is
    written like it, and the target itself is written in full.

    A verdict must not look wrong because two different figures were rounded to the same text.
    """
    given = [value for value in values if value is not None]
    digits = least
    while target is not None and digits < MOST_PERCENT_DIGITS:
        written = _rounded(target * 100, digits)
        in_full = math.isclose(float(written), target * 100, rel_tol=1e-9, abs_tol=1e-12)
        if in_full and all(value == target or _rounded(value * 100, digits) != written for value in given):
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


def confidence_text(confidence: float) -> str:
    """A confidence level, without digits that it does not have: `90 %`, `97.5 %`."""
    return percent(confidence, 0 if round(confidence * 100, 6).is_integer() else 1)


def _rounded(value: float, digits: int) -> Decimal:
    quantum = Decimal(1).scaleb(-digits)
    rounded = Decimal(repr(value)).quantize(quantum, rounding=ROUND_HALF_EVEN)
    return abs(rounded) if rounded == 0 else rounded


def _grouped(value: Decimal) -> str:
    return f"{value:,f}".replace("-", MINUS)
