"""``shopfloor evidence import``: documents that people hand in, from a first look to the database."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.database import add_database
from shopfloor.evidence_files import read_text, write_bytes
from shopfloor.evidence_tables import file_bytes, read_document_file, read_mapping
from shopfloor.reporting import clock_text, connected, print_report

if TYPE_CHECKING:
    from evidence.imports.rows import ImportedRows
    from store.imports import ImportedDocument, ImportedValue

ROWS_SHOWN = 20
_DOCUMENT_HELP = "the document: .csv, .xlsx"
_ID_HELP = "number of the document, see 'list'"
_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR', also while that is running"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``shopfloor evidence``."""
    parser = commands.add_parser(
        "import",
        help="take in bills, meter exports, production reports, shift calendars, weather",
        description="Takes documents in: CSV (UTF-8 or GB18030) and .xlsx. A mapping says which column is what: "
        "'propose' writes a first one, 'preview' shows what every row becomes, 'add' stores bytes and values. Figures "
        "that rest on a document say so. Exit codes: 0 done; 1 rows cannot be taken as they are; 2 the document, the "
        "mapping or the command is wrong; 3 the database does not answer.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_looking(actions)
    _add_storing(actions)


def _add_looking(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    propose = actions.add_parser(
        "propose",
        help="propose a mapping from the content",
        description="Writes a mapping for DOCUMENT, with the reason of every line; what the content does not tell is "
        "marked ???. Read it before anything is imported.",
    )
    propose.add_argument("document", metavar="DOCUMENT", type=Path, help=_DOCUMENT_HELP)
    propose.add_argument("--output", metavar="MAPPING.yaml", type=Path, help="file to write (default: standard output)")
    propose.add_argument("--json", action="store_true", help="print mapping and open questions as JSON")
    propose.set_defaults(func=_propose)

    preview = actions.add_parser(
        "preview",
        help="show what every row becomes, and which rows are wrong",
        description="Reads DOCUMENT as the mapping says and prints every value with its period and row, every row that "
        "is left out, and every row that is wrong, with its cell. Nothing is stored. Exits with 1 when the document "
        "cannot be imported like this.",
    )
    _add_document(preview)
    preview.add_argument("--all", action="store_true", help=f"print all values, not the first {ROWS_SHOWN} of a series")
    preview.add_argument("--json", action="store_true", help="print everything as JSON")
    preview.set_defaults(func=_preview)

    schema = actions.add_parser(
        "schema",
        help="print the JSON Schema of mapping files",
        description="Prints the JSON Schema of mapping files, for editors: begin a mapping with "
        "'# yaml-language-server: $schema=FILE'.",
    )
    schema.set_defaults(func=_schema)


def _add_storing(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = actions.add_parser(
        "add",
        help="store a document with its values",
        description="Stores the bytes of DOCUMENT with their SHA-256, the mapping, who handed it in and when, and its "
        "values, in one transaction. The same bytes twice change nothing. With one wrong row nothing is stored, unless "
        "the mapping leaves such rows out; then they are listed for good.",
    )
    _add_document(add)
    whose = add.add_mutually_exclusive_group(required=True)
    whose.add_argument("--project", metavar="ID", help="project that the document belongs to; it must be registered")
    whose.add_argument("--plan", metavar="PLAN", type=Path, help="its evidence plan, registered or not")
    add.add_argument("--by", metavar="NAME", default=getpass.getuser(), help="who hands it in (default: %(default)s)")
    add.add_argument("--json", action="store_true", help="print the document as JSON")
    add_database(add, _EMBEDDED_HELP)
    add.set_defaults(func=_add)

    list_ = actions.add_parser(
        "list",
        help="list stored documents, withdrawn ones among them",
        description="Prints a line a document: number, project, name in plans, file, values, hash, when and by whom.",
    )
    list_.add_argument("--project", metavar="ID", help="of this project only")
    list_.add_argument("--json", action="store_true", help="print them as JSON")
    add_database(list_, _EMBEDDED_HELP)
    list_.set_defaults(func=_list)

    show = actions.add_parser(
        "show",
        help="show a stored document: who, when, hash, mapping, values",
        description="Shows document ID; with --output the bytes go to FILE exactly as they were handed in.",
    )
    show.add_argument("id", metavar="ID", type=int, help=_ID_HELP)
    show.add_argument("--output", metavar="FILE", type=Path, help="write the original bytes to FILE")
    show.add_argument("--json", action="store_true", help="print document, mapping and values as JSON")
    add_database(show, _EMBEDDED_HELP)
    show.set_defaults(func=_show)

    withdraw = actions.add_parser(
        "withdraw",
        help="let a document count no more; it stays, with who withdrew it, when and why",
        description="Withdraws document ID. It is not deleted: pages and lists go on showing it as withdrawn.",
    )
    withdraw.add_argument("id", metavar="ID", type=int, help=_ID_HELP)
    withdraw.add_argument("--why", metavar="TEXT", required=True, help="the reason, for whoever reads the list")
    withdraw.add_argument("--by", metavar="NAME", default=getpass.getuser(), help="who (default: %(default)s)")
    withdraw.add_argument("--json", action="store_true", help="print the document as JSON")
    add_database(withdraw, _EMBEDDED_HELP)
    withdraw.set_defaults(func=_withdraw)


def _add_document(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("document", metavar="DOCUMENT", type=Path, help=_DOCUMENT_HELP)
    parser.add_argument(
        "--mapping", metavar="MAPPING.yaml", type=Path, required=True, help="what its columns are, see 'propose'"
    )


def _propose(options: argparse.Namespace) -> int:
    from evidence.imports.proposal import propose

    proposal = propose(read_document_file(options.document))
    if options.output is not None:
        write_bytes(options.output, proposal.text.encode("utf-8"))
    if options.json:
        print(
            json.dumps({"mapping": proposal.text, "questions": proposal.open_questions}, ensure_ascii=False, indent=2)
        )
    elif options.output is None:
        print(proposal.text, end="")
    for question in proposal.open_questions:
        print(f"??? {question}", file=sys.stderr)
    return 0


def _preview(options: argparse.Namespace) -> int:
    from evidence.imports.rows import take_rows

    rows = take_rows(read_document_file(options.document), read_mapping(options.mapping))
    print_report(options, _preview_json(rows), _preview_lines(rows, None if options.all else ROWS_SHOWN))
    for line in rows.problem_lines:
        print(line, file=sys.stderr)
    return 0 if rows.usable else 1


def _schema(_: argparse.Namespace) -> int:
    from evidence.imports.mapping_schema import mapping_schema_text

    print(mapping_schema_text(), end="")
    return 0


def _add(options: argparse.Namespace) -> int:
    from evidence.imports.mapping import load_mapping
    from evidence.imports.reading import read_bytes
    from evidence.imports.rows import take_rows
    from ingest.transaction import now_ms
    from store.imports import ImportedValue, NewDocument, put_document

    content, mapping_text = file_bytes(options.document), read_text(options.mapping)
    mapping = load_mapping(mapping_text, options.mapping)
    rows = take_rows(read_bytes(content, options.document.name), mapping)
    if not rows.usable:
        for line in rows.problem_lines or [f"{options.document}: no row has a value; look at the preview"]:
            print(line, file=sys.stderr)
        print("nothing was imported", file=sys.stderr)
        return 1
    with connected(options) as conn:
        stored, new = put_document(
            conn,
            NewDocument(
                project=_project(options, conn),
                name=mapping.name,
                file_name=options.document.name,
                content=content,
                mapping=mapping_text,
                left_out=[*_left_out(rows), *rows.problem_lines],
            ),
            [ImportedValue(one.series, one.start_ms, one.end_ms, one.value, one.row) for one in rows.values],
            options.by,
            now_ms(),
        )
    said = "imported" if new else "was imported already, nothing changed"
    lines = [f"document {stored.id}: {said}", *_document_lines(stored)]
    print_report(options, {"new": new, **_document_json(stored)}, lines)
    return 0


def _project(options: argparse.Namespace, conn: Any) -> str:
    from evidence.errors import PlanError
    from evidence.plan import load_plan
    from store.projects import projects
    from wire.document import suggestion

    if options.plan is not None:
        return load_plan(read_text(options.plan), options.plan).project
    known = [project.id for project in projects(conn)]
    if options.project not in known:
        raise PlanError([f"no project '{options.project}' is registered{suggestion(options.project, known)}"])
    return str(options.project)


def _list(options: argparse.Namespace) -> int:
    from store.imports import imported_documents

    with connected(options) as conn:
        found = imported_documents(conn, options.project)
    lines = [
        f"{one.id}  {one.project}  {one.name}  {one.file_name}  {one.values} values  {one.sha256.hex()[:16]}  "
        f"{clock_text(one.imported_ms)} by {one.imported_by}" + ("" if one.withdrawn_ms is None else "  WITHDRAWN")
        for one in found
    ]
    report = {"documents": [_document_json(one) for one in found]}
    print_report(options, report, lines or ["there are no imported documents"])
    return 0


def _show(options: argparse.Namespace) -> int:
    from store.errors import ImportedDocumentError
    from store.imports import document_content, document_values, imported_document

    with connected(options) as conn:
        found = imported_document(conn, options.id)
        if found is None:
            raise ImportedDocumentError(f"there is no imported document {options.id}; 'list' shows all")
        values = document_values(conn, options.id)
        content = document_content(conn, options.id) if options.output is not None else None
    if options.output is not None and content is not None:
        write_bytes(options.output, content)
    report = {**_document_json(found), "mapping": found.mapping, "rows": [_value_json(one) for one in values]}
    zone = _zone(found.mapping)
    lines = [f"document {found.id}", *_document_lines(found), *(_value_line(one, zone) for one in values)]
    print_report(options, report, lines)
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    from ingest.transaction import now_ms
    from store.imports import withdraw_document

    with connected(options) as conn:
        found = withdraw_document(conn, options.id, options.by, options.why, now_ms())
    print_report(options, _document_json(found), [f"document {found.id}: withdrawn", *_document_lines(found)])
    return 0


def _left_out(rows: ImportedRows) -> list[str]:
    return [f"row {one.row}: {one.why}" for one in rows.left_out]


def _preview_lines(rows: ImportedRows, limit: int | None) -> list[str]:
    document, mapping = rows.document, rows.mapping
    sheet = f", sheet {rows.sheet.name}" if rows.sheet.name else ""
    lines = [f"{document.name}{sheet}   SHA-256 {document.sha256}"]
    for name, series in mapping.series.items():
        found = rows.of(name)
        lines.append(f"{mapping.name}/{name}   {series.quantity}, {len(found)} values")
        lines += [f"  {_value_line(one, mapping.timezone, series.unit)}" for one in found[:limit]]
        if limit is not None and len(found) > limit:
            lines.append(f"  and {len(found) - limit} more (--all)")
        if found and series.increments:
            lines.append(f"  sum {sum(one.value for one in found):,.10g} {series.unit}")
    lines += [f"left out: {text}" for text in _left_out(rows)]
    state = "can be imported" if rows.usable else "CANNOT be imported"
    lines.append(
        f"{state}: {len(rows.values)} values, wrong cells: {len(rows.problems)}, rows left out: {len(rows.left_out)}"
    )
    return lines


def _preview_json(rows: ImportedRows) -> dict[str, Any]:
    return {
        "document": rows.document.name,
        "sha256": rows.document.sha256,
        "sheet": rows.sheet.name,
        "name": rows.mapping.name,
        "usable": rows.usable,
        "values": [_value_json(one) for one in rows.values],
        "left_out": [{"row": one.row, "why": one.why} for one in rows.left_out],
        "problems": [{"row": one.row, "column": one.column, "what": one.what} for one in rows.problems],
    }


def _document_lines(one: ImportedDocument) -> list[str]:
    lines = [
        f"  {one.file_name}, {one.size} bytes, SHA-256 {one.sha256.hex()}",
        f"  project {one.project}, as {one.name}: {one.values} values",
        f"  imported {clock_text(one.imported_ms)} by {one.imported_by}",
    ]
    if one.withdrawn_ms is not None:
        lines.append(f"  withdrawn {clock_text(one.withdrawn_ms)} by {one.withdrawn_by}: {one.withdrawn_why}")
    return [*lines, *(f"  left out: {text}" for text in one.left_out)]


def _document_json(one: ImportedDocument) -> dict[str, Any]:
    return {
        "id": one.id,
        "project": one.project,
        "name": one.name,
        "file_name": one.file_name,
        "bytes": one.size,
        "sha256": one.sha256.hex(),
        "values": one.values,
        "left_out": list(one.left_out),
        "imported_ms": one.imported_ms,
        "imported_by": one.imported_by,
        "withdrawn_ms": one.withdrawn_ms,
        "withdrawn_by": one.withdrawn_by,
        "withdrawn_why": one.withdrawn_why,
    }


def _value_json(one: Any) -> dict[str, Any]:
    return {
        "series": one.series,
        "start_ms": one.start_ms,
        "end_ms": one.end_ms,
        "value": one.value,
        "row": one.row,
    }


def _zone(mapping_text: str) -> str:
    from evidence.imports.mapping import load_mapping

    return load_mapping(mapping_text, "mapping").timezone


def _value_line(one: ImportedValue | Any, timezone: str, unit: str = "") -> str:
    from zoneinfo import ZoneInfo

    start, end = (
        datetime.fromtimestamp(time_ms / 1000, ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M")
        for time_ms in (one.start_ms, one.end_ms)
    )
    series = "" if unit else f"{one.series}  "
    return f"{series}{start} - {end}  {one.value:.10g} {unit}".rstrip() + f"  (row {one.row})"
