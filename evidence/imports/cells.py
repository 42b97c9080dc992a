"""Sheets of cells, as a document has them: nothing is interpreted yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

Cell = str | float | int | bool | date | datetime | time | timedelta
"""What a cell holds. An empty cell is the empty text; dates and times have no time zone."""

Position = tuple[int, int]
"""Row and column, both from 0."""


@dataclass(frozen=True)
class Sheet:
    """One sheet. ``rows`` are as many columns wide as the sheet, from its cell A1 on.

    ``merged`` leads from each cell that a merged cell covers to the cell that holds its content. ``hidden`` sheets are
    read only when a mapping names them.
    """

    name: str
    rows: Sequence[Sequence[Cell]]
    merged: Mapping[Position, Position] = field(default_factory=dict)
    hidden: bool = False

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0]) if self.rows else 0

    def at(self, row: int, column: int) -> Cell:
        """The content of a cell, of a merged one that of the whole."""
        row, column = self.merged.get((row, column), (row, column))
        return self.rows[row][column]


@dataclass(frozen=True)
class Document:
    """A document as read. ``form`` is ``csv`` or ``xlsx``; ``encoding`` and ``delimiter`` are those of a CSV text.

    ``date1904``: bare numbers that are dates count from 1904, as old workbooks of a Macintosh do.
    """

    name: str
    sha256: str
    form: str
    sheets: tuple[Sheet, ...]
    encoding: str | None = None
    delimiter: str | None = None
    date1904: bool = False


def column_letters(column: int) -> str:
    """The name of a column (from 0) in a spreadsheet: A, B ... Z, AA ..."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def column_index(letters: str) -> int:
    """The number (from 0) of the column with this name; raises `ValueError` for what is none."""
    index = 0
    if not letters or len(letters) > 3:
        raise ValueError(f"'{letters}' is no column")
    for letter in letters:
        if not "A" <= letter <= "Z":
            raise ValueError(f"'{letters}' is no column")
        index = 26 * index + ord(letter) - ord("A") + 1
    return index - 1


def is_empty(cell: Cell) -> bool:
    """Whether a cell holds nothing but white space."""
    return isinstance(cell, str) and not cell.strip()


def cell_text(cell: Cell) -> str:
    """A cell as a person would write it."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell).strip()
