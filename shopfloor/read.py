"""``shopfloor read``: what a server holds, through its read API."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from shopfloor.arguments import positive_number
from shopfloor.progress import Progress

if TYPE_CHECKING:
    from shopfloor.api_client import Answer, ApiClient

SERVER_VARIABLE = "SHOPFLOOR_SERVER"
TOKEN_VARIABLE = "SHOPFLOOR_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_SERVER = "http://127.0.0.1:8000"
_PAGE_ROWS = 50_000
_PAGE_ENTRIES = 1000
_FORMATS = {"csv": "csv", "arrow": "arrow", "jsonl": "json"}
_EPILOG = """\
exit codes:
  0  done
  1  done, but records of the range could not be read on the server; standard error says how many
  2  the server refuses: no valid token, a scope is missing, a parameter is wrong; or the file cannot be written
  3  the server does not answer, or broke off; the same command goes on where it stopped
"""

Piece = tuple[bytes, str | None, int]
"""Bytes to append, the cursor behind them, and how many records that belong here the server could not read."""


def add_parser(subparsers: Any) -> None:
    """Add ``read`` with its commands to the command line."""
    parser = subparsers.add_parser(
        "read",
        help="read samples, intervals, records ... from a server",
        description="Reads from a server through its API and writes files for other programs. A download that broke "
        "off goes on where it stopped when the same command is given again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, what in (("samples", "every read, as signed"), ("intervals", "quarters of an hour")):
        table = commands.add_parser(
            name, help=f"{what}, of one or several series", description=f"Reads {what}, in [FROM, TO)."
        )
        table.add_argument("series", metavar="SERIES", nargs="+", help="full id: gateway/device/name")
        table.add_argument("--from", dest="begin", metavar="TIME", required=True, help="inclusive; ISO 8601 with zone")
        table.add_argument("--to", dest="end", metavar="TIME", required=True, help="exclusive; ISO 8601 with zone")
        table.add_argument("--format", choices=list(_FORMATS), default="csv", help="default csv")
        table.add_argument("--rows", type=positive_number, default=_PAGE_ROWS, metavar="N", help="rows a request")
        _add_server(table)
        _add_output(table)
        table.set_defaults(func=_table, what=name)

    records = commands.add_parser(
        "records",
        help="signed records, byte for byte",
        description="Reads the signed records of a gateway into a .records file, to be verified, or taken in elsewhere "
        "with 'shopfloor ingest import'.",
    )
    records.add_argument("gateway", metavar="GATEWAY", help="id of the gateway")
    records.add_argument("--from", dest="begin", metavar="TIME", help="closed at or after; ISO 8601 with zone")
    records.add_argument("--to", dest="end", metavar="TIME", help="closed before; ISO 8601 with zone")
    _add_server(records)
    _add_output(records)
    records.set_defaults(func=_records)

    for name, what in (
        ("gateways", "gateways and how far each has come"),
        ("series", "series, with unit and latest value"),
        ("incidents", "what was authentic but odd"),
        ("quarantine", "what was refused, by reason"),
    ):
        listing = commands.add_parser(name, help=what, description=f"Lists {what}, one JSON object a line.")
        if name in ("series", "incidents"):
            listing.add_argument("--gateway", metavar="GATEWAY", help="of this gateway only")
        _add_server(listing)
        listing.set_defaults(func=_listing, what=name)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", help=f"default: ${SERVER_VARIABLE}, else {DEFAULT_SERVER}")
    parser.add_argument(
        "--token-file", metavar="FILE", type=Path, help=f"file with the token; default: ${TOKEN_VARIABLE}, else none"
    )
    parser.add_argument(
        "--ca", metavar="FILE", type=Path, help="certificates (PEM) to trust in the place of the system's"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", type=Path, help="default: standard output, which cannot be resumed")


def _table(options: argparse.Namespace) -> int:
    query: list[tuple[str, str]] = [("series", name) for name in sorted(set(options.series))]
    query += [("from", options.begin), ("to", options.end), ("format", _FORMATS[options.format])]
    query += [("limit", str(options.rows))]

    def pieces(client: ApiClient, cursor: str | None) -> Iterator[Piece]:
        first = cursor is None
        for answer, following in client.pages(f"/{options.what}", query, cursor):
            skipped = int(answer.headers.get("shopfloor-skipped-records", "0"))
            yield _rows(answer, options.format, options.what, first=first), following, skipped
            first = False

    skipped = _fetch(options, {"path": options.what, "query": query}, pieces, _ending(options.format))
    if skipped:
        print(f"warning: {skipped} records of the range could not be read on the server", file=sys.stderr)
    return 1 if skipped else 0


def _records(options: argparse.Namespace) -> int:
    query = [("limit", str(_PAGE_ENTRIES))]
    query += [(name, value) for name, value in (("from", options.begin), ("to", options.end)) if value is not None]
    path = f"/gateways/{options.gateway}"

    def pieces(client: ApiClient, cursor: str | None) -> Iterator[Piece]:
        for answer, following in client.pages(f"{path}/records", query, cursor):
            numbers = [one["record"] for one in answer.json()["records"]]
            yield b"".join(_record_runs(client, path, numbers)), following, 0

    _fetch(options, {"path": f"{path}/records", "query": query}, pieces, b"")
    return 0


def _record_runs(client: ApiClient, path: str, numbers: Sequence[int]) -> Iterator[bytes]:
    """The bytes of records, those with numbers in a row in one request."""
    begin = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            bounds = [("first", str(numbers[begin])), ("last", str(numbers[index - 1]))]
            yield client.get(f"{path}/records-file", bounds).body
            begin = index


def _listing(options: argparse.Namespace) -> int:
    client = _client(options)
    if options.what == "quarantine":
        print(json.dumps(client.get("/quarantine").json(), ensure_ascii=False))
        return 0
    query = [("limit", str(_PAGE_ENTRIES))]
    if getattr(options, "gateway", None) is not None:
        query.append(("gateway", options.gateway))
    for answer, _ in client.pages(f"/{options.what}", query):
        for entry in answer.json()[options.what]:
            print(json.dumps(entry, ensure_ascii=False))
    return 0


def _fetch(options: argparse.Namespace, query: dict[str, Any], pieces: Any, ending: bytes) -> int:
    """Fetch all pieces to where they shall go; return how many records the server could not read."""
    from shopfloor.partial_file import PartialFile

    client = _client(options)
    with Progress(f"reading {query['path'].lstrip('/')}") as progress:
        if options.output is None:
            return _to_stream(sys.stdout.buffer, pieces(client, None), ending, progress)
        with PartialFile(options.output, query | {"server": _server(options)}) as file:
            size = 0
            for data, cursor, skipped in pieces(client, file.cursor):
                file.add(data, cursor, skipped)
                size += len(data)
                progress.show(None, f"{size:,} bytes")
            file.finish(ending)
            return file.skipped


def _to_stream(stream: BinaryIO, pieces: Iterator[Piece], ending: bytes, progress: Progress) -> int:
    size = total = 0
    for data, _, skipped in pieces:
        size += stream.write(data)
        total += skipped
        progress.show(None, f"{size:,} bytes")
    stream.write(ending)
    stream.flush()
    return total


def _rows(answer: Answer, format_: str, name: str, *, first: bool) -> bytes:
    """The rows of one page, so that all pages together are one file; the first one with what stands before the rows."""
    from shopfloor import arrow_stream
    from shopfloor.errors import ReadError

    if format_ == "csv":
        return answer.body if first else answer.body.partition(b"\n")[2]
    if format_ == "jsonl":
        return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in answer.json()[name])
    try:
        return (arrow_stream.schema_message(answer.body) if first else b"") + arrow_stream.batches(answer.body)
    except ValueError as error:
        raise ReadError(f"the server sent something else than was asked for: {error}") from error


def _ending(format_: str) -> bytes:
    from shopfloor.arrow_stream import end_mark

    return end_mark() if format_ == "arrow" else b""


def _server(options: argparse.Namespace) -> str:
    return str(options.server or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER)


def _client(options: argparse.Namespace) -> ApiClient:
    from shopfloor.api_client import ApiClient
    from shopfloor.errors import RefusedError
    from wire.errors import fault_text

    token = os.environ.get(TOKEN_VARIABLE) or None
    if options.token_file is not None:
        try:
            token = options.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"{options.token_file}: cannot be read as a token: {fault_text(error)}") from error
    return ApiClient(_server(options), token, options.ca)
