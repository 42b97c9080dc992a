"""From bytes to sheets: which kind of document it is, is told by the bytes, never by the name of the file."""

from __future__ import annotations

import hashlib

from evidence.errors import ImportFileError
from evidence.imports.cells import Document
from evidence.imports.delimited import read_delimited
from evidence.imports.workbook import is_workbook, read_workbook

MAXIMUM_BYTES = 64 * 1024 * 1024


def read_bytes(data: bytes, name: str) -> Document:
    """Read a document; ``name`` is that of its file.

    Raises `evidence.errors.ImportFileError` for an empty document, one that is too big, and what is neither workbook
    nor delimited text.
    """
    if not data.strip():
        raise ImportFileError(f"{name}: is empty")
    if len(data) > MAXIMUM_BYTES:
        size = f"{len(data)} bytes, at most {MAXIMUM_BYTES} are read"
        raise ImportFileError(f"{name}: has {size}; hand in one year a file")
    digest = hashlib.sha256(data).hexdigest()
    if is_workbook(data):
        sheets, from_1904 = read_workbook(data, name)
        return Document(name, digest, "xlsx", sheets, date1904=from_1904)
    sheet, encoding, delimiter = read_delimited(data, name)
    return Document(name, digest, "csv", (sheet,), encoding, delimiter)
