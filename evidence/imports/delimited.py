"""Delimited text (CSV): encoding and delimiter are found from the bytes, or the text is refused."""

from __future__ import annotations

import csv
import io
from collections import Counter

from evidence.errors import ImportFileError
from evidence.imports.cells import Sheet

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 200
MAXIMUM_COLUMNS = 512

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Text and encoding of ``data``: by its byte order mark, else UTF-8, else GB18030 (of which GBK and GB 2312 are
    part).

    UTF-8 is asked first: a GB18030 text of more than a few Chinese characters is never valid UTF-8. Raises
    `ImportFileError` for bytes that are neither.
    """
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            break
        return text, encoding
    raise ImportFileError(
        f"{name}: is no text in UTF-8 or GB18030 (GBK); save it as .xlsx, or from Excel as 'CSV UTF-8'"
    )


def read_delimited(data: bytes, name: str) -> tuple[Sheet, str, str]:
    """The only sheet of a delimited text, with its encoding and delimiter. Raises `ImportFileError`."""
    text, encoding = decode(data, name)
    lines = text.splitlines()
    # Excel writes and understands a first line that names the delimiter.
    stated = lines[0][4:] if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == 5 else None
    delimiter = stated or _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            # A quoted field may run over several lines: rows keep the number of the line they end on.
            rows += [[]] * (reader.line_num - 1 - len(rows))
            rows.append([] if stated and reader.line_num == 1 else row)
    except csv.Error as error:
        raise ImportFileError(f"{name}:{reader.line_num}: not readable as CSV: {error}") from error
    width = max((len(row) for row in rows), default=0)
    if width > MAXIMUM_COLUMNS:
        raise ImportFileError(f"{name}: has {width} columns, at most {MAXIMUM_COLUMNS} are read; is it a table?")
    return Sheet("", [row + [""] * (width - len(row)) for row in rows]), encoding, delimiter


def _delimiter(text: str) -> str:
    """The delimiter by which most rows have the same number of fields, more than one."""
    best, score = ",", 0
    for delimiter in DELIMITERS:
        widths: Counter[int] = Counter()
        try:
            for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
                if number >= SAMPLE_ROWS:
                    break
                if any(row):
                    widths[len(row)] += 1
        except csv.Error:
            continue
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(1, 0))
        if width > 1 and count > score:
            best, score = delimiter, count
    return best
