"""What the commands of a server have in common: a migrated database, times for people, a report as text or JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from shopfloor.database import database_url

if TYPE_CHECKING:
    from store.database import Connection

_ZONE = ZoneInfo("Asia/Shanghai")


@contextlib.contextmanager
def connected(options: argparse.Namespace) -> Iterator[Connection]:
    """Open a connection to the migrated database that the options name; committed at the end."""
    from store.database import connect
    from store.migrations import migrate

    with database_url(options) as url, connect(url) as conn:
        migrate(conn)
        yield conn


def clock_text(time_ms: int | None) -> str:
    """Return a time (ms UTC) for people, with its offset."""
    return "never" if time_ms is None else datetime.fromtimestamp(time_ms // 1000, _ZONE).isoformat()


def print_report(options: argparse.Namespace, report: dict[str, Any], lines: list[str]) -> None:
    """Print ``lines``, or with ``--json`` the whole ``report``."""
    print(json.dumps(report, ensure_ascii=False) if options.json else "\n".join(lines))
    sys.stdout.flush()
