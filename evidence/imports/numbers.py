"""Numbers as people write them in tables, exact: text and cells become decimals with the unit that stands beside them.

A text that could mean two numbers is refused, never guessed: ``1,23`` is no number where the point is the decimal sign.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Literal

from evidence.imports.cells import Cell, cell_text

DecimalSign = Literal[".", ","]

BLANKS = frozenset({
    *("", "-", "--", "---", "/", "//", "\\", "—", "——", "–", "−", "_", "…", "……", "...", "无", "空", "缺"),
    *("na", "n/a", "#n/a", "null", "none", "nan", "nil"),
})  # fmt: skip
"""What people write where nothing was measured; compared after NFKC and without case."""

_SIGN = {"−": "-", "－": "-", "﹣": "-", "＋": "+", "–": "-"}
_POINT = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ ']\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d{1,3})?")
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d{1,3}(?:[ ']\d{3})+|\d+)?(?:,\d*)?(?:[eE][+-]?\d{1,3})?")
_UNIT_START = re.compile(r"[^\W\d_]|[%‰°]")
_FORMS = {".": _POINT, ",": _COMMA}
MAXIMUM_LENGTH = 64


@dataclass(frozen=True)
class Amount:
    """A number, and the unit that was written behind it ('' for none)."""

    value: Decimal
    unit: str = ""


class NumberError(ValueError):
    """What stands there is no number; the message says why, and what to write."""


def is_blank(cell: Cell) -> bool:
    """Whether a cell says that there is no value: empty, or one of `BLANKS`."""
    return isinstance(cell, str) and unicodedata.normalize("NFKC", cell).strip().lower() in BLANKS


def read_number(cell: Cell, decimal: DecimalSign = ".") -> Amount | None:
    """The number in a cell, None where there is none.

    Understands signs, thousands separators (comma or point by threes, space, apostrophe), full-width digits, accounting
    brackets for negative numbers and a unit behind the number (``1.2万度``). Raises `NumberError`.
    """
    if isinstance(cell, bool):
        raise NumberError(f"{str(cell).upper()} is no number; write the number")
    if isinstance(cell, int | float):
        # The shortest decimal that the stored binary number is nearest to: what the person typed.
        return Amount(_of_float(cell))
    if isinstance(cell, timedelta):
        return Amount(Decimal(cell // timedelta(milliseconds=1)) / 3_600_000, "h")
    if isinstance(cell, date | time):
        raise NumberError(f"{cell} is a date or time; give the cell a number format")
    if is_blank(cell):
        return None
    return _of_text(cell, decimal)


def _of_float(value: float) -> Decimal:
    number = Decimal(repr(value))
    if not number.is_finite():
        raise NumberError(f"{value} is no number; leave a missing value empty")
    return number


def _of_text(cell: str, decimal: DecimalSign) -> Amount:
    shown = cell_text(cell)
    text = unicodedata.normalize("NFKC", "".join(_SIGN.get(letter, letter) for letter in shown)).strip()
    text = text.replace("\u00a0", " ").replace("’", "'").lstrip("¥$").strip()
    if text.startswith("#"):
        raise NumberError(f"'{shown}' is an error of the spreadsheet; correct its formula, or empty the cell")
    negative = re.fullmatch(r"\((.*)\)", text)
    if negative:
        text = f"-{negative[1].strip()}"
    found = _FORMS[decimal].match(text)
    number = "" if found is None else found[0]
    unit = text[len(number) :].strip()
    digits = re.sub(r"[ ']", "", number)
    digits = digits.replace(",", "") if decimal == "." else digits.replace(".", "").replace(",", ".")
    if len(text) > MAXIMUM_LENGTH or not re.match(r"[+-]?\.?\d", digits) or (unit and not _UNIT_START.match(unit)):
        raise NumberError(f"'{shown}' is no number{_advice(text, decimal)}")
    value = Decimal(digits)
    if not value.is_finite() or abs(value.adjusted()) > 300:
        raise NumberError(f"'{shown}' is beyond all numbers that are computed with")
    return Amount(value, unit)


def _advice(text: str, decimal: DecimalSign) -> str:
    other: DecimalSign = "," if decimal == "." else "."
    found = _FORMS[other].match(text)
    if found is not None and found[0] == text and re.search(r"\d", text):
        return f" where '{decimal}' is the decimal sign; write 'decimal: \"{other}\"' in the mapping if it is '{other}'"
    return "; write 1234.5, and leave a missing value empty"


def decimal_sign(texts: list[str]) -> DecimalSign | None:
    """The sign that all of these texts can be read with; None when that is both, or none of the two."""
    readable: list[DecimalSign] = [sign for sign in (".", ",") if _all_read(texts, sign)]
    return readable[0] if len(readable) == 1 else None


def _all_read(texts: list[str], sign: DecimalSign) -> bool:
    try:
        for text in texts:
            read_number(text, sign)
    except NumberError:
        return False
    return True
