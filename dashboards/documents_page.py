"""Where the values of a project come from: grade and source of each input, and the documents that people handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

from dashboards.errors import UnknownFigureError
from dashboards.exports import csv_bytes
from dashboards.figures import iso_time, local_time, unit_text
from dashboards.language import Catalogue
from evidence.figures import number
from evidence.grade import EvidenceGrade
from evidence.imports.mapping import Mapping as ImportMapping
from evidence.imports.mapping import load_mapping
from evidence.origin import GRADE_NAMES
from store.database import Connection
from store.imports import (
    ImportedDocument,
    ImportedValue,
    document_content,
    document_values,
    imported_document,
)

Json = Mapping[str, Any]

COLUMNS = ("series", "start", "end", "value", "unit", "row")


def grade_text(grade: str, text: Catalogue) -> str:
    """The name of a grade in the reader's language."""
    name = GRADE_NAMES[EvidenceGrade(grade)]
    return name.zh if text.language == "zh" else name.en


def inputs_view(kpis: Sequence[Json], text: Catalogue) -> list[dict[str, Any]]:
    """Every input of every KPI once: series, days, grade, sources."""
    seen = {(one["series"], one["first"]): one for kpi in kpis for one in kpi["inputs"]}
    return [
        {
            "series": one["series"],
            "days": text("project.days_range", first=one["first"], last=_day_before(one["end"])),
            "grade": grade_text(one["grade"], text),
            "signed": one["grade"] != EvidenceGrade.IMPORTED_DOCUMENT,
            "sources": one["sources"],
        }
        for one in seen.values()
    ]


def documents_view(documents: Sequence[ImportedDocument], zone: str, text: Catalogue) -> list[dict[str, Any]]:
    """One row a document, withdrawn ones among them."""
    return [_document_view(one, zone, text) for one in documents]


def document_of(connection: Connection, project: str, id: int) -> ImportedDocument:
    """A document of a project. Raises `UnknownFigureError` when the project has none of this number."""
    found = imported_document(connection, id)
    if found is None or found.project != project:
        raise UnknownFigureError(f"project {project} has no imported document {id}")
    return found


def read_document_page(
    connection: Connection, project: str, id: int
) -> tuple[ImportedDocument, Sequence[ImportedValue]]:
    """A document with its values. Raises `UnknownFigureError`."""
    return document_of(connection, project, id), document_values(connection, id)


def document_page_view(document: ImportedDocument, values: Sequence[ImportedValue], text: Catalogue) -> dict[str, Any]:
    """Everything that `document.html` writes."""
    mapping = load_mapping(document.mapping, "mapping")
    return {
        **_document_view(document, mapping.timezone, text),
        "project": document.project,
        "project_path": quote(document.project, safe=""),
        "mapping": document.mapping,
        "zone": mapping.timezone,
        "rows": [
            {
                "series": one.series,
                "start": local_time(one.start_ms, mapping.timezone)[:16],
                "end": local_time(one.end_ms, mapping.timezone)[:16],
                "value": f"{one.value:,.10g}",
                "unit": unit_text(mapping.series[one.series].unit, text),
                "row": one.row,
            }
            for one in values
        ],
    }


def document_csv(document: ImportedDocument, values: Sequence[ImportedValue]) -> bytes:
    """The values of a document as a file; times are ISO 8601 in the zone of its mapping."""
    mapping = load_mapping(document.mapping, "mapping")
    return csv_bytes([(name, "") for name in COLUMNS], [_csv_row(one, mapping) for one in values])


def document_bytes(connection: Connection, project: str, id: int) -> tuple[str, bytes]:
    """Name and bytes of a document as it was handed in. Raises `UnknownFigureError`."""
    found = document_of(connection, project, id)
    return found.file_name, document_content(connection, id) or b""


def _csv_row(one: ImportedValue, mapping: ImportMapping) -> tuple[object, ...]:
    start, end = (iso_time(time_ms, mapping.timezone) for time_ms in (one.start_ms, one.end_ms))
    return one.series, start, end, one.value, mapping.series[one.series].unit, one.row


def _document_view(one: ImportedDocument, zone: str, text: Catalogue) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "file_name": one.file_name,
        "hash": one.sha256.hex(),
        "bytes": number(one.size, 0),
        "count": number(one.values, 0),
        "imported": local_time(one.imported_ms, zone),
        "imported_by": one.imported_by,
        "left_out": list(one.left_out),
        "withdrawn": None
        if one.withdrawn_ms is None
        else text(
            "documents.withdrawn",
            time=local_time(one.withdrawn_ms, zone),
            name=one.withdrawn_by,
            why=one.withdrawn_why,
        ),
    }


def _day_before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()
