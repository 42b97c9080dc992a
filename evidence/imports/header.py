"""Where a table begins on a sheet, and what its columns are called.

Above a table stand titles, remarks and lines with the unit; its header may take two or three rows, merged or not, with
the units in the last. Data begin with the first row that has a time and a number and is followed by more of the kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evidence.imports.cells import Cell, Sheet, cell_text, column_index, column_letters, is_empty
from evidence.imports.moments import SERIALS, is_time_like
from evidence.imports.numbers import DecimalSign, NumberError, read_number
from evidence.imports.units import known_unit, stated_unit, unit_in_header
from wire.document import suggestion

ROWS_SEARCHED = 60
HEADER_ROWS = 3
"""More rows than these are never a header: it takes a mapping to say so."""

_TOTALS = re.compile(
    r"^[(\s]*(合计|总计|小计|累计|本月合计|平均|均值|最大|最小|total|sum|average|subtotal)", re.IGNORECASE
)
_COMPACT_DATES = ((190_001, 219_912), (19_000_101, 21_991_231))


class HeaderError(ValueError):
    """There is no such table or column; the message says what to write into the mapping."""


@dataclass(frozen=True)
class Column:
    """One column. ``name`` is the header without its unit, of several rows joined by a space; ``unit`` is None where
    the header has none. A column without a header is called by its letters."""

    index: int
    name: str
    unit: str | None
    header: str

    @property
    def letters(self) -> str:
        """What a spreadsheet calls the column."""
        return column_letters(self.index)

    @property
    def shown(self) -> str:
        """Letters and name, for messages."""
        return f"{self.letters} ({self.name})" if self.name != self.letters else self.letters


@dataclass(frozen=True)
class Header:
    """Rows ``first`` to before ``data`` (from 0) are the header. ``unit`` is what a line above states for the table."""

    first: int
    data: int
    columns: tuple[Column, ...]
    unit: str | None

    def column(self, name: str) -> Column:
        """The column with this header, or these letters. Raises `HeaderError` when there is none, or more than one."""
        wanted = _plain(name)
        named = [one for one in self.columns if wanted in (_plain(one.name), _plain(one.header))]
        if len(named) > 1:
            letters = ", ".join(one.letters for one in named)
            raise HeaderError(f"'{name}' is the header of several columns ({letters}); name one by its letter")
        if named:
            return named[0]
        try:
            index = column_index(name.strip())
        except ValueError:
            index = -1
        if 0 <= index < len(self.columns):
            return self.columns[index]
        known = [one.name for one in self.columns if one.header]
        raise HeaderError(f"no column '{name}'{suggestion(name, known)}")


def is_total(cell: Cell) -> bool:
    """Whether a row that begins with this cell adds up others: 合计, 平均 ..."""
    return isinstance(cell, str) and _TOTALS.match(unicodedata.normalize("NFKC", cell)) is not None


def find_header(sheet: Sheet, row: int | None = None, rows: int | None = None) -> Header:
    """The header of the table on ``sheet``; ``row`` (from 0) and ``rows`` say where it is where that is known.

    Raises `HeaderError` when nothing on the sheet looks like a table.
    """
    if row is not None:
        if row >= len(sheet.rows):
            raise HeaderError(f"the header is said to be in row {row + 1}, but there are {len(sheet.rows)} rows")
        data = row + (1 if rows is None else rows)
    else:
        found = _data_row(sheet)
        if found is None:
            raise HeaderError(
                "no row with a time and a number was found; say where the header is: 'header: {row: 3, rows: 1}'"
            )
        data = found
        row = data if rows == 0 else max(data - rows, 0) if rows else _header_start(sheet, data)
    units = (stated_unit(cell_text(cell)) for line in sheet.rows[:data] for cell in line if not is_empty(cell))
    return Header(
        first=row,
        data=data,
        columns=tuple(_column(sheet, index, row, data) for index in range(sheet.width)),
        unit=next((unit for unit in units if unit is not None), None),
    )


def _data_row(sheet: Sheet) -> int | None:
    candidates = [
        number
        for number in range(min(len(sheet.rows), ROWS_SEARCHED))
        if any(not is_empty(cell) for cell in sheet.rows[number])
    ]
    for position, number in enumerate(candidates):
        following = candidates[position + 1] if position + 1 < len(candidates) else None
        if _is_data(sheet, number) and (following is None or _goes_on(sheet, following)):
            return number
    return None


def _goes_on(sheet: Sheet, row: int) -> bool:
    """Whether a table goes on in this row, be it with a mistake: it has a time, a number, or a total."""
    cells = [sheet.at(row, column) for column in range(sheet.width)]
    return is_total(_first(sheet.rows[row])) or any(_is_time(cell) or _is_number(cell) for cell in cells)


def _first(cells: Sequence[Cell]) -> Cell:
    return next((cell for cell in cells if not is_empty(cell)), "")


def _is_data(sheet: Sheet, row: int) -> bool:
    times = {column for column in range(sheet.width) if _is_time(sheet.at(row, column))}
    numbers = {column for column in range(sheet.width) if _is_number(sheet.at(row, column))}
    # One cell may look like both (20250301): two columns are needed.
    return bool(times) and bool(numbers) and len(times | numbers) > 1


def _is_time(cell: Cell) -> bool:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        compact = any(low <= cell <= high for low, high in _COMPACT_DATES) and float(cell).is_integer()
        return compact or SERIALS[0] <= cell < SERIALS[1]
    return is_time_like(cell)


def _is_number(cell: Cell) -> bool:
    """Whether a cell is a number by one decimal sign or the other: which it is, is the mapping's business."""
    signs: tuple[DecimalSign, ...] = (".", ",")
    for decimal in signs:
        try:
            return read_number(cell, decimal) is not None
        except NumberError:
            continue
    return False


