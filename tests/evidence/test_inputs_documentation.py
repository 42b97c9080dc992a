"""The walk of the documentation is run as printed: document, proposal, preview, hash, and the plan's sources."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from evidence.grade import EvidenceGrade
from evidence.imports.mapping import load_mapping
from evidence.imports.reading import read_bytes
from evidence.imports.rows import take_rows
from evidence.origin import GRADE_NAMES
from evidence.plan import load_plan
from shopfloor.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "evidence" / "inputs.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found[number]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.csv"
    path.write_text(block("csv"), encoding="utf-8")
    return path


def test_the_proposal_is_as_printed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "import", "propose", str(report)]) == 0
    written = capsys.readouterr().out
    assert "".join(line for line in written.splitlines(keepends=True) if line[0] != "#") == block("yaml")


def test_the_preview_is_as_printed(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapping = tmp_path / "report.yaml"
    mapping.write_text(block("yaml"), encoding="utf-8")
    assert main(["evidence", "import", "preview", str(report), "--mapping", str(mapping)]) == 1
    told = capsys.readouterr()
    *shown, problem = block("text").splitlines()
    assert "\n".join(shown) in told.out
    assert told.err.strip() == problem


def test_the_corrected_document_has_the_printed_hash_and_values() -> None:
    content = block("csv").replace("约0.5", "0.5").encode()
    console = block("console")
    assert f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}" in console
    rows = take_rows(read_bytes(content, "report.csv"), load_mapping(block("yaml"), "report.yaml"))
    assert rows.usable
    assert f"as report: {len(rows.values)} values" in console
    assert all(f"left out: row {one.row}: {one.why}" in console for one in rows.left_out)


def test_the_sources_in_the_printed_plan_are_read() -> None:
    head = "plan: 1\nproject: p\nenterprise: e\nboundary: b\n"
    periods = "baseline: {from: 2025-03-01, to: 2025-06-01}\nreporting: {from: 2025-06-01, to: 2025-09-01}\n"
    kpis = "kpis: [{id: i, kind: energy_intensity, energy: energy, output: good}]\n"
    plan = load_plan(head + periods + block("yaml", 1) + kpis, "plan.yaml")
    assert plan.series["energy"].earlier is not None
    assert plan.series["good"].documents == ("report/good",)


@pytest.mark.parametrize("grade", EvidenceGrade)
def test_every_grade_is_explained_by_its_name(grade: EvidenceGrade) -> None:
    assert f"| `{grade.value}` {GRADE_NAMES[grade].zh} |" in PAGE
