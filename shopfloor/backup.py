"""``shopfloor backup``: everything in a database that cannot be made again, in one file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from shopfloor.database import add_database, database_url

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR' or 'serve --embedded DIR', also while that is running"
_MEGABYTE = 1_000_000


def add_parser(subparsers: Any) -> None:
    """Add ``backup`` to the command line."""
    parser = subparsers.add_parser(
        "backup",
        help="write everything that cannot be made again into one file",
        description="Writes records, keys, plans, decisions, incidents and quarantine, all as of one moment, into the "
        "new file FILE, while ingestion goes on. Intervals and latest values follow from the records and are left out. "
        "Keep the files beside the database too: the server's key, and the certificate authority.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a new file, best named *.backup")
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=_backup)


def _backup(options: argparse.Namespace) -> int:
    from shopfloor.progress import Progress
    from store.backup import write_backup
    from store.database import connect

    with database_url(options) as url, connect(url) as conn, Progress("backup") as progress:
        manifest = write_backup(
            conn,
            options.file,
            lambda table, written: progress.show(None, f"{table}, {written / _MEGABYTE:.0f} MB"),
        )
    size = options.file.stat().st_size
    if options.json:
        report = {"file": str(options.file), "bytes": size, "taken_ms": manifest.taken_ms, "rows": manifest.rows}
        print(json.dumps(report))
    else:
        for table, rows in sorted(manifest.rows.items()):
            print(f"{table}: {rows} rows")
        print(f"{options.file}: {size / _MEGABYTE:.1f} MB")
    return 0
