"""The documents of a project as series of its plan: read again from their stored bytes, never from the stored rows.

The rows in the database are a projection of bytes and mapping like any other table. They are compared with what the
bytes say, so that an altered row, an altered document and an altered mapping are all found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from dashboards.errors import ImportAlteredError
from evidence.errors import EvidenceError, TableError
from evidence.imports.mapping import load_mapping
from evidence.imports.reading import read_bytes
from evidence.imports.rows import ImportedRows, checked, take_rows
from evidence.imports.series import ImportedSeries
from evidence.plan import Plan
from store.database import Connection
from store.imports import ImportedDocument, ImportedValue, document_content, document_values, imported_documents


def documents_of(plan: Plan) -> frozenset[str]:
    """The names of the mappings whose documents a plan draws on."""
    return frozenset(source.split("/", 1)[0] for _, source in _wanted(plan))


def read_imported(connection: Connection, plan: Plan) -> ImportedSeries | None:
    """The series of all documents that a plan draws on; None when it draws on none.

    Raises `ImportAlteredError` when a stored document is not what was imported, and `evidence.errors.TableError` when
    the plan needs a series that no document has.
    """
    names = documents_of(plan)
    if not names:
        return None
    found = [
        one for one in imported_documents(connection, plan.project) if one.withdrawn_ms is None and one.name in names
    ]
    imported = ImportedSeries([_read(connection, one) for one in found])
    problems = [
        problem for name, source in _wanted(plan) for problem in imported.problems(name, plan.series[name], [source])
    ]
    if problems:
        raise TableError([*problems, "import the documents: shopfloor evidence import add"])
    return imported


def _wanted(plan: Plan) -> Iterator[tuple[str, str]]:
    for name, series in plan.series.items():
        earlier = () if series.earlier is None else series.earlier.documents
        for source in (*series.documents, *earlier):
            yield name, source


def _read(connection: Connection, stored: ImportedDocument) -> ImportedRows:
    content = document_content(connection, stored.id)
    mapping_sha256 = hashlib.sha256(stored.mapping.encode("utf-8")).digest()
    if content is None or hashlib.sha256(content).digest() != stored.sha256 or mapping_sha256 != stored.mapping_sha256:
        raise ImportAlteredError(
            f"document {stored.id} ({stored.file_name}) or its mapping does not have the hash that it was imported "
            "with: it was altered in the database; withdraw it, and import it again from its file"
        )
    try:
        rows = checked(take_rows(read_bytes(content, stored.file_name), load_mapping(stored.mapping, "mapping")))
    except EvidenceError as error:
        raise ImportAlteredError(
            f"document {stored.id} ({stored.file_name}) cannot be read again by its mapping ({error}); withdraw it, "
            "and import it again"
        ) from error
    said = {ImportedValue(one.series, one.start_ms, one.end_ms, one.value, one.row) for one in rows.values}
    if said != set(document_values(connection, stored.id)):
        raise ImportAlteredError(
            f"the stored values of document {stored.id} ({stored.file_name}) are not those of its bytes: they were "
            "altered in the database; withdraw the document, and import it again from its file"
        )
    return rows
