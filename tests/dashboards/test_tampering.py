"""What a person who may write to the database can do to a project, and what the project then has to say.

The gateways' keys are the trust anchor: who replaces a key and signs everything anew is not seen here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from fastapi.testclient import TestClient

from store.database import connect
from store.dirty import mark_dirty
from store.gateways import add_gateway
from store.projects import put_project

PROJECT = "/projects/PL-TEST-001"
BEFORE_THE_PLAN = 1_751_000_000_000
LATER_BASELINE = ("baseline:  {from: 2025-07-01", "baseline:  {from: 2025-07-10")
EARLIER_END = ("to: 2025-09-16}", "to: 2025-09-11}")

# Record 1 is the descriptor, 2 the start, then one a local day: 11 holds 2025-07-09, 70 to 73 hold 2025-09-08 to -11.
HIDDEN = (
    "UPDATE record SET time = '2110-01-01', first_sample = '2110-01-01', last_sample = '2110-01-01'"
    " WHERE seq BETWEEN {} AND {}"
)
INTERVALS = "DELETE FROM interval WHERE time >= '{}' AND time < '{}'"
LAST_DAYS = INTERVALS.format("2025-09-07T15:00Z", "2025-09-10T16:00Z")
FIRST_DAYS = INTERVALS.format("2025-07-09T16:00Z", "2025-07-11T16:00Z")
COPIED = (
    "INSERT INTO interval SELECT series, time + interval '{}', first, last, minimum, maximum, sum, count, mean,"
    " increase, coverage, states FROM interval WHERE time >= '{}' AND time < '{}'"
)
PUT_INTO = "UPDATE record SET data = other.data FROM record AS other WHERE (record.seq, other.seq) IN ({})"


class Stored(Protocol):
    """The filled database of `conftest.py`."""

    database_url: str


@dataclass(frozen=True)
class Attack:
    """Statements that alter the database; ``fault`` is one that the proof must name, "" when none needs to be named,
    None when nothing that was altered counts and the project is proven as before.

    ``plan`` is a replacement in the text of the plan, registered before the attack.
    """

    name: str
    statements: tuple[str, ...]
    fault: str | None
    plan: tuple[str, str] | None = None


ATTACKS = [
    Attack("tail_of_the_records", ("DELETE FROM record WHERE seq >= 75",), "tail-missing"),
    Attack(
        "tail_of_records_and_intervals",
        ("DELETE FROM record WHERE seq >= 75", INTERVALS.format("2025-09-12T15:00Z", "2026-01-01")),
        "tail-missing",
    ),
    Attack(
        "last_days_while_later_records_stay",
        ("DELETE FROM record WHERE seq BETWEEN 70 AND 73", LAST_DAYS),
        "seq-gap",
        EARLIER_END,
    ),
    Attack(
        "first_days_while_earlier_records_stay",
        ("DELETE FROM record WHERE seq BETWEEN 11 AND 13", FIRST_DAYS),
        "seq-gap",
        LATER_BASELINE,
    ),
    Attack(
        "first_days_and_all_before",
        ("DELETE FROM record WHERE seq BETWEEN 2 AND 13", FIRST_DAYS),
        "seq-gap",
        LATER_BASELINE,
    ),
    Attack(
        "middle_days",
        ("DELETE FROM record WHERE seq BETWEEN 50 AND 52", INTERVALS.format("2025-08-17T15:00Z", "2025-08-20T16:00Z")),
        "seq-gap",
    ),
    Attack("all_records", ("DELETE FROM record",), "recomputation-differs"),
    Attack("all_records_and_intervals", ("DELETE FROM record", "DELETE FROM interval"), ""),
    Attack(
        "sample_columns_that_hide_the_last_days",
        (HIDDEN.format(70, 73), LAST_DAYS),
        "recomputation-differs",
        EARLIER_END,
    ),
    Attack(
        "sample_columns_that_hide_the_first_days",
        (HIDDEN.format(11, 13), FIRST_DAYS),
        "recomputation-differs",
        LATER_BASELINE,
    ),
    Attack("sample_columns_that_hide_a_day", (HIDDEN.format(50, 50),), None),
    Attack(
        "numbers_of_the_last_days",
        ("UPDATE record SET seq = seq + 1000000 WHERE seq BETWEEN 70 AND 73", LAST_DAYS),
        "seq-mismatch",
        EARLIER_END,
    ),
    Attack("number_of_the_last_record", ("UPDATE record SET seq = 78 WHERE seq = 77",), "seq-mismatch"),
    Attack("two_records_exchanged", (PUT_INTO.format("(30, 31), (31, 30)"),), "seq-mismatch"),
    Attack("a_record_in_the_place_of_another", (PUT_INTO.format("(41, 40)"),), "seq-mismatch"),
    Attack(
        "a_record_kept_twice",
        (
            "INSERT INTO record SELECT gateway, seq, time + interval '1 s', first_sample, last_sample, kind, hash,"
            " descriptor_hash, samples, data, received FROM record WHERE seq = 40",
        ),
        "duplicate-seq",
    ),
    Attack(
        "the_earlier_descriptor_removed",
        ("DELETE FROM record WHERE seq = 1",),
        "descriptor-missing",
        LATER_BASELINE,
    ),
    Attack(
        "the_earlier_descriptor_and_all_intervals_removed",
        ("DELETE FROM record WHERE seq = 1", "DELETE FROM interval"),
        "descriptor-missing",
        LATER_BASELINE,
    ),
    Attack(
        "the_earlier_descriptor_replaced_by_another_record",
        (PUT_INTO.format("(1, 2)"),),
        "descriptor-missing",
        LATER_BASELINE,
    ),
    Attack(
        "descriptor_columns",
        ("UPDATE record SET descriptor_hash = decode(repeat('11', 32), 'hex')",),
        None,
        LATER_BASELINE,
    ),
    Attack("hash_columns", ("UPDATE record SET hash = decode(repeat('33', 32), 'hex') WHERE seq > 1",), None),
    Attack(
        "an_interval",
        ("UPDATE interval SET increase = increase * 0.9 WHERE time = '2025-09-01' AND increase > 0",),
        "recomputation-differs",
    ),
    Attack(
        "coverage",
        ("UPDATE interval SET coverage = 0.5 WHERE time BETWEEN '2025-09-01' AND '2025-09-02'",),
        "recomputation-differs",
    ),
    Attack("intervals_removed", (INTERVALS.format("2025-09-01", "2025-09-02"),), "recomputation-differs"),
    Attack(
        "intervals_without_records",
        (COPIED.format("12 days", "2025-07-01T00:00Z", "2025-07-01T12:00Z"),),
        "recomputation-differs",
    ),
    Attack(
        "intervals_off_the_grid",
        (COPIED.format("1 ms", "2025-09-01T00:00Z", "2025-09-01T00:15Z"),),
        "recomputation-differs",
    ),
    Attack(
        "an_infinite_interval",
        ("UPDATE interval SET increase = 'Infinity' WHERE time = '2025-09-01' AND increase > 0",),
        "recomputation-differs",
    ),
    Attack(
        "states_without_number",
        ("""UPDATE interval SET states = '{"running": 5}' WHERE time = '2025-09-01'""",),
        "recomputation-differs",
    ),
    Attack(
        "hash_of_the_chain_head", ("UPDATE chain_head SET hash = decode(repeat('22', 32), 'hex')",), "head-mismatch"
    ),
    Attack("number_of_the_chain_head", ("UPDATE chain_head SET seq = seq + 5",), "tail-missing"),
    Attack("the_gateway_removed", ("DELETE FROM chain_head", "DELETE FROM gateway"), "recomputation-differs"),
    Attack(
        "the_gateway_removed_with_all_that_is_its",
        ("DELETE FROM chain_head", "DELETE FROM gateway", "DELETE FROM record", "DELETE FROM interval"),
        "",
    ),
    Attack("the_key_of_the_gateway", ("UPDATE gateway SET public_key = decode(repeat('44', 32), 'hex')",), "wrong-key"),
]


def evidence(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"{PROJECT}/evidence.json")
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def register(factory: Stored, text: str) -> None:
    with connect(factory.database_url) as connection:
        put_project(connection, "PL-TEST-001", text, hashlib.sha256(text.encode()).digest(), BEFORE_THE_PLAN)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_altered_data_are_not_proven(client: TestClient, factory: Stored, plan_text: str, attack: Attack) -> None:
    if attack.plan is not None:
        assert plan_text.count(attack.plan[0]) == 1
        register(factory, plan_text.replace(*attack.plan))
    before = evidence(client)
    assert before["proof"]["proven"] is True, before["proof"]["faults"]
    with connect(factory.database_url) as connection:
        for statement in attack.statements:
            changed = connection.execute(statement)
            assert changed.rowcount > 0, statement
    after = evidence(client)
    faults = {fault["fault"] for fault in after["proof"]["faults"]}
    if attack.fault is None:
        assert after["proof"]["proven"] is True, after["proof"]["faults"]
        assert after["evaluation"] == before["evaluation"]
        return
    assert after["proof"]["proven"] is False
    assert not attack.fault or attack.fault in faults, faults
    for address in ("/", PROJECT):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        assert 'class="badge met"' not in answer.text


def test_a_gateway_without_any_data_leaves_the_project_unproven(
    client: TestClient, factory: Stored, plan_text: str
) -> None:
    register(factory, plan_text.replace("from: [gw-01/plc-1/good_count]", "from: [gw-02/plc-1/good_count]"))
    assert evidence(client)["proof"]["proven"] is False
    with connect(factory.database_url) as connection:
        add_gateway(connection, "gw-02", bytes(range(32)), "")
    proof = evidence(client)["proof"]
    assert (proof["proven"], proof["signature"], proof["chain"]) == (False, "not_checked", "not_checked")
    assert "gw-02" in proof["reasons"]["signature"]["en"]


def test_days_that_are_still_to_be_computed_are_no_fault(client: TestClient, factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE interval SET increase = increase + 1 WHERE time = '2025-09-02T12:00Z'")
        mark_dirty(connection, "gw-01", [1_756_771_200_000])
    proof = evidence(client)["proof"]
    assert (proof["recomputation"], proof["proven"], proof["faults"]) == ("not_checked", False, [])
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE interval SET increase = increase + 1 WHERE time = '2025-09-03T12:00Z'")
    proof = evidence(client)["proof"]
    assert (proof["recomputation"], proof["proven"]) == ("fail", False)
    assert "2025-09-03T12:00:00Z" in proof["faults"][0]["en"]


def test_a_unit_that_is_not_the_plan_s_is_named(client: TestClient, factory: Stored, plan_text: str) -> None:
    register(factory, plan_text.replace("active_energy_import, unit: kWh", "active_energy_import, unit: MWh"))
    proof = evidence(client)["proof"]
    assert proof["proven"] is False
    [fault] = proof["faults"]
    assert fault["fault"] == "unit-differs"
    assert "kWh" in fault["en"]
    assert "MWh" in fault["en"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE project_plan SET plan = replace(plan, 'change: -0.08', 'change: -0.01') WHERE revision = 1",
        "DELETE FROM project_plan WHERE revision = 1",
    ],
    ids=["text_of_an_earlier_plan", "an_earlier_plan_removed"],
)
def test_altered_earlier_plans_are_refused(client: TestClient, factory: Stored, plan_text: str, statement: str) -> None:
    register(factory, plan_text.replace("change: -0.08", "change: -0.05"))
    assert evidence(client)["plan"]["revision"] == 2
    with connect(factory.database_url) as connection:
        connection.execute(statement)
    answer = client.get(PROJECT)
    assert answer.status_code == 422
    assert "in the database" in answer.text
