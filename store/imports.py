"""Imported documents: their bytes, who handed them in and when, their mapping, and the values read from them.

A document is never changed and never deleted; withdrawing it is one more dated entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from store.database import Connection
from store.errors import ImportedDocumentError
from store.instants import binary_instant, instant

OVERLAPS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ImportedValue:
    """One value: of ``start_ms`` to ``end_ms`` (UTC, half-open), from ``row`` of the document (from 1)."""

    series: str
    start_ms: int
    end_ms: int
    value: float
    row: int


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to be stored: its bytes, its mapping as text, and what was ``left_out`` of it, a sentence a row.

    ``name`` is that of the mapping; documents of one name and project continue each other.
    """

    project: str
    name: str
    file_name: str
    content: bytes
    mapping: str
    left_out: Sequence[str]


@dataclass(frozen=True, slots=True)
class ImportedDocument:
    """A stored document, without its bytes. Times are UTC ms; the last three are None while it counts."""

    id: int
    project: str
    name: str
    file_name: str
    sha256: bytes
    size: int
    mapping: str
    mapping_sha256: bytes
    left_out: Sequence[str]
    values: int
    imported_ms: int
    imported_by: str
    withdrawn_ms: int | None
    withdrawn_by: str | None
    withdrawn_why: str | None


_SELECT = """
    SELECT id, project, name, file_name, sha256, octet_length(content), mapping, mapping_sha256, left_out,
           (SELECT count(*) FROM imported_value WHERE document = imported_document.id),
           epoch_ms(imported), imported_by, epoch_ms(withdrawn), withdrawn_by, withdrawn_why
    FROM imported_document
"""


def put_document(
    conn: Connection, document: NewDocument, values: Sequence[ImportedValue], imported_by: str, imported_ms: int
) -> tuple[ImportedDocument, bool]:
    """Store a document with its values, in one transaction; whether it is new. The same bytes under the same mapping
    change nothing.

    :raises ImportedDocumentError: values of its name and series are there for the same time, from another document.
    """
    digest = hashlib.sha256(document.content).digest()
    mapping_digest = hashlib.sha256(document.mapping.encode("utf-8")).digest()
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('imports/' || %s, 0))", (document.project,))
        known = conn.execute(
            "SELECT id FROM imported_document"
            " WHERE project = %s AND sha256 = %s AND mapping_sha256 = %s AND withdrawn IS NULL",
            (document.project, digest, mapping_digest),
        ).fetchone()
        if known is not None:
            return _known(conn, known[0]), False
        row = conn.execute(
            """
            INSERT INTO imported_document
                (project, name, file_name, sha256, content, mapping, mapping_sha256, left_out, imported, imported_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
            """,
            (
                *(document.project, document.name, document.file_name, digest, document.content),
                *(document.mapping, mapping_digest, list(document.left_out), instant(imported_ms), imported_by),
            ),
        ).fetchone()
        assert row is not None  # noqa: S101 - INSERT ... RETURNING has a row
        with (
            conn.cursor() as cursor,
            cursor.copy(
                'COPY imported_value (document, series, start, "end", value, row) FROM STDIN (FORMAT binary)'
            ) as copy,
        ):
            copy.set_types(["int8", "text", "int8", "int8", "float8", "int4"])
            for one in values:
                copy.write_row(
                    (row[0], one.series, binary_instant(one.start_ms), binary_instant(one.end_ms), one.value, one.row)
                )
        _refuse_overlaps(conn, row[0], document)
        return _known(conn, row[0]), True


def _refuse_overlaps(conn: Connection, id: int, document: NewDocument) -> None:
    rows = conn.execute(
        """
        SELECT other_document.id, other_document.file_name, own.series, own.row, other.row
        FROM imported_document other_document
        JOIN imported_value other ON other.document = other_document.id
        JOIN imported_value own ON own.document = %s AND own.series = other.series
                               AND own.start < other."end" AND other.start < own."end"
        WHERE other_document.project = %s AND other_document.name = %s AND other_document.withdrawn IS NULL
          AND other_document.id <> %s
        ORDER BY own.row LIMIT %s
        """,
        (id, document.project, document.name, id, OVERLAPS_SHOWN),
    ).fetchall()
    if rows:
        found = "; ".join(
            f"row {own} ({series}) is of the same time as row {other} of document {other_id} ({file_name})"
            for other_id, file_name, series, own, other in rows
        )
        raise ImportedDocumentError(
            f"{document.file_name}: {found}. Nothing was imported: withdraw the other document first, "
            "or give the mapping another name"
        )


def _known(conn: Connection, id: int) -> ImportedDocument:
    found = imported_document(conn, id)
    assert found is not None  # noqa: S101 - it was read or written in this transaction
    return found


def imported_document(conn: Connection, id: int) -> ImportedDocument | None:
    """A document by its number, withdrawn or not; None when there is none."""
    row = conn.execute(f"{_SELECT} WHERE id = %s", (id,), binary=True).fetchone()
    return None if row is None else ImportedDocument(*row)


def imported_documents(conn: Connection, project: str | None = None) -> list[ImportedDocument]:
    """All documents of a project (or of all projects), the first one first, withdrawn ones among them."""
    rows = conn.execute(
        f"{_SELECT} WHERE %(project)s::text IS NULL OR project = %(project)s ORDER BY id",
        {"project": project},
        binary=True,
    )
    return [ImportedDocument(*row) for row in rows]


def document_content(conn: Connection, id: int) -> bytes | None:
    """The bytes as they were handed in; None when there is no such document."""
    row = conn.execute("SELECT content FROM imported_document WHERE id = %s", (id,), binary=True).fetchone()
    return None if row is None else bytes(row[0])


def document_values(conn: Connection, id: int) -> list[ImportedValue]:
    """The values of a document, by series and time."""
    rows = conn.execute(
        'SELECT series, epoch_ms(start), epoch_ms("end"), value, row FROM imported_value'
        " WHERE document = %s ORDER BY series, start",
        (id,),
        binary=True,
    )
    return [ImportedValue(*row) for row in rows]


def withdraw_document(conn: Connection, id: int, by: str, why: str, withdrawn_ms: int) -> ImportedDocument:
    """Withdraw a document: it stays, and counts no more.

    :raises ImportedDocumentError: there is no such document, or it was withdrawn before.
    """
    with conn.transaction():
        changed = conn.execute(
            "UPDATE imported_document SET withdrawn = %s, withdrawn_by = %s, withdrawn_why = %s"
            " WHERE id = %s AND withdrawn IS NULL",
            (instant(withdrawn_ms), by, why, id),
        ).rowcount
        found = imported_document(conn, id)
        if found is None:
            raise ImportedDocumentError(f"there is no imported document {id}; 'evidence import list' shows all")
        if not changed:
            raise ImportedDocumentError(f"document {id} was withdrawn already, by {found.withdrawn_by}")
        return found


def imports_digest(conn: Connection, project: str) -> bytes:
    """A digest of all that is stored of a project's documents, from the very bytes: it changes when one does."""
    rows = conn.execute(
        """
        SELECT id, name, sha256(content), sha256, mapping, epoch_ms(withdrawn),
               (SELECT sha256(string_agg(format('%%s %%s %%s %%s %%s', series, start, "end", value, row), ','
                                         ORDER BY series, start)::bytea)
                FROM imported_value WHERE document = imported_document.id)
        FROM imported_document WHERE project = %s ORDER BY id
        """,
        (project,),
        binary=True,
    )
    return hashlib.sha256(repr(rows.fetchall()).encode()).digest()
