"""``shopfloor restore``: a database made from a backup, proven record by record."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopfloor.database import add_database, data_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPILOG = """\
exit codes:
  0  restored, and every record holds
  1  restored, but some records do not hold (they are named)
  2  the file is no backup, or the database is not empty, 3 the surroundings fail
"""
_MEGABYTE = 1_000_000


def add_parser(subparsers: Any) -> None:
    """Add ``restore`` to the command line."""
    parser = subparsers.add_parser(
        "restore",
        help="fill an empty database from a backup, and verify every record of it",
        description="Fills an empty database from FILE (made by shopfloor backup), then verifies signature and chain "
        "of every record and computes the intervals again. Gateways that are ahead of the backup learn from the next "
        "acknowledgement that the server went back, and send again what they still have.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a file made by shopfloor backup")
    add_database(parser, "make a new embedded database in DIR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=_restore)


def _restore(options: argparse.Namespace) -> int:
    from ingest.rebuild import rebuild
    from shopfloor.progress import Progress
    from store.backup import read_manifest, restore_backup
    from store.database import connect, pool

    read_manifest(options.file)
    with _empty_database(options) as url, Progress("restore") as progress:
        with connect(url) as conn:
            manifest = restore_backup(
                conn,
                options.file,
                lambda table, done: progress.show(None, f"{table}, {done / _MEGABYTE:.0f} MB"),
            )
        with pool(url, 3) as connections:
            # The projections were left out: that they differ is no news, that a record does not hold is.
            report = rebuild(connections, notice=progress.show)
    faults = [difference for difference in report.differences if not difference.repaired]
    if options.json:
        print(json.dumps({"rows": manifest.rows, **report.to_json()}, ensure_ascii=False))
    else:
        for table, rows in sorted(manifest.rows.items()):
            print(f"{table}: {rows} rows")
        for fault in faults:
            print(f"DIFFERS: {fault.gateway} {fault.kind}: {fault.text}")
        days = sum(one.days for one in report.gateways.values())
        print(f"restored; {report.unrepaired} records do not hold, the intervals of {days} days are computed")
    return 0 if report.equal else 1


@contextlib.contextmanager
def _empty_database(options: argparse.Namespace) -> Iterator[str]:
    from store.embedded import EmbeddedPostgres

    if options.embedded is None:
        yield options.database
        return
    with EmbeddedPostgres(data_directory(options.embedded)) as server:
        yield server.url
