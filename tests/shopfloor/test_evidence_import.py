"""``shopfloor evidence import`` and ``evaluate`` on documents: from a first look to the database, and every refusal."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from shopfloor.main import main

IMPORT = ["evidence", "import"]
FIRST, COUNT = date(2025, 1, 1), 120
PLAN = """plan: 1
project: PL-2025-007
enterprise: 示例机械有限公司
boundary: 2# 生产线
baseline: {from: 2025-01-01, to: 2025-03-01}
reporting: {from: 2025-03-01, to: 2025-05-01}
series:
  energy: {quantity: active_energy_import, unit: kWh, documents: [report/energy]}
  output: {quantity: good_count, unit: piece, documents: [report/output]}
  outdoor_temperature: {quantity: temperature, unit: degC}
kpis:
  - {id: saving, kind: adjusted_saving, energy: energy, variables: [output, outdoor_temperature],
     target: {saving: 0.05}}
"""
MAPPING = """mapping: 1
name: report
time: {period: day, column: 日期}
series:
  energy: {column: 用电量, quantity: active_energy_import, unit: kWh}
  output: {column: 产量, quantity: good_count, unit: piece}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan, a daily report in GB18030 with units in 万kWh, its mapping, and hourly weather."""
    made = tmp_path_factory.mktemp("documents")
    chance = random.Random(3)
    report, weather = ["日期,用电量(万kWh),产量(件)"], ["时间,气温(℃)"]
    for number in range(COUNT):
        day = FIRST + timedelta(days=number)
        pieces = chance.randint(1000, 2000) * (0.3 if day.weekday() == 6 else 1.0)
        warmth = [round(8 + 6 * chance.random(), 1) for _ in range(24)]
        energy = 400 + 0.4 * pieces + 6 * sum(warmth) / 24 + chance.gauss(0, 15)
        energy *= 0.88 if day >= date(2025, 3, 1) else 1.0
        report.append(f'{day.year}年{day.month}月{day.day}日,{energy / 1e4:.5f},"{round(pieces):,}"')
        weather += [f"{day} {hour:02d}:00,{value}" for hour, value in enumerate(warmth)]
    (made / "report.csv").write_text("\r\n".join(report), encoding="gb18030")
    (made / "weather.csv").write_text("\n".join(weather), encoding="utf-8")
    (made / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (made / "report.yaml").write_text(MAPPING, encoding="utf-8")
    return made


def test_a_proposal_is_a_file_that_evaluates(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weather = tmp_path / "weather.yaml"
    assert main([*IMPORT, "propose", str(folder / "weather.csv"), "--output", str(weather)]) == 0
    data = ["--data", str(folder / "report.csv"), "--mapping", str(folder / "report.yaml")]
    data += ["--data", str(folder / "weather.csv"), "--mapping", str(weather)]
    capsys.readouterr()
    assert main(["evidence", "evaluate", str(folder / "plan.yaml"), *data, "--json", "-"]) == 0
    text = capsys.readouterr().out
    (saving,) = json.loads(text)["kpis"]
    assert saving["verdict"] == "met"
    assert -0.14 < saving["change"] < -0.10
    assert saving["grade"] == "imported_document"
    assert [(one["series"], one["sources"]) for one in saving["inputs"]] == [
        ("energy", ["report/energy"]),
        ("output", ["report/output"]),
        ("outdoor_temperature", ["weather/outdoor_temperature"]),
    ]
    assert main(["evidence", "evaluate", str(folder / "plan.yaml"), *data, "--json", "-"]) == 0
    assert capsys.readouterr().out == text
    assert main(["evidence", "evaluate", str(folder / "plan.yaml"), *data, "--language", "zh"]) == 0
    assert "证据等级： 导入文件（未签名）" in capsys.readouterr().out


def test_preview_shows_every_value_and_stores_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*IMPORT, "preview", str(folder / "report.csv"), "--mapping", str(folder / "report.yaml")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "report/energy   active_energy_import, 120 values" in shown
    assert "2025-01-01 00:00 - 2025-01-02 00:00" in shown
    assert "and 100 more (--all)" in shown
    assert "can be imported: 240 values, wrong cells: 0, rows left out: 0" in shown
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["usable"], len(told["values"]), told["problems"]) == (True, 240, [])


@pytest.fixture
def wrong(folder: Path, tmp_path: Path) -> Path:
    """The report with one cell that is no number."""
    lines = (folder / "report.csv").read_bytes().decode("gb18030").split("\r\n")
    lines[5] = lines[5].replace(lines[5].split(",")[1], "停电")
    path = tmp_path / "report.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_one_wrong_cell_stops_the_import_and_is_named(
    folder: Path, wrong: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = str(folder / "report.yaml")
    assert main([*IMPORT, "preview", str(wrong), "--mapping", mapping]) == 1
    captured = capsys.readouterr()
    assert "CANNOT be imported" in captured.out
    assert "report.csv:B6 用电量: '停电' is no number" in captured.err
    where = ["--plan", str(folder / "plan.yaml"), "--database", database_url, "--by", "张三"]
    assert main([*IMPORT, "add", str(wrong), "--mapping", mapping, *where]) == 1
    assert "nothing was imported" in capsys.readouterr().err
    assert main([*IMPORT, "list", "--database", database_url]) == 0
    assert "there are no imported documents" in capsys.readouterr().out
    tolerant = wrong.with_name("tolerant.yaml")
    tolerant.write_text(MAPPING + "bad_rows: leave_out\n", encoding="utf-8")
    assert main([*IMPORT, "add", str(wrong), "--mapping", str(tolerant), *where, "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert (stored["values"], stored["imported_by"]) == (238, "张三")
    assert any("'停电' is no number" in line for line in stored["left_out"])


def test_add_list_show_withdraw(
    folder: Path, tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = ["--database", database_url]
    document = [str(folder / "report.csv"), "--mapping", str(folder / "report.yaml")]
    add = [*IMPORT, "add", *document, "--plan", str(folder / "plan.yaml"), "--by", "李四", *database, "--json"]
    assert main(add) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["new"]
    assert main(add) == 0
    assert json.loads(capsys.readouterr().out) == {**first, "new": False}

    assert main([*IMPORT, "list", "--project", "PL-2025-007", *database]) == 0
    assert "report.csv  240 values" in capsys.readouterr().out
    original = tmp_path / "original.csv"
    assert main([*IMPORT, "show", str(first["id"]), "--output", str(original), *database, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["mapping"], len(shown["rows"])) == (MAPPING, 240)
    assert original.read_bytes() == (folder / "report.csv").read_bytes()

    assert main([*IMPORT, "withdraw", str(first["id"]), "--why", "wrong line", "--by", "王五", *database]) == 0
    assert "by 王五: wrong line" in capsys.readouterr().out
    assert main([*IMPORT, "list", *database]) == 0
    assert "WITHDRAWN" in capsys.readouterr().out
    assert main([*IMPORT, "withdraw", str(first["id"]), "--why", "again", *database]) == 2
    assert "was withdrawn already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["preview", "{folder}/absent.csv", "--mapping", "absent.yaml"], "absent.csv: cannot be read"),
        (["propose", "{folder}/empty.csv"], "empty.csv: is empty"),
        (["show", "77", "--database", "{database}"], "there is no imported document 77"),
        (
            [
                *("add", "{folder}/report.csv", "--mapping", "{folder}/report.yaml"),
                *("--project", "PL-0", "--database", "{database}"),
            ],
            "no project 'PL-0' is registered",
        ),
    ],
)
def test_what_is_wrong_with_the_command_is_a_message_and_exit_code_2(
    arguments: list[str], message: str, folder: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.csv").write_bytes(b"\n")
    assert main([*IMPORT, *(one.format(database=database_url, folder=folder) for one in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_each_document_needs_its_mapping(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(folder / "report.csv"), "--data", str(folder / "weather.csv")]
    assert main(["evidence", "evaluate", str(folder / "plan.yaml"), *data]) == 2
    assert "2 documents and 0 mappings; give --mapping once for each --data" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*IMPORT, "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")
