"""Pages and data files over a real database of signed records."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboards.application import create_application
from dashboards.dossier import load_dossier
from dashboards.errors import PlanAlteredError, UnknownProjectError
from dashboards.language import catalogue
from dashboards.screens_view import screens_view
from dashboards.security import CONTENT_SECURITY_POLICY
from store.database import connect
from store.projects import put_project

PROJECT = "/projects/PL-TEST-001"
PAGES = ["/", PROJECT, f"{PROJECT}/explanation", f"{PROJECT}/kpis/saving/explanation", "/live", "/incidents"]
NARROW_SPACE = "\u202f"


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


def evidence(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"{PROJECT}/evidence.json")
    assert answer.status_code == 200
    content: dict[str, Any] = answer.json()
    return content


def page(client: TestClient, address: str, language: str = "zh") -> str:
    answer = client.get(address, params={"lang": language})
    assert answer.status_code == 200, answer.text
    return answer.text.replace(NARROW_SPACE, "")


def flip_byte(database_url: str, seq: int) -> None:
    """Changes one byte of a stored record the way a person with database access would."""
    with connect(database_url) as connection:
        middle = "octet_length(data) / 2"
        connection.execute(
            f"UPDATE record SET data = set_byte(data, {middle}, 255 - get_byte(data, {middle})) WHERE seq = %s",  # noqa: S608
            (seq,),
        )


def test_the_project_is_met_and_proven(untouched_client: TestClient) -> None:
    content = evidence(untouched_client)
    assert content["proof"]["faults"] == []
    assert content["proof"]["proven"] is True
    assert {kpi["id"]: kpi["verdict"] for kpi in content["evaluation"]["kpis"]} == {"intensity": "met", "saving": "met"}
    saving = content["evaluation"]["kpis"][1]
    assert saving["interval"][0] < -0.15 < saving["interval"][1]
    assert content["plan"]["registered_before_reporting"] is True


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_shows_the_numbers_of_the_file(untouched_client: TestClient, language: str) -> None:
    html = page(untouched_client, PROJECT, language)
    for kpi in evidence(untouched_client)["evaluation"]["kpis"]:
        assert f"{abs(kpi['change']):.1%}" in html
        for end in kpi["interval"]:
            assert f"{end:+.1%}".replace("-", "−") in html
    assert ("达成" if language == "zh" else "Met") in html
    assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in html


def test_the_sum_of_the_days_file_is_the_figure(untouched_client: TestClient) -> None:
    kpi = evidence(untouched_client)["evaluation"]["kpis"][1]
    text = untouched_client.get(f"{PROJECT}/kpis/saving/days.csv").content.decode("utf-8-sig")
    days = list(csv.DictReader(io.StringIO(text)))
    reporting = [day for day in days if day["period"] == "reporting" and day["used"] == "yes"]
    assert sum(float(day["energy [kWh]"]) for day in reporting) == pytest.approx(kpi["reporting"], rel=1e-12)
    assert sum(float(day["adjusted_baseline [kWh]"]) for day in reporting) == pytest.approx(kpi["baseline"], rel=1e-12)
    assert all(float(day["adjusted_low [kWh]"]) < float(day["adjusted_high [kWh]"]) for day in reporting)


def test_the_ratio_of_the_days_file_is_the_figure(untouched_client: TestClient) -> None:
    kpi = evidence(untouched_client)["evaluation"]["kpis"][0]
    for period in ("baseline", "reporting"):
        rows = untouched_client.get(f"{PROJECT}/kpis/intensity/days.json").json()["rows"]
        used = [row["values"] for row in rows if row["period"] == period and row["used"]]
        ratio = sum(row["energy"] for row in used) / sum(row["output"] for row in used)
        assert ratio == pytest.approx(kpi[period], rel=1e-12)


def test_lost_days_are_empty_and_never_zero(untouched_client: TestClient) -> None:
    rows = untouched_client.get(f"{PROJECT}/kpis/saving/days.json").json()["rows"]
    lost = [row for row in rows if row["excluded"] == "no_data"]
    assert [row["day"] for row in lost] == ["2025-07-13", "2025-08-30"]
    assert all(value is None for row in lost for value in row["values"].values())
    assert [row["excluded"] for row in rows if row["period"] == "blackout"] == ["blackout"] * 7


def test_interval_files_hold_what_was_measured(untouched_client: TestClient) -> None:
    content = untouched_client.get(f"{PROJECT}/series/energy.json").json()
    assert content["unit"] == "kWh"
    assert content["rows"][0]["time"] == "2025-07-01T00:00:00+08:00"
    missing = [row for row in content["rows"] if row["value"] is None]
    assert missing
    assert all(row["coverage"] < 0.99 for row in missing)
    total = sum(row["value"] for row in content["rows"] if row["value"] is not None)
    assert total == pytest.approx(evidence(untouched_client)["evaluation"]["totals"]["energy"]["sum"])
    text = untouched_client.get(f"{PROJECT}/series/energy.csv").content.decode("utf-8-sig")
    assert text.splitlines()[0] == "time,energy [kWh],coverage"
    assert len(text.splitlines()) == len(content["rows"]) + 1


def test_coverage_tells_lost_days_from_full_ones(untouched_client: TestClient) -> None:
    coverage = untouched_client.get(f"{PROJECT}/coverage.json").json()
    share = dict(zip(coverage["days"], coverage["series"]["energy"], strict=True))
    assert share["2025-07-13"] == 0.0
    assert share["2025-07-02"] == 1.0


def test_the_plan_is_served_as_registered(untouched_client: TestClient) -> None:
    plan = untouched_client.get(f"{PROJECT}/plan.yaml").content
    assert hashlib.sha256(plan).hexdigest() == evidence(untouched_client)["plan"]["hash"]


def test_every_link_of_every_page_works(untouched_client: TestClient) -> None:
    seen: set[str] = set()
    for address in PAGES:
        for link in re.findall(r'(?:href|src)="(/[^"#]*)"', page(untouched_client, address)):
            if link not in seen:
                seen.add(link)
                assert untouched_client.get(link).status_code == 200, link
    assert f"{PROJECT}/kpis/saving/days.csv" in seen
    assert f"{PROJECT}/series/outdoor_temperature.json" in seen


@pytest.mark.parametrize("seq", [1, 2, 40, 77])
def test_one_flipped_byte_is_named_at_the_next_look(client: TestClient, factory: Stored, seq: int) -> None:
    assert evidence(client)["proof"]["proven"] is True
    flip_byte(factory.database_url, seq)
    proof = evidence(client)["proof"]
    assert proof["proven"] is False
    assert ("gw-01", seq) in {(fault["gateway"], fault["seq"]) for fault in proof["faults"]}
    html = page(client, PROJECT)
    assert f"#{seq}<" in html
    assert "未证实" in html
    assert 'class="badge met"' not in html
    assert 'class="badge met"' not in page(client, "/")


def test_an_altered_interval_fails_the_recomputation(client: TestClient, factory: Stored) -> None:
    assert evidence(client)["proof"]["recomputation"] == "pass"
    with connect(factory.database_url) as connection:
        connection.execute(
            "UPDATE interval SET increase = increase * 0.9 WHERE time = '2025-09-01T00:00:00Z' AND increase > 0"
        )
    proof = evidence(client)["proof"]
    assert (proof["signature"], proof["chain"], proof["recomputation"]) == ("pass", "pass", "fail")
    assert 'class="badge not_proven"' in page(client, PROJECT)


def test_a_removed_record_breaks_the_chain(client: TestClient, factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        connection.execute("DELETE FROM record WHERE seq = 40")
    proof = evidence(client)["proof"]
    assert (proof["signature"], proof["chain"]) == ("pass", "fail")
    assert proof["faults"][0]["seq"] == 40


def test_an_untouched_project_is_not_evaluated_again(untouched_client: TestClient) -> None:
    library = untouched_client.app.state.library  # type: ignore[attr-defined]
    assert library.load("PL-TEST-001") is library.load("PL-TEST-001")


def test_an_altered_plan_is_refused(client: TestClient, factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE project_plan SET plan = replace(plan, 'change: -0.08', 'change: -0.01')")
        with pytest.raises(PlanAlteredError, match="altered in the database"):
            load_dossier(connection, "PL-TEST-001")
    assert client.get(PROJECT).status_code == 422
    assert "altered in the database" in page(client, "/")


def test_an_amended_plan_shows_every_revision(client: TestClient, factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        plan = client.get(f"{PROJECT}/plan.yaml").text.replace("change: -0.08", "change: -0.30")
        put_project(connection, "PL-TEST-001", plan, hashlib.sha256(plan.encode()).digest(), 1_760_000_000_000)
    content = evidence(client)
    assert content["evaluation"]["kpis"][0]["verdict"] == "not_met"
    assert [one["revision"] for one in content["plan"]["revisions"]] == [1, 2]
    html = page(client, PROJECT, "en")
    assert "Revision 2" in html
    assert "not a pre-registration" in html


def test_periods_are_named_by_their_first_and_last_day(untouched_client: TestClient) -> None:
    html = page(untouched_client, PROJECT)
    assert "基准期 2025-07-01 至 2025-08-09" in html
    assert "报告期 2025-08-17 至 2025-09-15" in html
    assert "报告期 2025-08-17 至 2025-09-15" in page(untouched_client, "/")


def test_an_error_page_says_in_the_readers_language_what_to_do(untouched_client: TestClient) -> None:
    answer = untouched_client.get("/projects/none", params={"lang": "zh"})
    assert "请从项目列表进入" in answer.text
    assert "no project" in answer.text


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/projects/none", 404),
        ("/projects/none/evidence.json", 404),
        (f"{PROJECT}/kpis/none/days.csv", 404),
        (f"{PROJECT}/series/none.csv", 404),
        (f"{PROJECT}/series/none.json", 404),
        ("/none", 404),
        ("/projects/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404),
    ],
)
def test_wrong_addresses(untouched_client: TestClient, address: str, status: int) -> None:
    answer = untouched_client.get(address)
    assert answer.status_code == status
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize("address", [*PAGES, "/none", "/live.json", "/static/site.css"])
def test_every_answer_carries_the_security_headers(untouched_client: TestClient, address: str) -> None:
    headers = untouched_client.get(address).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("address", PAGES)
def test_pages_have_no_inline_script_or_style(untouched_client: TestClient, address: str) -> None:
    html = page(untouched_client, address)
    assert "<style" not in html
    assert not re.search(r"\sstyle=", html)
    assert not re.search(r"\son[a-z]+=", html)
    assert not re.search(r"<script(?![^>]*(src=|application/json))", html)
    assert "http://" not in html
    assert "https://" not in html


def test_text_of_a_plan_is_never_markup(client: TestClient, factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        plan = client.get(f"{PROJECT}/plan.yaml").text.replace("2# 生产线", "'</script><script>alert(1)</script>'")
        put_project(connection, "PL-TEST-001", plan, hashlib.sha256(plan.encode()).digest(), 1_750_000_000_000)
    for address in ("/", PROJECT):
        assert "<script>alert" not in page(client, address)


def test_the_language_is_remembered(client: TestClient) -> None:
    assert client.get("/", headers={"accept-language": "en"}).headers["content-language"] == "en"
    assert client.get("/", headers={"accept-language": "fr"}).headers["content-language"] == "zh-CN"
    client.get("/", params={"lang": "en"})
    assert client.get("/", headers={"accept-language": "zh"}).headers["content-language"] == "en"


def test_live_state(untouched_client: TestClient) -> None:
    state = untouched_client.get("/live.json").json()
    (gateway,) = state["gateways"]
    assert (gateway["state"], gateway["head_seq"], gateway["records"]) == ("silent", 77, 77)
    assert {value["series"]: value["value"] for value in state["values"]} == {
        "gw-01/meter-1/active_energy_import": 12345.67,
        "gw-01/plc-1/good_count": None,
    }
    html = page(untouched_client, "/live")
    assert "12,345.67 kWh" in html
    assert "0xF0" in html


def test_health_and_a_database_that_went_away(factory: Stored) -> None:
    with TestClient(create_application(factory.database_url)) as client:
        assert client.get("/healthz").json() == {"status": "ok", "projects": 1}
        client.app.state.connections.close()  # type: ignore[attr-defined]
        assert client.get("/healthz").status_code == 503


@pytest.fixture
def empty_client(database_url: str) -> Iterator[TestClient]:
    with TestClient(create_application(database_url)) as client:
        yield client


def test_an_empty_database_has_pages_too(empty_client: TestClient, database_url: str) -> None:
    assert "还没有登记项目" in page(empty_client, "/")
    assert "还没有登记网关" in page(empty_client, "/live")
    with connect(database_url) as connection, pytest.raises(UnknownProjectError):
        load_dossier(connection, "PL-TEST-001")


def test_a_project_without_data_is_insufficient_and_not_proven(
    empty_client: TestClient, database_url: str, plan_text: str
) -> None:
    with connect(database_url) as connection:
        put_project(connection, "PL-TEST-001", plan_text, hashlib.sha256(plan_text.encode()).digest(), 0)
    content = evidence(empty_client)
    assert {kpi["verdict"] for kpi in content["evaluation"]["kpis"]} == {"insufficient_data"}
    assert content["proof"]["proven"] is False
    html = page(empty_client, PROJECT)
    assert "未核验" in html
    assert "没有可绘制的每日数据" in html


def test_a_record_before_the_span_is_watched_too(client: TestClient, factory: Stored, plan_text: str) -> None:
    with connect(factory.database_url) as connection:
        plan = plan_text.replace("baseline:  {from: 2025-07-01", "baseline:  {from: 2025-07-10")
        put_project(connection, "PL-TEST-001", plan, hashlib.sha256(plan.encode()).digest(), 1_750_000_000_000)
    proof = evidence(client)["proof"]
    assert proof["proven"] is True
    assert proof["gateways"][0]["first_seq"] > 2
    flip_byte(factory.database_url, 1)
    assert evidence(client)["proof"]["proven"] is False


def test_screens_stand_beside_the_verdict_in_both_languages(untouched_client: TestClient) -> None:
    screens = {one["name"]: one for one in evidence(untouched_client)["evaluation"]["screens"]}
    assert screens["clock"]["state"] == screens["configuration_changes"]["state"] == "clear"
    assert screens["phase_sums"]["state"] == "not_checked"
    for language, words in (
        ("zh", ("数据筛查", "网关时钟与接收时间", "未见异常", "未检查", "筛查只提示需要现场核实之处")),
        ("en", ("Data screens", "Clock against receive time", "no anomaly found", "NOT CHECKED", "prove nothing")),
    ):
        text = page(untouched_client, PROJECT, language)
        for word in words:
            assert word in text
        assert text.index('id="verdict"') < text.index('id="screens"') < text.index('id="kpis"')


def test_an_anomaly_is_shown_with_its_places_and_the_agreed_words() -> None:
    anomaly = {
        "name": "stuck",
        "strength": "weak",
        "state": "anomaly",
        "more_places": 2,
        **{key: {"en": f"{key} en", "zh": f"{key} zh"} for key in ("title", "meaning", "limits", "finding")},
        "statement": {"en": "anomaly, needs checking on site", "zh": "异常，需现场核实"},
        "places": [
            {
                "series": ["energy"],
                "start_ms": 1_751_299_200_000,
                "end_ms": 1_751_300_100_000,
                "figures": {"value": 3.25, "source_start_ms": 1_751_212_800_000.0},
            }
        ],
    }
    clear = {**anomaly, "state": "clear", "places": [], "more_places": 0}
    view = screens_view([clear, anomaly], "Asia/Shanghai", catalogue("zh"))
    assert [row["state"] for row in view["rows"]] == ["anomaly", "clear"]
    assert view["summary"] == "1 项需现场核实，1 项未见异常，0 项未检查"
    assert view["rows"][0]["statement"] == "异常，需现场核实"
    assert view["rows"][0]["strength"] == "弱"
    (place,) = view["rows"][0]["places"]
    assert (place["start"], place["end"], place["series"]) == ("2025-07-01 00:00", "2025-07-01 00:15", "energy")
    assert place["figures"] == "value 3.2500, source_start_ms 2025-06-30 00:00"
    assert view["rows"][0]["more_places"] == 2
