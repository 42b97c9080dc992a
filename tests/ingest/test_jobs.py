"""Background jobs run from a queue in the database: once, again when they fail, by another when their worker died."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from procrastinate.schema import SchemaManager

from ingest import jobs
from ingest.authentication import Message
from ingest.clock_window import DAY_MS
from ingest.errors import UnknownJobError
from ingest.jobs import (
    CERTIFICATE_EXPIRES,
    TABLES_DIFFER,
    JobWorker,
    check_tables,
    job_application,
    partitions_ahead,
    retry_failed_days,
    start_job,
    watch_certificates,
)
from ingest.rebuild import check
from ingest.transaction import AdmissionTransactions
from ingest.worker import INTERVALS_FAILED, IntervalWorker
from shopfloor.main import main
from store.database import Pool, connect, pool, transaction
from store.dirty import dirty_days
from store.enrolment import IssuedCertificate, add_certificate
from store.gateways import add_gateway
from store.incidents import add_incident, list_incidents
from store.job_queue import job_counts, list_jobs, prepare_job_queue
from store.retention import removed_runs
from wire.topics import record_topic

NOW_MS = 1_760_000_000_000
DAY = NOW_MS // DAY_MS * DAY_MS


@pytest.fixture
def connections(database_url: str) -> Iterator[Pool]:
    """A pool on a database with a job queue."""
    with connect(database_url) as conn:
        prepare_job_queue(conn)
    with pool(database_url, 4) as opened:
        yield opened


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        time.sleep(0.05)


def _status(connections: Pool, task: str) -> list[tuple[str, int]]:
    with transaction(connections) as conn:
        return [(job.status, job.attempts) for job in list_jobs(conn, 1000) if job.task == task]


def test_the_queue_is_made_once(database_url: str) -> None:
    with connect(database_url) as conn:
        assert prepare_job_queue(conn)
        assert prepare_job_queue(conn) == []
        row = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename ~ 'procrastinate'")
        assert row.fetchone() == (0,)


def test_a_migration_that_a_newer_library_brings_is_applied(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(database_url) as conn:
        prepare_job_queue(conn)
        shutil.copytree(SchemaManager.get_migrations_path(), tmp_path / "migrations")
        (tmp_path / "migrations" / "99.00.00_01_pre_future.sql").write_text("CREATE TABLE of_the_future (id int);")
        monkeypatch.setattr(SchemaManager, "get_migrations_path", lambda: str(tmp_path / "migrations"))
        assert prepare_job_queue(conn) == ["99.00.00_01_pre_future"]
        assert prepare_job_queue(conn) == []
        assert conn.execute("SELECT to_regclass('jobs.of_the_future') IS NOT NULL").fetchone() == (True,)


def test_a_job_that_is_started_runs(database_url: str, connections: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    monkeypatch.setitem(jobs.MAINTENANCE, "partitions-ahead", ("5 3 * * *", lambda _pool, at_ms: ran.append(at_ms)))
    assert start_job(database_url, "partitions-ahead") > 0
    assert start_job(database_url, "partitions-ahead") == 0, "one that waits is enough"
    worker = JobWorker(database_url, connections)
    worker.start()
    _wait_for(lambda: bool(ran), "the job to run")
    _wait_for(lambda: _status(connections, "partitions-ahead") == [("succeeded", 1)], "the job to be done")
    worker.stop()
    assert len(ran) == 1


def test_a_job_that_fails_is_tried_again(database_url: str, connections: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fail_once(_pool: Pool, at_ms: int) -> None:
        tried.append(at_ms)
        if len(tried) == 1:
            raise OSError("the disk is full")

    monkeypatch.setitem(jobs.MAINTENANCE, "partitions-ahead", ("5 3 * * *", fail_once))
    monkeypatch.setattr(jobs, "_RETRY", 3)
    start_job(database_url, "partitions-ahead")
    worker = JobWorker(database_url, connections)
    worker.start()
    _wait_for(lambda: _status(connections, "partitions-ahead") == [("succeeded", 2)], "the second attempt")
    worker.stop()
    assert len(tried) == 2


def test_the_job_of_a_dead_worker_is_given_to_another(
    database_url: str, connections: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    monkeypatch.setitem(jobs.MAINTENANCE, "partitions-ahead", ("5 3 * * *", lambda _pool, at_ms: ran.append(at_ms)))
    start_job(database_url, "partitions-ahead")
    with transaction(connections) as conn:
        conn.execute("SET LOCAL search_path = jobs, public")
        # As kill -9 leaves it: taken by a worker whose heartbeat has stopped.
        conn.execute(
            "WITH dead AS (INSERT INTO jobs.procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 h')"
            " RETURNING id) UPDATE jobs.procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead"
        )
        conn.execute(
            "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args) VALUES"
            " ('default', 'orphaned-jobs', jsonb_build_object('timestamp', 0))"
        )
    worker = JobWorker(database_url, connections)
    worker.start()
    _wait_for(lambda: bool(ran), "the job to run after all")
    worker.stop()
    assert [status for status, _ in _status(connections, "partitions-ahead")] == ["succeeded"]


@pytest.mark.parametrize("asked_by", ["a worker", "the scheduler of the database server"])
def test_old_records_are_removed_by_a_job_where_the_days_are_given(
    database_url: str, connections: Pool, gateway: Any, asked_by: str
) -> None:
    with transaction(connections) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    records = gateway.make(10)
    gateway.time_ms += 40 * DAY_MS
    records += gateway.make(10)
    messages = [Message(record_topic("gw-01"), one.data, gateway.time_ms) for one in records]
    AdmissionTransactions(connections).commit(messages)
    compute = IntervalWorker(connections)
    while compute.compute_next():
        pass
    if asked_by == "a worker":
        with job_application(database_url).open() as application:
            application.configure_task("retention").defer(timestamp=0, keep_days=30)
    else:
        with transaction(connections) as conn:
            conn.execute("CALL queue_retention(1000, '{\"keep_days\": 30}')")
    worker = JobWorker(database_url, connections, keep_days=30 if asked_by == "a worker" else None)
    worker.start()
    _wait_for(lambda: _status(connections, "retention") == [("succeeded", 1)], "the job to be done")
    worker.stop()
    with transaction(connections) as conn:
        assert [one.samples for one in removed_runs(conn)] == [8 * 20]
    report = check(connections)
    assert report.equal, report.differences
    assert (report.gateways["gw-01"].removed_runs, report.gateways["gw-01"].signed_gaps) == (1, 0)


def test_partitions_are_made_ahead(connections: Pool) -> None:
    partitions_ahead(connections, NOW_MS + 400 * DAY_MS)
    with transaction(connections) as conn:
        row = conn.execute(
            "SELECT to_regclass('record_2026_12') IS NOT NULL, to_regclass('interval_2027_01') IS NOT NULL"
        )
        assert row.fetchone() == (True, True)


def test_days_that_failed_are_computed_again(connections: Pool) -> None:
    with transaction(connections) as conn:
        add_incident(conn, "gw-01", INTERVALS_FAILED, None, {"day_ms": DAY}, None, NOW_MS)
        add_incident(conn, "gw-01", INTERVALS_FAILED, None, {"day_ms": DAY - DAY_MS}, None, NOW_MS - 9 * DAY_MS)
    retry_failed_days(connections, NOW_MS + 1)
    with transaction(connections) as conn:
        assert dirty_days(conn, "gw-01", DAY - 10 * DAY_MS, DAY + DAY_MS) == [DAY]


def test_a_certificate_that_is_not_renewed_is_told_once(connections: Pool) -> None:
    with transaction(connections) as conn:
        for gateway, serial, days in (("gw-01", "01", 5), ("gw-02", "02", 5), ("gw-02", "03", 80), ("gw-03", "04", 80)):
            expires_ms = NOW_MS + days * DAY_MS
            add_certificate(conn, IssuedCertificate(serial, gateway, b"", NOW_MS, expires_ms, None))
    watch_certificates(connections, NOW_MS)
    watch_certificates(connections, NOW_MS + 3_600_000)
    with transaction(connections) as conn:
        told = [(one.gateway, one.detail["serial"]) for one in list_incidents(conn) if one.kind == CERTIFICATE_EXPIRES]
    assert told == [("gw-01", "01")]


def test_tables_that_differ_become_an_incident(connections: Pool, gateway: Any) -> None:
    records = gateway.make(20)
    with transaction(connections) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    AdmissionTransactions(connections).commit([Message(record_topic(gateway.id), one.data, NOW_MS) for one in records])
    worker = IntervalWorker(connections)
    while worker.compute_next():
        pass
    with transaction(connections) as conn:
        conn.execute("UPDATE interval SET count = count + 1")
    for day in range(1, 8):
        check_tables(connections, DAY + day * DAY_MS)
    with transaction(connections) as conn:
        told = [one.detail["counts"] for one in list_incidents(conn) if one.kind == TABLES_DIFFER]
    assert told == [{"interval": 2}]


def test_the_command_lists_jobs_and_starts_one(
    database_url: str, connections: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "jobs", "--database", database_url, "--run", "partitions-ahead", "--json"]) == 0
    number = json.loads(capsys.readouterr().out)["job"]
    assert main(["ingest", "jobs", "--database", database_url, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == [{"task": "partitions-ahead", "status": "todo", "jobs": 1}]
    assert [job["id"] for job in report["jobs"]] == [number]
    with transaction(connections) as conn:
        conn.execute("SET LOCAL search_path = jobs, public")
        conn.execute("UPDATE jobs.procrastinate_jobs SET status = 'failed'")
        assert job_counts(conn) == {("partitions-ahead", "failed"): 1}
    assert main(["ingest", "jobs", "--database", database_url]) == 1
    assert "partitions-ahead: 1 failed" in capsys.readouterr().out


def test_further_tasks_run_beside_those_of_ingestion(database_url: str, connections: Pool) -> None:
    ran: list[int] = []
    further = {"count-sheep": ("1 2 * * *", lambda _pool, at_ms: ran.append(at_ms))}
    with pytest.raises(UnknownJobError):
        start_job(database_url, "count-sheep")
    assert start_job(database_url, "count-sheep", further) > 0
    worker = JobWorker(database_url, connections, further=further)
    worker.start()
    _wait_for(lambda: _status(connections, "count-sheep") == [("succeeded", 1)], "the job to be done")
    worker.stop()
    assert len(ran) == 1


def test_a_task_that_does_not_exist_is_a_mistake(database_url: str, connections: Pool) -> None:
    with pytest.raises(UnknownJobError, match="partitions-ahead"):
        start_job(database_url, "partition")
    assert connections
