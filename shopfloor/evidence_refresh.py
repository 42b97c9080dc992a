"""``shopfloor evidence refresh``: the results of all projects whose inputs have changed, computed and kept."""

from __future__ import annotations

import argparse
import json
from typing import Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database, database_url

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR' or 'serve --embedded DIR', also while that is running"
_EPILOG = """\
exit codes:
  0  every project has a result of what is stored now
  1  a project failed: the others have theirs, and it keeps the one it had
  2  the input is wrong, 3 the surroundings fail
"""


def add_parser(commands: Any) -> None:
    """Add ``refresh`` to the commands of ``shopfloor evidence``."""
    refresh = commands.add_parser(
        "refresh",
        help="compute and keep the results of all projects whose inputs have changed",
        description="Computes, on all cores, the result of every registered project whose plan or intervals have "
        "changed since it was computed last, and keeps it in the database: the list of projects shows it at once. "
        "Ingestion does the same every night. Records are not verified here: a project's page, 'shopfloor dossier' "
        "and 'shopfloor rebuild --check' do that.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    refresh.add_argument(
        "--project", metavar="PROJECT", action="append", help="this project only; may be given several times"
    )
    refresh.add_argument(
        "--processes", metavar="N", type=positive_number, help="how many work at once (default: one a core)"
    )
    add_database(refresh, _EMBEDDED_HELP)
    refresh.add_argument("--json", action="store_true", help="print JSON")
    refresh.set_defaults(func=_refresh)


def _refresh(options: argparse.Namespace) -> int:
    from dashboards.refresh import refresh_results
    from shopfloor.progress import Progress
    from store.database import connect
    from store.migrations import check_migrated

    with database_url(options) as url, Progress("refresh") as progress:
        with connect(url) as conn:
            check_migrated(conn)
        report = refresh_results(url, options.project, processes=options.processes, notice=progress.show)
    if options.json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        for one in report.failed:
            print(f"{one.project}: FAILED: {one.problem}")
        print(
            f"{report.count('refreshed')} refreshed, {report.count('unchanged')} unchanged, {len(report.failed)} failed"
        )
    return 1 if report.failed else 0
