"""The result in words on the pages, and the schema of results at its address."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from dashboards.application import create_application
from dashboards.language import LANGUAGES
from evidence import schema
from store.database import connect

PROJECT = "/projects/PL-TEST-001"
FOLDER = Path(schema.__file__).parent


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


@pytest.fixture
def told(untouched_client: TestClient) -> dict[str, Any]:
    """All that is said of the project."""
    explanation: dict[str, Any] = untouched_client.get(f"{PROJECT}/explanation.json").json()
    return explanation


def text_of(client: TestClient, address: str, language: str) -> str:
    answer = client.get(address, params={"lang": language})
    assert answer.status_code == 200, answer.text
    return html.unescape(re.sub(r"<[^>]+>", "", answer.text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_project_page_has_sentence_and_paragraph(
    untouched_client: TestClient, told: dict[str, Any], language: str
) -> None:
    text = text_of(untouched_client, PROJECT, language)
    for kpi in told["kpis"]:
        assert text.index(kpi["sentence"][language]) < text.index(kpi["paragraph"][language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_says_everything_once(untouched_client: TestClient, told: dict[str, Any], language: str) -> None:
    pages = {f"{PROJECT}/explanation": told} | {f"{PROJECT}/kpis/{kpi['id']}/explanation": kpi for kpi in told["kpis"]}
    for address, one in pages.items():
        text = text_of(untouched_client, address, language)
        assert one["sentence"][language] in text
        assert one["paragraph"][language] in text
        for section in one["page"]:
            if section["name"] != "answer":
                assert section["title"][language] in text
                assert all(statement[language] in text for statement in section["statements"])


def test_the_words_are_those_of_the_whole_evidence(untouched_client: TestClient, told: dict[str, Any]) -> None:
    assert untouched_client.get(f"{PROJECT}/evidence.json").json()["explanation"] == told


def test_what_is_not_proven_concludes_nothing(factory: Stored) -> None:
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE record SET data = set_byte(data, 200, 255 - get_byte(data, 200)) WHERE seq = 33")
    with TestClient(create_application(factory.database_url)) as client:
        told = client.get(f"{PROJECT}/explanation.json").json()
        assert {kpi["standing"] for kpi in told["kpis"]} == {"not_proven"}
        assert "不下结论" in told["sentence"]["zh"]
        text = text_of(client, f"{PROJECT}/kpis/saving/explanation", "zh")
    assert "未证实" in text
    assert "达到" not in text


@pytest.mark.parametrize("address", ["/projects/NONE/explanation", f"{PROJECT}/kpis/none/explanation"])
def test_what_does_not_exist_is_not_found(untouched_client: TestClient, address: str) -> None:
    assert untouched_client.get(address).status_code == 404


@pytest.mark.parametrize("kind", ["result", "plan"])
def test_the_schema_is_served_as_published(untouched_client: TestClient, kind: str) -> None:
    answer = untouched_client.get(f"/schema/{kind}.json")
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.text == (FOLDER / f"{kind}.json").read_text(encoding="utf-8")


def test_what_is_served_fits_the_schema_that_is_served(untouched_client: TestClient) -> None:
    published = untouched_client.get("/schema/result.json").json()
    result = untouched_client.get(f"{PROJECT}/evidence.json").json()["evaluation"]
    assert [error.message for error in Draft202012Validator(published).iter_errors(result)] == []
    assert result["$schema"] == published["$id"]


def test_there_are_no_other_schemas(untouched_client: TestClient) -> None:
    assert untouched_client.get("/schema/none.json").status_code in {404, 422}
