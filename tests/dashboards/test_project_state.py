"""The ten indicators of a stored project, on the pages and against what is stored."""

from __future__ import annotations

import hashlib
import html
from typing import TYPE_CHECKING, Protocol

import pytest

from dashboards.dossier import load_dossier
from dashboards.project_state import HOUR_MS, project_snapshot, project_state
from evidence.indicators.ten import Indicator, Light
from store.clocks import GatewayClock, keep_clocks
from store.database import clock_ms, connect
from store.gateways import revoke_gateway
from store.incident_decisions import close_incidents
from store.incidents import add_incident, list_incidents
from store.projects import put_project

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from store.database import Connection

PROJECT = "PL-TEST-001"
GATEWAY = "gw-01"


class Stored(Protocol):
    """What these tests use of the filled database."""

    database_url: str


def amend(connection: Connection, text: str, more: str) -> None:
    amended = f"{text}{more}"
    put_project(connection, PROJECT, amended, hashlib.sha256(amended.encode()).digest(), 1_751_000_000_000)


def found(connection: Connection) -> dict[str, Indicator]:
    return {one.name: one for one in project_state(connection, load_dossier(connection, PROJECT))}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("address", ["/", f"/projects/{PROJECT}"])
def test_every_light_stands_on_the_pages_with_shape_and_word(
    untouched_client: TestClient, factory_state: tuple[Indicator, ...], address: str, language: str
) -> None:
    page = html.unescape(untouched_client.get(address, params={"lang": language}).text)
    assert len(factory_state) == 11
    for one in factory_state:
        title, word = (one.title.zh, one.light.word.zh) if language == "zh" else (one.title.en, one.light.word.en)
        assert title in page
        assert f'<span aria-hidden="true">{one.light.symbol}</span> ' in page
        assert word in page


@pytest.fixture
def factory_state(factory: Stored) -> tuple[Indicator, ...]:
    with connect(factory.database_url) as connection:
        return project_state(connection, load_dossier(connection, PROJECT))


def test_what_is_stored_is_what_is_judged(factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        dossier = load_dossier(connection, PROJECT)
        end_ms = dossier.plan.span_ms[1] + HOUR_MS
        snapshot = project_snapshot(dossier, now_ms=end_ms, acceptance_end=None, assets=(), incidents=0)
    rows = dossier.to_json()["coverage"]
    shares = [
        share
        for series in rows["series"].values()
        for share, period in zip(series, rows["periods"], strict=True)
        if period == "reporting"
    ]
    assert snapshot.data_continuity == pytest.approx(sum(shares) / len(shares))
    assert snapshot.data_continuity is not None
    assert snapshot.data_continuity < 1
    assert snapshot.chain == "pass"
    assert snapshot.registered == dossier.plan.baseline.start.replace(month=6, day=28)
    assert snapshot.trend is not None
    assert snapshot.trend.kpi == "saving"
    assert snapshot.trend.target == pytest.approx(-0.08)
    assert [point.day.isoformat() for point in snapshot.trend.points] == [
        "2025-08-23",
        "2025-08-30",
        "2025-09-06",
        "2025-09-13",
    ]
    # The small factory saves 15 % after its retrofit.
    assert all(point.change == pytest.approx(-0.15, abs=0.03) for point in snapshot.trend.points)


def test_before_the_reporting_period_nothing_of_it_is_known(factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        dossier = load_dossier(connection, PROJECT)
        now_ms = dossier.plan.span_ms[0] + HOUR_MS
        early = project_snapshot(dossier, now_ms=now_ms, acceptance_end=None, assets=(), incidents=0)
    assert early.data_continuity is None
    assert early.trend is None


def test_subsidised_gateways_are_matched_with_those_that_deliver(factory: Stored, plan_text: str) -> None:
    with connect(factory.database_url) as connection:
        assert found(connection)["assets"].light is Light.GREY
        amend(connection, plan_text, "assets: [gw-01, gw-99]\n")
        # The small factory's records are of 2025.
        silent = found(connection)["assets"]
        assert silent.light is Light.RED
        assert "not: gw-01, gw-99" in silent.reason.en
        connection.execute("UPDATE record SET received = clock_timestamp() WHERE gateway = %s", (GATEWAY,))
        assert (
            "1 of 2 subsidised gateways are enrolled and deliver; not: gw-99" in found(connection)["assets"].reason.en
        )
        amend(connection, plan_text, "assets: [gw-01]\n")
        assert found(connection)["assets"].light is Light.GREEN
        revoke_gateway(connection, GATEWAY, clock_ms(connection))
        assert found(connection)["assets"].light is Light.RED


def test_incidents_of_the_projects_gateways_are_counted(factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        assert found(connection)["open_incidents"].light is Light.GREEN
        add_incident(connection, GATEWAY, "gap", 3, {}, None, 1_755_000_000_000)
        add_incident(connection, "gw-of-another", "gap", 3, {}, None, 1_755_000_000_000)
        counted = found(connection)["open_incidents"]
        close_incidents(connection, [list_incidents(connection, GATEWAY)[0].id], "li.wei", "settled", 1_755_000_000_001)
        settled = found(connection)["open_incidents"]
    assert counted.light is Light.YELLOW
    assert counted.reason.en.startswith("1 incident (")
    assert settled.light is Light.GREEN


def test_the_worst_clock_of_the_projects_gateways_is_judged_with_its_error(factory: Stored, plan_text: str) -> None:
    with connect(factory.database_url) as connection:
        assert found(connection)["clock"].light is Light.GREY, "no record has told of it"
        for seq, offset_us, light in (
            (1, 4_000_000, Light.GREEN),
            (2, -5_000_000, Light.YELLOW),
            (3, None, Light.GREY),
        ):
            known = offset_us is not None
            clock = GatewayClock(GATEWAY, seq, 1_755_000_000_000, known, offset_us, 500_000 if known else None)
            keep_clocks(connection, [clock])
            assert found(connection)["clock"].light is light
        keep_clocks(connection, [GatewayClock(GATEWAY, 4, 1_755_000_000_000, True, 59_500_001, 500_000)])
        judged = found(connection)["clock"]
        assert judged.light is Light.RED
        assert judged.reason.en.startswith("The worst clock is at most 60 s off (green up to ")
        amend(connection, plan_text, "assets: [gw-01, gw-99]\n")
        assert found(connection)["clock"].light is Light.GREY, "nobody knows the clock of a gateway that never sent"


def test_a_project_of_no_known_programme_has_no_lights(factory: Stored, plan_text: str) -> None:
    with connect(factory.database_url) as connection:
        amend(connection, plan_text.replace("programme: pingluo-2025", "programme: 市级技改"), "")
        assert found(connection) == {}
