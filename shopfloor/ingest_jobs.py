"""``shopfloor ingest jobs``: the background jobs of a database, and one run now."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from shopfloor.arguments import positive_number
from shopfloor.database import add_database, database_url
from shopfloor.reporting import clock_text, connected, print_report

_EMBEDDED_HELP = "the database of 'ingest run --embedded DIR' or 'serve --embedded DIR', also while that is running"
_FAILED = "failed"


def add_command(commands: Any) -> None:
    """Add ``jobs`` to the commands of ``shopfloor ingest``."""
    jobs = commands.add_parser(
        "jobs",
        help="background jobs: what waits, runs, is done or failed",
        description="Lists the newest background jobs with their status. Ingestion processes run them from a queue in "
        "the database; what fails is tried again, later each time. Exit code 1 when a job has failed for good.",
    )
    jobs.add_argument("--run", metavar="TASK", help="have this task run now, by whichever ingestion is free")
    jobs.add_argument("--limit", type=positive_number, default=20, help="how many at most (default: 20)")
    add_database(jobs, _EMBEDDED_HELP)
    jobs.add_argument("--json", action="store_true", help="print JSON")
    jobs.set_defaults(func=_jobs)


def _jobs(options: argparse.Namespace) -> int:
    from store.job_queue import job_counts, list_jobs

    if options.run is not None:
        return _start(options)
    with connected(options) as conn:
        counts, newest = job_counts(conn), list_jobs(conn, options.limit)
    report = {
        "counts": [{"task": task, "status": status, "jobs": count} for (task, status), count in counts.items()],
        "jobs": [asdict(job) for job in newest],
    }
    lines = [f"{task}: {count} {status}" for (task, status), count in counts.items()]
    lines += [
        f"{job.id}  {job.task:<20} {job.status:<10} attempt {job.attempts}  due {_when(job.due_ms)}, "
        f"started {_when(job.started_ms)}, ended {_when(job.ended_ms)}"
        for job in newest
    ]
    print_report(options, report, lines or ["there are no jobs"])
    return 1 if any(status == _FAILED for _, status in counts) else 0


def _start(options: argparse.Namespace) -> int:
    from ingest.jobs import start_job
    from shopfloor.nightly import further_tasks
    from store.database import connect
    from store.job_queue import prepare_job_queue
    from store.migrations import check_migrated

    with database_url(options) as url:
        with connect(url) as conn:
            check_migrated(conn)
            conn.commit()
            prepare_job_queue(conn)
        number = start_job(url, options.run, further_tasks())
    said = f"job {number} waits for an ingestion that is free" if number else "a job of this task waits already"
    print(json.dumps({"task": options.run, "job": number or None}) if options.json else said)
    return 0


def _when(time_ms: int | None) -> str:
    return "-" if time_ms is None else clock_text(time_ms)
