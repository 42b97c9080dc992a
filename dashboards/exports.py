"""Tables as files for spreadsheets and programs.

CSV follows RFC 4180 (comma, CRLF, header line) in UTF-8 *with* a byte order mark: spreadsheet programs on Chinese
Windows otherwise read the text as GBK. Units stand in the header in square brackets; times are ISO 8601 with offset;
a missing value is an empty field, never zero. Numbers are written in full, not as rounded on the page.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

CSV_TYPE = "text/csv; charset=utf-8"
JSON_TYPE = "application/json"
_BYTE_ORDER_MARK = "\ufeff"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file of `rows`; `columns` are pairs of name and unit ("" for none), one for each value of a row."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([_field(f"{name} [{unit}]" if unit else name) for name, unit in columns])
    writer.writerows([_field(value) for value in row] for row in rows)
    return (_BYTE_ORDER_MARK + file.getvalue()).encode("utf-8")


def json_bytes(value: object) -> bytes:
    """Deterministic JSON in UTF-8: keys in the order given, no NaN (RFC 8259 has none)."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode("utf-8")


def _field(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        # A spreadsheet would run such text as a formula (OWASP, CSV injection).
        return f"'{value}"
    return value
