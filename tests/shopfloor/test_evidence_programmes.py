"""``shopfloor evidence programmes``: what it prints, and how it refuses."""

from __future__ import annotations

import json

import pytest

from evidence.programmes import programme_names
from shopfloor.main import main

COMMAND = ["evidence", "programmes"]


def test_the_list_names_every_programme_and_its_conflicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(COMMAND) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(programme_names())
    assert lines[1].endswith("conflicts of the sources: 2")


@pytest.mark.parametrize("name", programme_names())
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_is_shown_in_both_languages(name: str, language: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, name, "--language", language]) == 0
    assert ".txt" in capsys.readouterr().out


def test_json_holds_figures_sources_conflicts_and_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "pingluo-2025", "--json", "--investment", "80", "--hardware", "30"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["support"][0]["rate"][2]["value"] == 0.5
    assert document["calendar"][0]["from"] == "2025-10"
    assert [conflict["field"] for conflict in document["conflicts"]] == ["support[0].rate", "support[1].rate"]
    assert "no decision on a payment" in document["eligibility"]["statement"]["en"]
    states = {one["name"]: one["state"] for one in document["eligibility"]["conditions"]}
    assert states["hardware_share"] == "not_fulfilled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pinglou-2025"], "did you mean 'pingluo-2025'?"),
        (["pingluo-2025", "--batch", "7"], "has no batch '7'"),
        (["--level", "2"], "name the programme that the project belongs to"),
    ],
)
def test_what_does_not_exist_is_a_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *arguments]) == 2
    assert message in capsys.readouterr().err