def _header_start(sheet: Sheet, data: int) -> int:
    start = data
    while start > 0 and data - start < HEADER_ROWS and _is_header(sheet, start - 1):
        start -= 1
    return start


def _is_header(sheet: Sheet, row: int) -> bool:
    own = [column for column in range(sheet.width) if not is_empty(sheet.at(row, column))]
    sources = {sheet.merged.get((row, column), (row, column)) for column in own}
    texts = [cell_text(sheet.at(row, column)) for column in own]
    if not texts or any(":" in unicodedata.normalize("NFKC", text) for text in texts):
        return False
    if all(_only_unit(text) for text in texts):
        return True
    if any(not isinstance(sheet.at(row, column), str) for column in own) or any(_is_number(text) for text in texts):
        return False
    return len(sources) > 1


def _only_unit(text: str) -> str | None:
    """The unit that a cell consists of, with or without brackets."""
    name, unit = unit_in_header(text)
    if not name and unit:
        return unit
    return text if known_unit(text) is not None else None


def _column(sheet: Sheet, index: int, first: int, data: int) -> Column:
    texts = list(_header_texts(sheet, index, first, data))
    unit = None
    names: list[str] = []
    for number, text in enumerate(texts):
        alone = _only_unit(text)
        if alone is not None and number:
            unit = alone
            continue
        name, stated = unit_in_header(text)
        unit = stated or unit
        names.append(name)
    header = " ".join(texts)
    return Column(index, " ".join(names) or column_letters(index), unit, header)


def _header_texts(sheet: Sheet, index: int, first: int, data: int) -> Iterator[str]:
    """The texts above a column, from the top; those of a merged cell once."""
    seen = set()
    for row in range(first, data):
        place = sheet.merged.get((row, index), (row, index))
        text = cell_text(sheet.at(row, index))
        if not text and row < data - 1 and place == (row, index) and not is_empty(sheet.at(row + 1, index)):
            # A text file has no merged cells: what stands to the left covers the columns without a text of their own.
            place, text = _to_the_left(sheet, row, index)
        if text and place not in seen:
            seen.add(place)
            yield re.sub(r"\s+", " ", text)


def _to_the_left(sheet: Sheet, row: int, index: int) -> tuple[tuple[int, int], str]:
    for column in range(index - 1, -1, -1):
        text = cell_text(sheet.at(row, column))
        if text:
            return (row, column), "" if is_empty(sheet.at(row + 1, column)) else text
    return (row, index), ""


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", name)).lower()
