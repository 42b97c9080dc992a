"""``shopfloor evidence indicators``: the snapshot of the documentation page, judged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shopfloor.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "programmes.md").read_text(encoding="utf-8")
SNAPSHOT, PRINTED = re.findall(r"```yaml\n(today.*?)```.*?```\n(● .*?)```", PAGE, flags=re.DOTALL)[0]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    file = tmp_path / "snapshot.yaml"
    file.write_text(SNAPSHOT, encoding="utf-8")
    return file


def test_the_page_shows_what_the_command_prints(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "indicators", str(snapshot), "--programme", "pingluo-2025", "--batch", "1"]) == 1
    assert capsys.readouterr().out == PRINTED


def test_json_holds_every_light_and_the_thresholds(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "indicators", str(snapshot), "--programme", "pingluo-2025", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["indicators"]) == 10
    assert document["thresholds"]["silent_hours"] == 24
    assert document["early_warning"]["light"] == "yellow"


def test_without_anything_red_the_command_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "snapshot.yaml"
    file.write_text("today: 2026-07-01\n", encoding="utf-8")
    assert main(["evidence", "indicators", str(file), "--programme", "luoyang-2025", "--language", "zh"]) == 0
    assert capsys.readouterr().out.count("○ 未知") == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--programme", "pinglou-2025"], "did you mean 'pingluo-2025'?"),
        (["--programme", "pingluo-2025", "--batch", "9"], "has no batch '9'"),
    ],
)
def test_what_does_not_exist_is_a_message(
    snapshot: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "indicators", str(snapshot), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "indicators", str(tmp_path / "none.yaml"), "--programme", "pingluo-2025"]) == 2
    assert "cannot be read" in capsys.readouterr().err
