"""Maintenance in the background, on a job queue in the same database (the library procrastinate).

Every ingestion process runs a worker; the queue hands each job to one of them, repeats what fails, later each time, and
gives the jobs of a worker that died to another. So a job may run twice: all of them do no harm then.

Gateway-days that wait for their intervals are not jobs of this queue. A live day is marked by every batch of records
and computed every few seconds: as rows of `store.dirty` many marks of one day are one piece of work, a mark costs one
insert inside the batch's own transaction, and finishing the day and writing its intervals is one commit; the queue
would add several writes to each, and a job could only be merged with one that waits, not with one that runs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.retry import RetryStrategy
from psycopg.conninfo import make_conninfo

from ingest.clock_window import DAY_MS
from ingest.errors import UnknownJobError
from ingest.rebuild import check
from ingest.retention import apply_retention
from ingest.transaction import now_ms
from ingest.worker import INTERVALS_FAILED
from store.database import Pool, transaction
from store.dirty import mark_dirty
from store.enrolment import IssuedCertificate, certificates
from store.gateways import gateways
from store.incidents import add_incident, incidents_since
from store.job_queue import SEARCH_PATH
from store.partitions import ensure_partitions

TABLES_DIFFER = "tables-differ"
"""Incident: what follows from a gateway's records is not what the tables say, or a record does not hold."""

CERTIFICATE_EXPIRES = "certificate-expires"
"""Incident: a gateway has not renewed its certificate in time, and will not reach the broker when it ends."""

RETENTION = "retention"
"""Task: removes records whose time is over; only where the days to keep them are given."""

MONTHS_AHEAD = 3
CERTIFICATE_WARNING_MS = 14 * DAY_MS
FAILED_DAYS_MS = 7 * DAY_MS
FINISHED_JOBS_HOURS = 14 * 24
CHECKED_EVERY_DAYS = 7
"""Each gateway is checked once in so many days; which day is its own follows from its place in the list."""

_RETRY = RetryStrategy(max_attempts=8, exponential_wait=5)
_GRACE_S = 30.0
_RETRY_SECONDS = 5.0
_NIGHTLY = "17 19 * * *"  # UTC: after three in the morning in China
_TALKATIVE = ("procrastinate.blueprints", "procrastinate.periodic")
_log = logging.getLogger(__name__)


def partitions_ahead(connections: Pool, at_ms: int) -> None:
    """Make the partitions of this month and those after it, so that no insert has to wait for one."""
    times = [at_ms + 28 * DAY_MS * month for month in range(MONTHS_AHEAD + 1)]
    with transaction(connections) as conn:
        ensure_partitions(conn, times, table="record")
        ensure_partitions(conn, times, table="interval")


def retry_failed_days(connections: Pool, at_ms: int) -> None:
    """Mark the days whose intervals could not be computed lately: what hindered it may be mended."""
    with transaction(connections) as conn:
        for incident in incidents_since(conn, INTERVALS_FAILED, at_ms - FAILED_DAYS_MS):
            mark_dirty(conn, incident.gateway, [int(incident.detail["day_ms"])])


def watch_certificates(connections: Pool, at_ms: int) -> None:
    """Tell of gateways whose newest certificate ends soon; one incident a certificate."""
    with transaction(connections) as conn:
        known = {
            incident.detail.get("serial")
            for incident in incidents_since(conn, CERTIFICATE_EXPIRES, at_ms - 2 * CERTIFICATE_WARNING_MS)
        }
        newest: dict[str, IssuedCertificate] = {}
        for one in certificates(conn, at_ms=at_ms):
            if one.revoked_ms is not None:
                continue
            if one.gateway not in newest or one.expires_ms > newest[one.gateway].expires_ms:
                newest[one.gateway] = one
        for gateway, one in newest.items():
            if one.expires_ms < at_ms + CERTIFICATE_WARNING_MS and one.serial not in known:
                detail = {"serial": one.serial, "expires_ms": one.expires_ms}
                add_incident(conn, gateway, CERTIFICATE_EXPIRES, None, detail, None, at_ms)


def check_tables(connections: Pool, at_ms: int) -> None:
    """Compare tables and records of the gateways whose turn it is, over the days since it was their turn before."""
    day = at_ms // DAY_MS
    with transaction(connections) as conn:
        known = [one.id for one in gateways(conn)]
    for gateway in known[day % CHECKED_EVERY_DAYS :: CHECKED_EVERY_DAYS]:
        report = check(connections, [gateway], (day - CHECKED_EVERY_DAYS) * DAY_MS, day * DAY_MS)
        if not report.equal:
            detail = {"counts": dict(report.counts), "first": report.differences[0].text}
            with transaction(connections) as conn:
                add_incident(conn, gateway, TABLES_DIFFER, None, detail, None, at_ms)


Maintenance = Callable[[Pool, int], None]
Task = tuple[str, Maintenance]
"""When something runs (cron, UTC), and what."""

