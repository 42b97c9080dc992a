"""The tables of the job queue: those of the library procrastinate, in a schema of their own.

They are not among our migrations: their text belongs to the installed version of the library, which brings its own
migrations. `prepare_job_queue` makes them, or applies those that a newer version of the library has added; which ones
have been applied is noted beside them, as the library asks of its users.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from procrastinate.schema import SchemaManager
from psycopg import sql

from store.database import Connection, autocommit

SCHEMA = "jobs"
SEARCH_PATH = f"-c search_path={SCHEMA}"
"""libpq option of a connection that finds the tables."""


@dataclass(frozen=True, slots=True)
class Job:
    """One background job. ``status`` is the library's: todo, doing, succeeded, failed, cancelled, aborted.

    Times are ms UTC: when it is due (None: at once), when it was started last and when it ended.
    """

    id: int
    task: str
    status: str
    attempts: int
    arguments: dict[str, object]
    due_ms: int | None
    started_ms: int | None
    ended_ms: int | None


def prepare_job_queue(conn: Connection) -> list[str]:
    """Make the tables of the queue or bring them forward; the names of the library's migrations that were applied.

    Processes that start together wait for one another. The connection must not be in a transaction.
    """
    files = {file.stem: file for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))}
    with autocommit(conn), conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('shopfloor job queue', 0))")
        conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
        conn.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(SCHEMA)))
        conn.execute(
            "CREATE TABLE IF NOT EXISTS applied_library_migration (name text PRIMARY KEY, applied timestamptz NOT NULL"
            " DEFAULT now())"
        )
        known = {name for (name,) in conn.execute("SELECT name FROM applied_library_migration")}
        if _exists(conn):
            missing = [name for name in files if name not in known]
            for name in missing:
                conn.execute(files[name].read_bytes())
        else:
            conn.execute(SchemaManager.get_schema())
            missing = list(files)
        conn.cursor().executemany(
            "INSERT INTO applied_library_migration (name) VALUES (%s)", [(name,) for name in missing]
        )
    return missing


def job_counts(conn: Connection) -> dict[tuple[str, str], int]:
    """How many jobs there are, by task and status; empty while there is no queue."""
    if not _exists(conn):
        return {}
    rows = conn.execute(
        sql.SQL("SELECT task_name, status::text, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2").format(_JOBS)
    )
    return {(task, status): int(count) for task, status, count in rows}


def list_jobs(conn: Connection, limit: int = 100) -> list[Job]:
    """The newest jobs first."""
    if not _exists(conn):
        return []
    rows = conn.execute(
        sql.SQL(
            """
            SELECT jobs.id, task_name, status::text, attempts, args, epoch_ms(scheduled_at),
                (SELECT epoch_ms(max(at)) FROM {events} WHERE job_id = jobs.id AND type = 'started'),
                (SELECT epoch_ms(max(at)) FROM {events} WHERE job_id = jobs.id
                 AND type IN ('succeeded', 'failed', 'cancelled', 'aborted'))
            FROM {jobs} AS jobs ORDER BY jobs.id DESC LIMIT %s
            """
        ).format(jobs=_JOBS, events=sql.Identifier(SCHEMA, "procrastinate_events")),
        (limit,),
    )
    return [Job(*row) for row in rows]


_JOBS = sql.Identifier(SCHEMA, "procrastinate_jobs")


def _exists(conn: Connection) -> bool:
    return conn.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.procrastinate_jobs",)).fetchone() == (True,)
