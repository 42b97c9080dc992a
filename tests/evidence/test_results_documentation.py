"""What the page on results shows is what the engine says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evidence.evaluate import evaluate
from evidence.explanation.explain import explain
from evidence.plan import Plan
from evidence.result import Evaluation
from shopfloor.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "results.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)\n```", PAGE, flags=re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def example(retrofit: Plan, daily_table: Any, factory_days: Any) -> Evaluation:
    return evaluate(retrofit, daily_table(retrofit, factory_days(4, -0.2)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_printed_sentence(language: str, retrofit: Plan, example: Evaluation) -> None:
    sentence = getattr(explain(retrofit, example, proven=True).kpis[1].sentence, language)
    assert sentence.replace("\u202f", " ") == block(language)


def test_the_printed_fields(example: Evaluation) -> None:
    document = example.to_json()
    shown = json.loads(block("json"))
    saving = document["kpis"][1]
    assert shown == {"$schema": document["$schema"], **{key: saving[key] for key in shown if key != "$schema"}}


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^shopfloor evidence (\w+)", PAGE, flags=re.MULTILINE))))
def test_the_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evidence", command, "--help"])
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out
