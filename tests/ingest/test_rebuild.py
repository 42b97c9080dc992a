"""Tables that differ from the records are found, each kind of difference by name, and set right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ingest.authentication import Message
from ingest.clock_window import DAY_MS
from ingest.errors import RebuildError
from ingest.rebuild import check, rebuild
from ingest.transaction import AdmissionTransactions
from ingest.worker import IntervalWorker
from shopfloor.main import main
from store.clocks import read_clocks
from store.database import Connection, Pool, pool, transaction
from store.gateways import add_gateway
from store.intervals import read_gateway_intervals
from store.latest import read_latest
from store.records import read_head
from wire.event import Event, Gap
from wire.topics import record_topic

START_MS = 1_760_000_000_000
"""Where the records of `tests/ingest/conftest.py` begin: 2025-10-09T08:53:20Z."""

DAY = START_MS // DAY_MS * DAY_MS


@pytest.fixture
def connections(database_url: str) -> Iterator[Pool]:
    """A pool on a fresh database."""
    with pool(database_url, 4) as opened:
        yield opened


@pytest.fixture
def filled(connections: Pool, new_gateway: Callable[[str], Any]) -> Pool:
    """Two gateways of 120 records, admitted and computed."""
    for name in ("gw-01", "gw-02"):
        gateway = new_gateway(name)
        _admit(connections, gateway, gateway.make(120))
    _compute(connections)
    return connections


def _admit(connections: Pool, gateway: Any, records: list[Any]) -> None:
    with transaction(connections) as conn:
        add_gateway(conn, gateway.id, gateway.key.public.raw)
    transactions = AdmissionTransactions(connections)
    messages = [Message(record_topic(gateway.id), record.data, START_MS) for record in records]
    for start in range(0, len(messages), 50):
        transactions.commit(messages[start : start + 50])


def _compute(connections: Pool) -> None:
    worker = IntervalWorker(connections)
    while worker.compute_next():
        pass


def test_tables_that_ingestion_made_equal_the_records(filled: Pool) -> None:
    report = check(filled)
    assert report.equal, report.differences
    assert report.pending_days == 0
    assert {name: (one.records, one.samples, one.head_seq) for name, one in report.gateways.items()} == {
        "gw-01": (120, 118 * 20, 120),
        "gw-02": (120, 118 * 20, 120),
    }


@dataclass(frozen=True)
class Planted:
    """One thing changed behind the back of ingestion, and how a check names it."""

    name: str
    statement: str
    kind: str
    series: str | None = None
    repaired: bool = True


_METER = "gw-01/meter-1"
PLANTED = [
    Planted("a mean", "UPDATE interval SET mean = mean + 0.001 WHERE series = POWER", "interval", "power"),
    Planted("a coverage", "UPDATE interval SET coverage = 1 WHERE series = POWER", "interval", "power"),
    Planted("a missing interval", "DELETE FROM interval WHERE series = POWER", "interval", "power"),
    Planted(
        "an invented interval",
        "INSERT INTO interval (series, time, count, coverage) VALUES (POWER, '2025-10-01 00:00:00+00', 3, 1)",
        "interval",
        "power",
    ),
    Planted("a latest value", "UPDATE latest SET value = 1 WHERE series = POWER", "latest", "power"),
    Planted(
        "an old latest value",
        "UPDATE latest SET time = time - interval '1 h' WHERE series = POWER",
        "latest",
        "power",
    ),
    Planted("a missing latest value", "DELETE FROM latest WHERE series = POWER", "latest", "power"),
    Planted(
        "an invented series",
        "INSERT INTO series (name, gateway) VALUES ('gw-01/meter-1/invented', 'gw-01')",
        "series",
        "invented",
    ),
    Planted("a series of another gateway", "UPDATE series SET gateway = 'gw-02' WHERE id = POWER", "series", "power"),
    Planted("a head that is behind", "UPDATE chain_head SET seq = 7 WHERE gateway = 'gw-01'", "chain-head"),
    Planted(
        "a head of another record", "UPDATE chain_head SET hash = sha256('x') WHERE gateway = 'gw-01'", "chain-head"
    ),
    Planted("a span too short", "UPDATE record_span SET longest_ms = 1 WHERE gateway = 'gw-01'", "record-span"),
    Planted("no span", "DELETE FROM record_span WHERE gateway = 'gw-01'", "record-span"),
    Planted("a clock", "UPDATE gateway_clock SET offset_us = 5 WHERE gateway = 'gw-01'", "clock"),
    Planted("an arrival", "UPDATE arrival_day SET received_ms = closed_ms WHERE gateway = 'gw-01'", "arrivals"),
    Planted(
        "arrivals of an invented day",
        "INSERT INTO arrival_day VALUES ('gw-01', '2025-10-01 00:00:00+00', 7, 7, 1, ARRAY[7], ARRAY[0], ARRAY[0])",
        "arrivals",
    ),
    Planted("a clock of an older record", "UPDATE gateway_clock SET seq = 119 WHERE gateway = 'gw-01'", "clock"),
    Planted(
        "a count of samples",
        "UPDATE record SET samples = samples + 1 WHERE gateway = 'gw-01' AND seq = 5",
        "record-columns",
    ),
    Planted(
        "a time of samples",
        "UPDATE record SET first_sample = first_sample - interval '1 d' WHERE gateway = 'gw-01' AND seq = 5",
        "record-columns",
    ),
    Planted(
        "a closing time",
        "UPDATE record SET time = time + interval '1 s' WHERE gateway = 'gw-01' AND seq = 5",
        "record-columns",
    ),
    Planted("a hash", "UPDATE record SET hash = sha256('x') WHERE gateway = 'gw-01' AND seq = 5", "record-columns"),
    Planted(
        "a successor key",
        "INSERT INTO gateway_key (gateway, first_seq, public_key) VALUES ('gw-01', 100, sha256('x'))",
        "gateway-key",
    ),
    Planted(
        "a changed byte",
        "UPDATE record SET data = set_byte(data, 120, get_byte(data, 120) # 1) WHERE gateway = 'gw-01' AND seq = 60",
        "bad-signature",
        repaired=False,
    ),
    Planted("a missing record", "DELETE FROM record WHERE gateway = 'gw-01' AND seq = 60", "seq-gap", repaired=False),
    Planted(
        "two records changed places",
        "UPDATE record SET seq = CASE seq WHEN 60 THEN 61 ELSE 60 END WHERE gateway = 'gw-01' AND seq IN (60, 61)",
        "seq-mismatch",
        repaired=False,
    ),
    Planted(
        "records of nobody",
        "INSERT INTO record SELECT 'gw-99', seq, time, first_sample, last_sample, kind, hash, descriptor_hash, samples,"
        " data, received FROM record WHERE gateway = 'gw-02'",
        "unknown-gateway",
        repaired=False,
    ),
]


def test_a_clock_that_is_not_known_yet_is_no_difference_and_a_rebuild_learns_it(filled: Pool) -> None:
    """The records of an older version were stored before their clocks were kept."""
    with transaction(filled) as conn:
        before = read_clocks(conn)
        conn.execute("DELETE FROM gateway_clock")
    assert check(filled).equal
    rebuild(filled)
    with transaction(filled) as conn:
        assert read_clocks(conn) == before
        assert before["gw-01"].seq == 120


def _plant(conn: Connection, statement: str) -> None:
    """Do as somebody with access to the database would, whom constraints do not stop."""
    conn.execute("SET LOCAL session_replication_role = replica")
    conn.execute(statement.replace("POWER", "(SELECT id FROM series WHERE name = 'gw-01/meter-1/power')"))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_difference_is_found_by_its_kind_and_set_right(filled: Pool, planted: Planted) -> None:
    with transaction(filled) as conn:
        _plant(conn, planted.statement)
    found = check(filled)
    assert not found.equal
    assert planted.kind in found.counts
    named = [one for one in found.differences if one.kind == planted.kind]
    if planted.series is not None:
        assert f"{_METER}/{planted.series}" in {one.series for one in named}
    if planted.kind != "series":
        assert {one.gateway for one in found.differences} <= {"gw-01", "gw-99"}
    if planted.kind == "interval":
        assert {one.day for one in named} <= {"2025-10-01", "2025-10-09"}

    assert rebuild(filled).equal == planted.repaired
    afterwards = check(filled)
    assert afterwards.equal == planted.repaired, afterwards.differences


def test_intervals_of_a_series_that_is_not_listed_are_found_and_removed(filled: Pool) -> None:
    with transaction(filled) as conn:
        conn.execute("INSERT INTO interval (series, time, count, coverage) VALUES (4711, '2025-10-09', 1, 1)")
    assert check(filled).counts == {"stray-intervals": 1}
    assert rebuild(filled).equal
    assert check(filled).equal


def test_a_check_changes_nothing(filled: Pool) -> None:
    with transaction(filled) as conn:
        _plant(conn, "UPDATE interval SET mean = 5 WHERE series = POWER")
        conn.execute("UPDATE chain_head SET seq = 7 WHERE gateway = 'gw-01'")
    first, second = check(filled), check(filled)
    assert first.to_json() == second.to_json()
    with transaction(filled) as conn:
        assert read_head(conn, "gw-01").seq == 7


def test_a_range_and_a_gateway_limit_the_work(filled: Pool) -> None:
    with transaction(filled) as conn:
        conn.execute("UPDATE interval SET count = count + 1")
    assert check(filled, ["gw-02"], DAY, DAY + 1).gateways.keys() == {"gw-02"}
    assert {one.gateway for one in check(filled, ["gw-02"], DAY, DAY + 1).differences} == {"gw-02"}
    assert check(filled, None, DAY - 9 * DAY_MS, DAY - 8 * DAY_MS).equal
    rebuild(filled, ["gw-02"], DAY, DAY + 1)
    assert {one.gateway for one in check(filled).differences} == {"gw-01"}


def test_days_that_wait_are_counted_and_not_compared(connections: Pool, gateway: Any) -> None:
    _admit(connections, gateway, gateway.make(20))
    report = check(connections)
    assert report.equal
    assert report.pending_days == 1
    rebuild(connections)
    assert check(connections).pending_days == 0


def test_a_signed_gap_explains_what_is_missing(connections: Pool, gateway: Any) -> None:
    records = gateway.make(30)
    before, last = records[9], records[19]
    gap = Gap(11, 20, before.hash, last.hash, 200, "spool-full")
    records.append(gateway.chain.append(gap.to_event(), time_ms=gateway.time_ms))
    _admit(connections, gateway, records[:10] + records[20:])
    _compute(connections)
    report = check(connections)
    assert report.equal, report.differences
    assert (report.gateways["gw-01"].signed_gaps, report.gateways["gw-01"].head_seq) == (1, 31)


def test_a_descriptor_that_comes_late_leaves_nothing_behind(connections: Pool, gateway: Any) -> None:
    records = gateway.make(30)
    _admit(connections, gateway, records[1:])
    _admit(connections, gateway, records[:1])
    assert check(connections).equal, "what waits to be counted is pending"
    _compute(connections)
    report = check(connections)
    assert report.equal, report.differences
    assert report.gateways["gw-01"].samples == 28 * 20


def test_the_latest_value_is_of_the_newest_record_that_reads_the_series(connections: Pool, gateway: Any) -> None:
    records = gateway.make(10)
    records.append(gateway.chain.append(Event("stop", {}), time_ms=gateway.time_ms))
    _admit(connections, gateway, records)
    with transaction(connections) as conn:
        newest = {one.series: one.time_ms for one in read_latest(conn)}
    assert newest == dict.fromkeys(newest, START_MS + 8 * 10_000 - 1_000)
    assert len(newest) == 2


def test_a_rebuild_makes_everything_from_the_records_alone(filled: Pool) -> None:
    with transaction(filled) as conn:
        before = read_gateway_intervals(conn, "gw-01", DAY, DAY + DAY_MS)
        for table in ("interval", "latest", "record_span", "dirty_mark"):
            conn.execute(f"DELETE FROM {table}")  # noqa: S608 - names from this test
        conn.execute("DELETE FROM series")
        conn.execute("UPDATE chain_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')")
    rebuild(filled)
    assert check(filled).equal
    with transaction(filled) as conn:
        assert read_gateway_intervals(conn, "gw-01", DAY, DAY + DAY_MS) == before


def test_a_gateway_that_is_not_enrolled_is_a_mistake(filled: Pool) -> None:
    with pytest.raises(RebuildError, match="gw-77"):
        check(filled, ["gw-77"])
    with pytest.raises(RebuildError, match="empty"):
        check(filled, None, DAY + 5 * DAY_MS, DAY)


def test_the_command_names_gateway_day_and_series(
    filled: Pool, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rebuild", "--check", "--database", database_url]) == 0
    assert "tables and records are equal" in capsys.readouterr().out
    with transaction(filled) as conn:
        _plant(conn, "UPDATE interval SET mean = mean + 0.001 WHERE series = POWER")
    assert main(["rebuild", "--check", "--database", database_url, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["equal"], report["unrepaired"], report["counts"]) == (False, 1, {"interval": 1})
    (difference,) = report["differences"]
    assert (difference["gateway"], difference["day"], difference["series"], difference["repaired"]) == (
        "gw-01",
        "2025-10-09",
        f"{_METER}/power",
        False,
    )
    # A day of Shanghai touches two UTC days, and both are computed.
    arguments = ["--gateway", "gw-01", "--from", "2025-10-09", "--to", "2025-10-10"]
    assert main(["rebuild", *arguments, "--database", database_url]) == 0
    assert "1 days computed" in capsys.readouterr().out
    assert main(["rebuild", "--check", "--database", database_url]) == 0


@pytest.mark.parametrize(
    "arguments", [["--gateway", "gw-77"], ["--from", "2025-10-10", "--to", "2025-10-01"]], ids=["gateway", "range"]
)
def test_a_mistake_of_the_command_line_has_exit_code_2(
    filled: Pool, database_url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rebuild", "--check", *arguments, "--database", database_url]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not filled.closed
