from __future__ import annotations

from store.database import Connection
from store.results import ProjectResult, confirm_result, project_results, put_problem, put_result, result_inputs

INPUTS = bytes(range(32))


def test_a_failure_keeps_the_document_before(conn: Connection) -> None:
    assert result_inputs(conn, "P-1") is None
    put_problem(conn, "P-1", "no data", 1_000)
    assert project_results(conn) == {"P-1": ProjectResult("P-1", None, None, None, "no data", 1_000)}
    put_result(conn, "P-1", INPUTS, "{}\n", 2_000)
    assert project_results(conn) == {"P-1": ProjectResult("P-1", INPUTS, "{}\n", 2_000, None, 2_000)}
    put_problem(conn, "P-1", "the plan was altered", 3_000)
    assert project_results(conn)["P-1"] == ProjectResult("P-1", INPUTS, "{}\n", 2_000, "the plan was altered", 3_000)
    assert result_inputs(conn, "P-1") == INPUTS


def test_what_has_not_changed_is_only_confirmed(conn: Connection) -> None:
    put_result(conn, "P-1", INPUTS, "{}\n", 2_000)
    put_problem(conn, "P-1", "the plan was altered", 3_000)
    confirm_result(conn, "P-1", 4_000)
    assert project_results(conn)["P-1"] == ProjectResult("P-1", INPUTS, "{}\n", 2_000, None, 4_000)
