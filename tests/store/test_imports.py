"""Imported documents: stored once, never changed, withdrawn rather than deleted, and never mixed in silence."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import psycopg
import pytest

from store.database import Connection
from store.errors import ImportedDocumentError
from store.imports import (
    ImportedValue,
    NewDocument,
    document_content,
    document_values,
    imported_document,
    imported_documents,
    imports_digest,
    put_document,
    withdraw_document,
)

DAY_MS = 86_400_000
CONTENT = "日期,用电量(kWh)\r\n2025-03-01,500\r\n".encode("gb18030")
DOCUMENT = NewDocument("PL-1", "report", "日报.csv", CONTENT, "mapping: 1\n", ["row 9: '合计' adds up other rows"])


def values(first: int = 0, count: int = 3) -> list[ImportedValue]:
    return [
        ImportedValue("energy", (first + day) * DAY_MS, (first + day + 1) * DAY_MS, 500.25 + day, day + 2)
        for day in range(count)
    ]


def test_a_document_is_kept_to_the_byte_with_who_and_when(conn: Connection) -> None:
    stored, new = put_document(conn, DOCUMENT, values(), "张三", 1_750_000_000_123)
    assert new
    assert stored.sha256 == hashlib.sha256(CONTENT).digest()
    assert (stored.file_name, stored.imported_by, stored.imported_ms) == ("日报.csv", "张三", 1_750_000_000_123)
    assert (stored.values, stored.size, list(stored.left_out)) == (3, len(CONTENT), list(DOCUMENT.left_out))
    assert document_content(conn, stored.id) == CONTENT
    assert document_values(conn, stored.id) == values()
    assert imported_document(conn, stored.id) == stored


def test_the_same_bytes_twice_are_nothing_new(conn: Connection) -> None:
    stored, _ = put_document(conn, DOCUMENT, values(), "张三", 1000)
    again = put_document(conn, replace(DOCUMENT, file_name="copy.csv"), values(), "李四", 2000)
    assert again == (stored, False)
    assert imported_documents(conn) == [stored]
    _, elsewhere = put_document(conn, replace(DOCUMENT, project="PL-2"), values(), "张三", 3000)
    assert elsewhere
    assert [one.project for one in imported_documents(conn)] == ["PL-1", "PL-2"]
    assert imported_documents(conn, "PL-1") == [stored]


def test_another_document_for_the_same_time_is_refused_whole(conn: Connection) -> None:
    put_document(conn, DOCUMENT, values(), "张三", 1000)
    later = replace(DOCUMENT, content=b"other bytes", file_name="april.csv")
    with pytest.raises(
        ImportedDocumentError, match=r"april.csv: row 2 \(energy\) is of the same time as row 4"
    ) as caught:
        put_document(conn, later, values(first=2), "张三", 2000)
    assert caught.value.exit_code == 2
    assert len(imported_documents(conn)) == 1
    row = conn.execute("SELECT count(*) FROM imported_value").fetchone()
    assert row == (3,)
    put_document(conn, later, values(first=3), "张三", 2000)
    put_document(
        conn, replace(later, name="another", mapping="mapping: 1\nname: another\n"), values(first=2), "张三", 2000
    )
    assert len(imported_documents(conn)) == 3


def test_a_withdrawn_document_stays_and_makes_room(conn: Connection) -> None:
    stored, _ = put_document(conn, DOCUMENT, values(), "张三", 1000)
    withdrawn = withdraw_document(conn, stored.id, "李四", "wrong month", 5000)
    assert (withdrawn.withdrawn_ms, withdrawn.withdrawn_by, withdrawn.withdrawn_why) == (5000, "李四", "wrong month")
    assert document_content(conn, stored.id) == CONTENT
    assert document_values(conn, stored.id) == values()
    with pytest.raises(ImportedDocumentError, match="was withdrawn already, by 李四"):
        withdraw_document(conn, stored.id, "王五", "again", 6000)
    again, new = put_document(conn, DOCUMENT, values(), "张三", 7000)
    assert new
    assert [one.id for one in imported_documents(conn)] == [stored.id, again.id]


def test_what_is_not_there_is_named(conn: Connection) -> None:
    assert imported_document(conn, 7) is None
    assert document_content(conn, 7) is None
    with pytest.raises(ImportedDocumentError, match="there is no imported document 7"):
        withdraw_document(conn, 7, "x", "y", 0)


def test_any_changed_byte_changes_the_digest(conn: Connection) -> None:
    stored, _ = put_document(conn, DOCUMENT, values(), "张三", 1000)
    conn.commit()
    before = imports_digest(conn, "PL-1")
    assert imports_digest(conn, "PL-1") == before
    for change in (
        "UPDATE imported_document SET content = content || 'x'::bytea",
        "UPDATE imported_document SET mapping = mapping || ' '",
        "UPDATE imported_document SET name = 'other'",
        "UPDATE imported_value SET value = value + 1e-9 WHERE row = 3",
        'UPDATE imported_value SET "end" = "end" + interval \'1 ms\' WHERE row = 3',
        "DELETE FROM imported_value WHERE row = 4",
    ):
        conn.execute(change)
        assert imports_digest(conn, "PL-1") != before, change
        conn.rollback()
    assert imports_digest(conn, "PL-1") == before
    withdraw_document(conn, stored.id, "x", "y", 9000)
    assert imports_digest(conn, "PL-1") != before


def test_half_a_withdrawal_cannot_be_stored(conn: Connection) -> None:
    stored, _ = put_document(conn, DOCUMENT, values(), "张三", 1000)
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("UPDATE imported_document SET withdrawn = now() WHERE id = %s", (stored.id,))
