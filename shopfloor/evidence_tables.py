"""The data that ``shopfloor evidence`` evaluates: a table, or documents with their mappings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from shopfloor.evidence_files import read_text

if TYPE_CHECKING:
    from evidence.bills import BillTable
    from evidence.imports.cells import Document
    from evidence.imports.mapping import Mapping
    from evidence.origin import Origin
    from evidence.plan import Plan
    from evidence.table import IntervalTable

_DATA_HELP = (
    "table: column 'time' (start of the interval), then one column a series of the plan; for savings from bills "
    "'from' and 'to' (the first day after the bill) instead of 'time'; or with --mapping a document "
    "as people write it (.csv, .xlsx), and then as often as there are documents"
)
_MAPPING_HELP = "what the columns of the document are, see 'shopfloor evidence import propose'; one for each --data"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` and ``--mapping``."""
    parser.add_argument("--data", metavar="FILE", type=Path, required=True, action="append", help=_DATA_HELP)
    parser.add_argument("--mapping", metavar="FILE", type=Path, action="append", default=[], help=_MAPPING_HELP)


def read_data(options: argparse.Namespace, plan: Plan) -> tuple[IntervalTable, Origin | None]:
    """The table that ``--data`` and ``--mapping`` name, and where its values come from where that is known.

    Raises what `evidence.table.read_csv` and `evidence.imports` raise, `evidence.errors.FileError`, and
    `evidence.errors.TableError` when there is not one mapping for each document.
    """
    from evidence.errors import TableError
    from evidence.imports.rows import checked, take_rows
    from evidence.imports.series import table_of_documents
    from evidence.table import read_csv

    data, mappings = options.data, options.mapping
    if not mappings and len(data) == 1:
        return read_csv(read_text(data[0]), plan, source=str(data[0])), None
    if len(mappings) != len(data):
        raise TableError([f"{len(data)} documents and {len(mappings)} mappings; give --mapping once for each --data"])
    rows = [
        checked(take_rows(read_document_file(document), read_mapping(mapping)))
        for document, mapping in zip(data, mappings, strict=True)
    ]
    return table_of_documents(plan, rows)


def read_bill_table(options: argparse.Namespace, plan: Plan) -> BillTable | None:
    """The bills that ``--data`` names, None when it names anything else.

    Raises what `evidence.bills.read_bills` raises, and `evidence.errors.FileError`.
    """
    from evidence.bills import is_bill_table, read_bills

    if options.mapping or len(options.data) > 1:
        return None
    text = read_text(options.data[0])
    return read_bills(text, plan, str(options.data[0])) if is_bill_table(text) else None


def read_document_file(path: Path) -> Document:
    """The sheets of a document. Raises `evidence.errors.FileError` and `evidence.errors.ImportFileError`."""
    from evidence.imports.reading import read_bytes

    return read_bytes(file_bytes(path), path.name)


def file_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises `evidence.errors.FileError`."""
    from evidence.errors import FileError

    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def read_mapping(path: Path) -> Mapping:
    """A mapping. Raises `evidence.errors.FileError`, `evidence.errors.MappingError`, `wire.errors.DocumentError`."""
    from evidence.imports.mapping import load_mapping

    return load_mapping(read_text(path), path)
