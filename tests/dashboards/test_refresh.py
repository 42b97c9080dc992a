"""The nightly refresh: what has changed is computed again, what fails is said and stops nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboards import project_list
from dashboards.dossier import load_dossier
from dashboards.errors import UnknownProjectError
from dashboards.refresh import RefreshReport, nightly_refresh, refresh_project, refresh_results
from shopfloor.main import main
from store.database import connect, pool
from store.projects import put_project
from store.results import ProjectResult, project_results
from tests.dashboards.conftest import PROJECT, Factory

SECOND, BROKEN = "PL-TEST-002", "PL-TEST-000"


def register(factory: Factory, project: str, text: str) -> None:
    with connect(factory.database_url) as connection:
        put_project(connection, project, text, hashlib.sha256(text.encode()).digest(), 0)


def results(factory: Factory) -> dict[str, ProjectResult]:
    with connect(factory.database_url) as connection:
        return project_results(connection)


def states(report: RefreshReport) -> dict[str, str]:
    return {one.project: one.state for one in report.projects}


def document(factory: Factory, project: str = PROJECT) -> dict[str, Any]:
    text = results(factory)[project].document
    assert text is not None
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_a_result_is_the_one_of_the_project_page_and_claims_no_proof(factory: Factory) -> None:
    assert states(refresh_results(factory.database_url)) == {PROJECT: "refreshed"}
    kept = document(factory)
    with connect(factory.database_url) as connection:
        shown = load_dossier(connection, PROJECT).to_json()
    assert kept["evaluation"] == json.loads(json.dumps(shown["evaluation"]))
    assert kept["plan"] == shown["plan"]
    assert shown["proof"]["proven"]
    assert not kept["proof"]["proven"]
    assert {kept["proof"][check] for check in ("signature", "chain", "recomputation")} == {"not_checked"}


def test_only_what_has_changed_is_computed_again(factory: Factory, plan_text: str) -> None:
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND))
    assert states(refresh_results(factory.database_url, processes=2)) == {PROJECT: "refreshed", SECOND: "refreshed"}
    before = results(factory)
    assert states(refresh_results(factory.database_url)) == {PROJECT: "unchanged", SECOND: "unchanged"}
    after = results(factory)
    assert {name: one.computed_ms for name, one in after.items()} == {
        name: one.computed_ms for name, one in before.items()
    }
    assert all(after[name].tried_ms > before[name].tried_ms for name in before)
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND).replace("-0.08", "-0.07"))
    assert states(refresh_results(factory.database_url)) == {PROJECT: "unchanged", SECOND: "refreshed"}
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE interval SET increase = increase * 0.9 WHERE time = '2025-09-01T00:00:00Z'")
    assert states(refresh_results(factory.database_url)) == {PROJECT: "refreshed", SECOND: "refreshed"}


def test_the_same_inputs_give_the_same_document(factory: Factory) -> None:
    refresh_results(factory.database_url)
    first = results(factory)[PROJECT]
    with connect(factory.database_url) as connection:
        connection.execute("DELETE FROM project_result")
    refresh_results(factory.database_url)
    second = results(factory)[PROJECT]
    assert (first.document, first.inputs) == (second.document, second.inputs)


def test_a_project_that_fails_stops_no_other_and_keeps_what_it_had(factory: Factory, plan_text: str) -> None:
    register(factory, BROKEN, plan_text.replace(PROJECT, BROKEN))
    refresh_results(factory.database_url)
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE project_plan SET plan = plan || '#' WHERE project = %s", (BROKEN,))
        connection.execute("UPDATE interval SET increase = increase * 0.9 WHERE time = '2025-09-01T00:00:00Z'")
    report = refresh_results(factory.database_url)
    assert states(report) == {BROKEN: "failed", PROJECT: "refreshed"}
    assert "altered" in str(report.failed[0].problem)
    kept = results(factory)[BROKEN]
    assert kept.problem == report.failed[0].problem
    assert kept.document is not None
    assert kept.computed_ms is not None
    assert kept.computed_ms < kept.tried_ms


def _end_the_process(name: str) -> Any:
    if name == BROKEN:
        os.kill(os.getpid(), signal.SIGKILL)
    from dashboards import refresh  # noqa: PLC0415 - this runs in the process that computes

    assert refresh._connections is not None
    return refresh_project(refresh._connections, name)


def test_a_process_that_dies_takes_only_its_own_project_with_it(
    factory: Factory, plan_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(factory, BROKEN, plan_text.replace(PROJECT, BROKEN))
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND))
    monkeypatch.setattr("dashboards.refresh._refresh", _end_the_process)
    report = refresh_results(factory.database_url, processes=2)
    assert states(report) == {BROKEN: "failed", PROJECT: "refreshed", SECOND: "refreshed"}
    assert "memory" in str(results(factory)[BROKEN].problem)


def test_an_unknown_project_is_named(factory: Factory) -> None:
    with pytest.raises(UnknownProjectError, match="NONE"):
        refresh_results(factory.database_url, ["NONE"])


def test_the_nightly_job_ends_when_its_service_does(factory: Factory, plan_text: str) -> None:
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND))
    with pool(factory.database_url, 2) as connections:
        nightly_refresh(connections, 0)
    assert set(results(factory)) == {PROJECT, SECOND}
    report = refresh_results(factory.database_url, processes=1, stopping=lambda: True)
    assert len(report.projects) == 1


def test_the_command_reports_and_its_exit_code_tells(factory: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evidence", "refresh", "--database", factory.database_url]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refreshed"] == 1
    assert main(command) == 0
    assert capsys.readouterr().out == "0 refreshed, 1 unchanged, 0 failed\n"
    register(factory, BROKEN, "plan: 1\n")
    assert main(command) == 1
    assert f"{BROKEN}: FAILED" in capsys.readouterr().out
    assert main([*command, "--project", "NONE"]) == 2


def test_a_long_list_shows_what_was_computed_last_and_says_when(
    factory: Factory, client: TestClient, plan_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND))
    refresh_results(factory.database_url)
    assert "As of" not in client.get("/?lang=en").text
    monkeypatch.setattr(project_list, "KEPT_DOSSIERS", 1)
    page = client.get("/?lang=en").text
    assert page.count("As of 20") == 2
    assert 'class="badge met"' not in page
    register(factory, SECOND, plan_text.replace(PROJECT, SECOND).replace("-0.08", "-0.07"))
    assert client.get("/?lang=en").text.count("As of 20") == 1, "the plan is another one by now"
    assert client.get("/?lang=zh").text.count("截至 20") == 1
