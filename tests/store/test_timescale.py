"""What the community edition would do, asked of servers that do not have it: of the Apache-licensed one, function by
function up to the refusal, which a wrong name or argument would not reach; and of plain PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest

from shopfloor.main import main
from store.database import Connection
from store.errors import NotOfferedError
from store.gateways import add_gateway
from store.intervals import IntervalRow, read_intervals, replace_intervals
from store.job_queue import list_jobs, prepare_job_queue
from store.timescale import (
    ServerPolicies,
    enable_compression,
    read_policies,
    require_community,
    schedule_compression,
    schedule_retention,
    server_offer,
    unschedule_compression,
    unschedule_retention,
)

ON_TIMESCALE = pytest.mark.parametrize(
    "postgres_server", [pytest.param("timescale", marks=pytest.mark.timescale)], indirect=True
)
DAY_MS = 86_400_000
LIMIT = "SELECT current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true)"


def with_timescale(request: pytest.FixtureRequest) -> bool:
    lane: str = request.node.callspec.params["postgres_server"]
    return lane == "timescale"


def test_the_server_says_what_it_offers(conn: Connection, request: pytest.FixtureRequest) -> None:
    offer = server_offer(conn)
    assert (offer.version is not None, offer.licence) == (
        (True, "apache") if with_timescale(request) else (False, None)
    )
    assert not offer.community


@ON_TIMESCALE
@pytest.mark.parametrize(
    "ask",
    [
        enable_compression,
        lambda conn: schedule_compression(conn, 90),
        unschedule_compression,
        lambda conn: schedule_retention(conn, 730),
    ],
    ids=["enable-compression", "schedule-compression", "unschedule-compression", "schedule-retention"],
)
def test_what_is_asked_of_the_server_is_refused_for_its_licence_alone(
    conn: Connection, ask: Callable[[Connection], None]
) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported, match='not supported under the current "apache" license'):
        ask(conn)


@ON_TIMESCALE
def test_where_nothing_is_scheduled_that_is_what_is_read(conn: Connection) -> None:
    unschedule_retention(conn)
    assert read_policies(conn) == ServerPolicies(None, None, 0, 0, 0, 0, ())


def test_a_server_that_does_not_offer_it_is_named_with_what_to_do(
    conn: Connection, request: pytest.FixtureRequest
) -> None:
    has = r"TimescaleDB 2\.[0-9.]+ under the licence 'apache'" if with_timescale(request) else "no TimescaleDB"
    with pytest.raises(NotOfferedError, match=rf"the database server has {has}: .*timescaledb\.license = 'timescale'"):
        require_community(conn)


def test_the_command_changes_nothing_where_it_is_not_offered(
    database_url: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ingest", "timescale"]
    assert main([*command, "apply", "--compress-after-days", "90", "--database", database_url]) == 3
    assert "community edition" in capsys.readouterr().err
    assert main([*command, "show", "--database", database_url, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["community"], shown["policies"] is None) == (False, not with_timescale(request))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing is asked for"),
        (["--compress-after-days", "29"], "29 days are too few"),
        (["--keep-days", "29"], "29 days are too few"),
    ],
)
@pytest.mark.parametrize("postgres_server", ["embedded"], indirect=True)
def test_what_cannot_be_meant_is_said_before_the_server_is_asked(
    database_url: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "timescale", "apply", *arguments, "--database", database_url]) == 2
    assert said in capsys.readouterr().err


def test_the_action_of_the_scheduler_queues_one_removal_that_spares_evidence(conn: Connection) -> None:
    """Called here as the scheduler calls it; `tests/ingest/test_jobs.py` has a worker do what it queues."""
    prepare_job_queue(conn)
    for _ in range(2):
        conn.execute("CALL queue_retention(1000, '{\"keep_days\": 400}')")
    (job,) = list_jobs(conn)
    assert (job.task, job.status, job.arguments["keep_days"]) == ("retention", "todo", 400)


def test_replacing_intervals_may_unpack_whatever_is_compressed_and_only_then(
    conn: Connection, request: pytest.FixtureRequest
) -> None:
    add_gateway(conn, "gw-01", bytes(32))
    rows = [IntervalRow("gw-01/m/p", DAY_MS * 20_000, 1, 2, 1, 2, 3, 2, 1.5, None, 1.0, None)]
    conn.commit()
    before = conn.execute(LIMIT).fetchone()
    replace_intervals(conn, "gw-01", DAY_MS * 20_000, DAY_MS * 20_001, rows)
    during = conn.execute(LIMIT).fetchone()
    conn.commit()
    assert before == conn.execute(LIMIT).fetchone()
    assert (before, during) == ((("100000",), ("0",)) if with_timescale(request) else ((None,), (None,)))
    assert read_intervals(conn, ["gw-01/m/p"], 0, DAY_MS * 30_000)["gw-01/m/p"].mean == [1.5]
