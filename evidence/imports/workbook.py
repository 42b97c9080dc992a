"""Excel workbooks (.xlsx, .xlsm), read by calamine.

Calamine reads cached values of formulas, and dates by the number format of the cell and the workbook's own date system
(1900 or 1904); it runs no macro and follows no link. It lays a sheet out as one block from its first cell to its last,
so that how far the cells lie apart is looked at first. Of the old binary format (.xls) its reader does not survive
damaged files, which is why that format is refused.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum, load_workbook

from evidence.errors import ImportFileError
from evidence.imports.cells import Cell, Position, Sheet

MAXIMUM_UNPACKED = 512 * 1024 * 1024
"""A workbook of a year of quarter hours unpacks to a few tens of megabytes."""
MAXIMUM_CELLS = 20_000_000

_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]*)(\d+)["']""")
"""Where a row or a cell says that it stands."""
_DATE_1904 = re.compile(rb"""date1904\s*=\s*["'](?:1|true)["']""")

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def is_workbook(data: bytes) -> bool:
    """Whether bytes begin as a workbook does, whatever the name of the file says."""
    return data.startswith((ZIP, OLE))


def read_workbook(data: bytes, name: str) -> tuple[tuple[Sheet, ...], bool]:
    """All worksheets, and whether their days count from 1904 (cells with a date format are read rightly either way).

    Raises `ImportFileError` for what is no workbook, is protected by a password, or far too big.
    """
    if data.startswith(OLE):
        raise ImportFileError(
            f"{name}: is an Excel file of the old format (.xls) or protected by a password; save it as plain .xlsx"
        )
    from_1904 = _check(data, name)
    try:
        with load_workbook(io.BytesIO(data)) as book:
            sheets = []
            for number, about in enumerate(book.sheets_metadata):
                if about.typ is not SheetTypeEnum.WorkSheet:
                    continue
                sheet = book.get_sheet_by_index(number)
                rows: list[list[Cell]] = [list(row) for row in sheet.to_python(skip_empty_area=False)]
                merged = _merged(sheet.merged_cell_ranges or [], len(rows), len(rows[0]) if rows else 0)
                sheets.append(Sheet(about.name, rows, merged, about.visible is not SheetVisibleEnum.Visible))
            return tuple(sheets), from_1904
    except CalamineError as error:
        raise ImportFileError(f"{name}: not readable as a workbook: {error}; save it again as .xlsx") from error


def _check(data: bytes, name: str) -> bool:
    """Refuse what is no .xlsx, what unpacks to far too much, and cells that lie too far apart; the answer is whether
    the workbook says that it counts its days from 1904."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if "xl/workbook.xml" not in archive.namelist():
                raise ImportFileError(f"{name}: is no .xlsx workbook; save it as .xlsx")
            size = sum(part.file_size for part in parts)
            if size > MAXIMUM_UNPACKED:
                raise ImportFileError(
                    f"{name}: unpacks to {size} bytes, more than {MAXIMUM_UNPACKED}; hand in one year a file"
                )
            for part in parts:
                if part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml"):
                    _check_extent(archive.read(part), name)
            return _DATE_1904.search(archive.read("xl/workbook.xml")) is not None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise ImportFileError(f"{name}: is damaged: {error}; copy it again from where it comes from") from error


def _check_extent(sheet: bytes, name: str) -> None:
    rows = columns = 0
    for found in _PLACE.finditer(sheet):
        columns = max(columns, _column_number(found[1].upper()))
        rows = max(rows, int(found[2]))
    if rows * columns > MAXIMUM_CELLS:
        raise ImportFileError(
            f"{name}: a sheet goes to row {rows} and column {columns}; delete what stands far away from the table"
        )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def _merged(ranges: list[tuple[tuple[int, int], tuple[int, int]]], height: int, width: int) -> dict[Position, Position]:
    covered: dict[Position, Position] = {}
    for (top, left), (bottom, right) in ranges:
        for row in range(top, min(bottom + 1, height)):
            for column in range(left, min(right + 1, width)):
                if (row, column) != (top, left):
                    covered[row, column] = (top, left)
    return covered
