"""``shopfloor evidence explain``: every length in both languages, one KPI or all, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shopfloor.main import main

PLAN = Path(__file__).parents[1] / "evidence" / "plans" / "retrofit.yaml"


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A table without weather: nothing can be concluded."""
    table = tmp_path / "table.csv"
    rows = [f"2025-{month:02d}-{day:02d},{400 + 20 * day},{50 * day}," for month in (7, 8, 9) for day in range(1, 29)]
    table.write_text("\n".join(["time,energy,output,outdoor_temperature", *rows]), encoding="utf-8")
    return ["evidence", "explain", str(PLAN), "--data", str(table)]


@pytest.mark.parametrize(
    ("length", "language", "said"),
    [
        ("sentence", "en", "2 figures: 2 insufficient data"),
        ("sentence", "zh", "共 2 项指标：2 项数据不足"),
        ("paragraph", "en", "No conclusion is drawn"),
        ("paragraph", "zh", "不下结论"),
        ("page", "en", "To be checked on site"),
        ("page", "zh", "建议现场核查"),
    ],
)
def test_lengths_and_languages(
    command: list[str], capsys: pytest.CaptureFixture[str], length: str, language: str, said: str
) -> None:
    assert main([*command, "--length", length, "--language", language]) == 0
    assert said in capsys.readouterr().out


def test_a_page_says_much_more(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for length in ("sentence", "paragraph", "page"):
        assert main([*command, "--kpi", "saving", "--length", length]) == 0
        sizes.append(len(capsys.readouterr().out))
    assert sizes[2] > 5 * max(sizes[:2])


def test_one_kpi_of_the_plan(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--kpi", "intensity", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["standing"]) == ("intensity", "insufficient_data")
    assert set(told["sentence"]) == {"en", "zh"}


def test_everything_as_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [kpi["id"] for kpi in told["kpis"]] == ["intensity", "saving"]
    assert told["project"] == "PL-2026-001"


def test_another_kpi_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--kpi", "savings"]) == 2
    assert "no KPI 'savings'; did you mean 'saving'?" in capsys.readouterr().err
