"""``shopfloor rebuild``: proves that the tables equal the signed records, and makes them equal."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from shopfloor.arguments import instant_ms
from shopfloor.database import add_database, database_url

if TYPE_CHECKING:
    from ingest.rebuild import RebuildReport

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR' or 'serve --embedded DIR', also while that is running"
_EPILOG = """\
exit codes:
  0  tables and records are equal (with --check), or are so now
  1  differences were found and not repaired
  2  the input is wrong, 3 the surroundings fail
"""


def add_parser(subparsers: Any) -> None:
    """Add ``rebuild`` to the command line."""
    parser = subparsers.add_parser(
        "rebuild",
        help="make every table that follows from records again, or check with --check that they equal the records",
        description="Verifies signature and chain of every record, and makes again what follows from records: "
        "intervals, latest values, chain heads, series, the columns beside the bytes. With --check nothing is changed: "
        "each difference is reported with gateway, day and series. Both work beside a running ingestion; days whose "
        "intervals wait to be computed are counted as pending and not compared.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 when something differs")
    parser.add_argument(
        "--gateway", metavar="GATEWAY", action="append", help="this gateway only; may be given several times"
    )
    parser.add_argument(
        "--from",
        dest="from_ms",
        metavar="TIME",
        type=instant_ms,
        help="2025-10-01 or 2025-10-01T08:00 (Asia/Shanghai unless it has an offset), included",
    )
    parser.add_argument(
        "--to",
        dest="to_ms",
        metavar="TIME",
        type=instant_ms,
        help="as --from, not included; both are widened to whole UTC days. With a range, heads, keys, spans, latest "
        "values and series are not compared",
    )
    add_database(parser, _EMBEDDED_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=_rebuild)


def _rebuild(options: argparse.Namespace) -> int:
    from ingest.rebuild import check, rebuild
    from shopfloor.progress import Progress
    from store.database import connect, pool
    from store.migrations import check_migrated

    work = check if options.check else rebuild
    with database_url(options) as url, Progress("check" if options.check else "rebuild") as progress:
        with connect(url) as conn:
            check_migrated(conn)
        with pool(url, 3) as connections:
            report = work(connections, options.gateway, options.from_ms, options.to_ms, progress.show)
    if options.json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        print("\n".join(_lines(report, checked=options.check)))
    return 0 if report.equal else 1


def _lines(report: RebuildReport, *, checked: bool) -> list[str]:
    lines = []
    for difference in report.differences:
        done = "repaired" if difference.repaired else "DIFFERS"
        lines.append(f"{done}: {difference.gateway} {difference.kind}: {difference.text}")
    listed, found = len(report.differences), report.counts.total()
    if found > listed:
        lines.append(f"... and {found - listed} more")
    for gateway, one in sorted(report.gateways.items()):
        lines.append(
            f"{gateway}: {one.records} records up to {one.head_seq}, {one.samples} samples, {one.signed_gaps} signed "
            f"gaps, {one.days} days {'compared' if checked else 'computed'}, {one.pending_days} days pending"
        )
    if report.equal:
        lines.append("tables and records are equal" if checked else "tables are made again from the records")
    else:
        lines.append(f"{report.unrepaired} differences between tables and records")
    return lines