MAINTENANCE: dict[str, Task] = {
    "partitions-ahead": ("5 3 * * *", partitions_ahead),
    "retry-failed-days": (_NIGHTLY, retry_failed_days),
    "watch-certificates": ("25 * * * *", watch_certificates),
    "check-tables": (_NIGHTLY, check_tables),
}
"""The tasks of ingestion itself by name; whoever composes services may add further ones."""

_NO_TASKS: Mapping[str, Task] = {}


def job_application(
    database_url: str,
    connections: Pool | None = None,
    keep_days: int | None = None,
    further: Mapping[str, Task] = _NO_TASKS,
) -> procrastinate.App:
    """The queue of a database with all tasks; only with ``connections`` can it run them, without it can add jobs.

    ``further`` tasks run like those of `MAINTENANCE`. With ``keep_days`` records that are older are removed every
    night, as `ingest.retention` says.
    """
    connector = procrastinate.PsycopgConnector(
        conninfo=make_conninfo(database_url, options=SEARCH_PATH, application_name="shopfloor-jobs"),
        min_size=1,
        max_size=3,
    )
    application = procrastinate.App(connector=connector)
    for name, (cron, work) in {**MAINTENANCE, **further}.items():
        _add_task(application, name, cron, work, connections)

    @application.task(name=RETENTION, queueing_lock=RETENTION, lock=RETENTION, retry=_RETRY)
    def retention(timestamp: int, keep_days: int) -> None:  # noqa: ARG001 - when it was due
        apply_retention(_required(connections), keep_days, now_ms())

    if keep_days is not None:
        application.periodic(cron=_NIGHTLY, periodic_id=RETENTION, task_kwargs={"keep_days": keep_days})(retention)

    @application.periodic(cron="*/5 * * * *", periodic_id="orphaned-jobs")
    @application.task(name="orphaned-jobs", queueing_lock="orphaned-jobs", pass_context=True)
    async def orphaned_jobs(context: procrastinate.JobContext, timestamp: int) -> None:  # noqa: ARG001 - its signature
        manager = context.app.job_manager
        for job in await manager.get_stalled_jobs():
            await manager.retry_job(job)
        await manager.delete_old_jobs(nb_hours=FINISHED_JOBS_HOURS, include_failed=True)

    return application


def _add_task(
    application: procrastinate.App, name: str, cron: str, work: Maintenance, connections: Pool | None
) -> None:
    @application.periodic(cron=cron, periodic_id=name)
    @application.task(name=name, queueing_lock=name, lock=name, retry=_RETRY)
    def run(timestamp: int) -> None:  # noqa: ARG001 - when it was due; what counts is when it runs
        work(_required(connections), now_ms())


def _required(connections: Pool | None) -> Pool:
    if connections is None:
        raise UnknownJobError("a job was handed to a process that only adds jobs")
    return connections


def start_job(database_url: str, name: str, further: Mapping[str, Task] = _NO_TASKS) -> int:
    """Have a task run now; return the number of its job. A job of it that waits already is enough.

    Raises `UnknownJobError` when there is no such task.
    """
    if name not in {**MAINTENANCE, **further}:
        raise UnknownJobError(f"there is no task '{name}'; there are {', '.join((*MAINTENANCE, *further))}")
    with job_application(database_url, further=further).open() as application:
        try:
            return application.configure_task(name, queueing_lock=name, lock=name).defer(timestamp=now_ms() // 1000)
        except AlreadyEnqueued:
            return 0


class JobWorker:
    """One thread that takes jobs from the queue, one at a time; started and drained with ingestion."""

    def __init__(
        self,
        database_url: str,
        connections: Pool,
        keep_days: int | None = None,
        further: Mapping[str, Task] = _NO_TASKS,
    ) -> None:
        self._database_url = database_url
        self._keep_days = keep_days
        self._further = further
        self._connections = connections
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ingest-jobs", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._thread.start()

    def stop(self, timeout_s: float = 2 * _GRACE_S) -> None:
        """Finish the job in hand and leave; one that takes longer is given to another worker later."""
        with self._lock:
            self._stopping.set()
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._work())
            except asyncio.CancelledError:
                return
            except Exception as error:
                if not isinstance(error, ConnectorException):
                    _log.exception("the worker of background jobs ended")
                else:
                    _log.warning("no background jobs: %s; next attempt in %.0f s", error, _RETRY_SECONDS)
                self._stopping.wait(_RETRY_SECONDS)

    def _application(self) -> procrastinate.App:
        return job_application(self._database_url, self._connections, self._keep_days, self._further)

    async def _work(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            async with self._application().open_async() as application:
                await application.run_worker_async(
                    name="shopfloor",
                    concurrency=1,
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=_GRACE_S,
                )
        finally:
            with self._lock:
                self._loop = self._task = None
