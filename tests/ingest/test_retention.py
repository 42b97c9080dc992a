"""Records go when their time is over, but none that a plan rests on, and what is left proves as much as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.clock_window import DAY_MS
from ingest.errors import RetentionError
from ingest.rebuild import check
from ingest.retention import GUARD_MS, apply_retention, plan_retention
from ingest.transaction import AdmissionTransactions
from ingest.worker import DAY_CLOSED, IntervalWorker
from shopfloor.main import main
from store.database import Pool, pool, transaction
from store.gateways import add_gateway
from store.incidents import list_incidents
from store.intervals import read_gateway_intervals
from store.projects import put_project
from store.records import read_records
from store.retention import removed_runs
from wire.record import Kind, Record
from wire.topics import record_topic

START_MS = 1_760_000_000_000
DAYS = 130
END_MS = START_MS + DAYS * DAY_MS
KEEP_DAYS = 40
PLAN = """\
plan: 1
project: P-1
enterprise: E
boundary: B
timezone: UTC
baseline:  {from: 2025-10-20, to: 2025-10-30}
reporting: {from: 2025-11-03, to: 2025-11-13}
series:
  energy: {quantity: active_energy_import, unit: kWh, from: [gw-02/meter-1/energy]}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, model: linear, confidence: 0.90, target: {saving: 0.08}}
"""
PLAN_FROM_MS, PLAN_TO_MS = 1_760_918_400_000, 1_762_992_000_000


def make_history(gateway: Any) -> list[Record]:
    """Two records a day, behind a descriptor and an event."""
    made = gateway.make(2)
    for day in range(DAYS):
        gateway.time_ms = START_MS + day * DAY_MS
        made += gateway.make(2)
    return made


@pytest.fixture
def filled(database_url: str, new_gateway: Any) -> Iterator[tuple[Pool, dict[str, list[Record]]]]:
    """The history of two gateways with its intervals; a plan rests on the second."""
    histories = {}
    with pool(database_url, 3) as connections:
        worker = IntervalWorker(connections)
        for id_ in ("gw-01", "gw-02"):
            gateway = new_gateway(id_)
            with transaction(connections) as conn:
                add_gateway(conn, id_, gateway.key.public.raw)
            histories[id_] = make_history(gateway)
            messages = [Message(record_topic(id_), one.data, END_MS) for one in histories[id_]]
            AdmissionTransactions(connections).commit(messages)
        while worker.compute_next():
            pass
        with transaction(connections) as conn:
            put_project(conn, "P-1", PLAN, bytes(32), START_MS)
        yield connections, histories


def stored_seqs(connections: Pool, gateway: str) -> list[int]:
    with transaction(connections) as conn:
        return [one.seq for one in read_records(conn, gateway)]


def test_what_is_old_goes_and_what_a_plan_rests_on_stays(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, histories = filled
    with transaction(connections) as conn:
        intervals = {id_: read_gateway_intervals(conn, id_, START_MS - DAY_MS, END_MS) for id_ in histories}
        planned = plan_retention(conn, KEEP_DAYS, END_MS)
    applied = apply_retention(connections, KEEP_DAYS, END_MS)
    assert [one.removal for one in applied.gateways] == [one.removal for one in planned.gateways]

    first_kept_ms = (END_MS - KEEP_DAYS * DAY_MS) // DAY_MS * DAY_MS
    old = [one for one in histories["gw-01"] if one.payload.frames and one.payload.time_ms < first_kept_ms - DAY_MS]
    assert set(stored_seqs(connections, "gw-01")).isdisjoint(one.seq for one in old)
    assert applied.gateways[0].removal.records >= len(old) > 150
    kept = stored_seqs(connections, "gw-02")
    needed = [
        one.seq for one in histories["gw-02"] if PLAN_FROM_MS - GUARD_MS <= one.payload.time_ms < PLAN_TO_MS + GUARD_MS
    ]
    assert set(range(needed[0] - 1, needed[-1] + 2)) <= set(kept), "the one on either side as well"
    assert applied.gateways[1].projects == ("P-1",)
    assert 0 < applied.gateways[1].removal.records < applied.gateways[0].removal.records
    for id_, made in histories.items():
        always = {one.seq for one in made if one.payload.kind in (Kind.DESCRIPTOR, Kind.EVENT)}
        assert always <= set(stored_seqs(connections, id_))
    with transaction(connections) as conn:
        after = {id_: read_gateway_intervals(conn, id_, START_MS - DAY_MS, END_MS) for id_ in histories}
    assert after == intervals, "intervals stay"


def test_what_is_left_still_verifies_and_equals_its_tables(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, _ = filled
    apply_retention(connections, KEEP_DAYS, END_MS)
    assert check(connections).differences == []
    with transaction(connections) as conn:
        conn.execute("DELETE FROM record WHERE gateway = 'gw-02' AND seq = 50")
    assert "gw-02" in {one.gateway for one in check(connections).differences}


def test_a_second_run_finds_nothing(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, _ = filled
    apply_retention(connections, KEEP_DAYS, END_MS)
    with transaction(connections) as conn:
        runs = removed_runs(conn)
    again = apply_retention(connections, KEEP_DAYS, END_MS)
    assert [one.removal.records for one in again.gateways] == [0, 0]
    with transaction(connections) as conn:
        assert removed_runs(conn) == runs


def test_a_day_that_lost_records_is_not_computed_again(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, histories = filled
    apply_retention(connections, KEEP_DAYS, END_MS)
    with transaction(connections) as conn:
        before = read_gateway_intervals(conn, "gw-01", START_MS - DAY_MS, END_MS)
    late = [one for one in histories["gw-01"] if one.payload.frames][:1]
    AdmissionTransactions(connections).commit([Message(record_topic("gw-01"), one.data, END_MS) for one in late])
    worker = IntervalWorker(connections)
    while worker.compute_next():
        pass
    with transaction(connections) as conn:
        assert read_gateway_intervals(conn, "gw-01", START_MS - DAY_MS, END_MS) == before
        assert {one.kind for one in list_incidents(conn, "gw-01")} == {DAY_CLOSED}


def test_days_that_wait_for_intervals_hold_everything_back(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, _ = filled
    with transaction(connections) as conn:
        conn.execute(
            "INSERT INTO dirty_mark (gateway, day) VALUES ('gw-01', to_timestamp(%s))", (START_MS // DAY_MS * 86_400,)
        )
    applied = apply_retention(connections, KEEP_DAYS, END_MS)
    assert [one.waits for one in applied.gateways] == [True, False]
    with transaction(connections) as conn:
        assert removed_runs(conn, "gw-01") == []


def test_a_plan_that_cannot_be_read_stops_everything(filled: tuple[Pool, dict[str, list[Record]]]) -> None:
    connections, _ = filled
    with transaction(connections) as conn:
        put_project(conn, "P-2", "plan: 99", bytes(range(32)), START_MS)
    with pytest.raises(RetentionError, match="revision 1 of project P-2"):
        apply_retention(connections, KEEP_DAYS, END_MS)
    with transaction(connections) as conn:
        assert removed_runs(conn) == []


@pytest.mark.usefixtures("filled")
def test_the_command_plans_and_keeps_an_account(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, Any]:
        code = main(["ingest", "retention", *arguments, "--database", database_url, "--json"])
        return code, json.loads(capsys.readouterr().out or "null")

    code, planned = run("plan", "--keep-days", "60")
    assert code == 0
    assert planned["gateways"]["gw-02"]["projects"] == ["P-1"]
    assert run("apply", "--keep-days", "60", "--dry-run")[1] == planned
    assert run("log")[1] == {"removed": []}
    assert run("apply", "--keep-days", "60")[1] == planned
    account = run("log", "--gateway", "gw-01")[1]["removed"]
    records = sum(one["last_seq"] - one["first_seq"] + 1 for one in account)
    assert records == planned["gateways"]["gw-01"]["records"] > 0
    assert run("apply", "--keep-days", "5")[0] == 2
