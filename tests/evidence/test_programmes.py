"""The programme files hold what their sources state, contradictions included, and the schema is strict."""

from __future__ import annotations

import json
import re
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from evidence.errors import PlanError, ProgrammeError
from evidence.plan import load_plan
from evidence.programme import load_programme, stated_values
from evidence.programme_schema import programme_schema_text
from evidence.programmes import programme, programme_names
from wire.errors import DocumentError

REPOSITORY = Path(__file__).parents[2]
FOLDER = files("evidence.programmes")


def text_of(name: str) -> str:
    return FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def test_the_four_programmes_are_found_by_being_there() -> None:
    assert programme_names() == ("luoyang-2025", "pingluo-2025", "wuzhong-2024", "yinchuan-2025")


@pytest.mark.parametrize("name", programme_names())
def test_a_file_is_called_as_its_programme_and_follows_the_published_schema(name: str) -> None:
    assert programme(name).name == name
    published = json.loads(FOLDER.joinpath("schema", "programme.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(published)
    data = yaml.safe_load(text_of(name))
    for validity in data.get("validity", ()):
        validity.update({key: value.isoformat() for key, value in validity.items() if isinstance(value, date)})
    Draft202012Validator(published).validate(data)


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert FOLDER.joinpath("schema", "programme.json").read_text(encoding="utf-8") == programme_schema_text()


def test_both_rates_of_pingluo_are_kept() -> None:
    pingluo = programme("pingluo-2025")
    rates = {one.batch: stated_values(one.rate) for one in pingluo.support}
    caps = {one.batch: stated_values(one.cap) for one in pingluo.support}
    assert rates == {"1": (0.5, 0.6), "2": (0.4, 0.5)}
    assert caps == {"1": (50.0,), "2": (40.0,)}


def test_every_conflict_is_on_the_documentation_page_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "evidence" / "programmes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z]+-\d{4}) \| (.*) \|$", page, flags=re.MULTILINE)
    found = [(name, conflict.text.en) for name in programme_names() for conflict in programme(name).conflicts()]
    assert len(rows) == len(found)
    for (row_name, row), (name, said) in zip(rows, found, strict=True):
        assert row_name == name
        assert said.split(":")[0] == row.split(":")[0]
        assert set(re.findall(r"\d+(?:\.\d+)?", row)) == set(re.findall(r"\d+(?:\.\d+)?", said))


@pytest.mark.parametrize(
    ("name", "target", "total"),
    [
        ("pingluo-2025", "SMEs retrofitted", 55),
        ("yinchuan-2025", "SMEs retrofitted", 336),
        ("wuzhong-2024", "SMEs retrofitted", 320),
        ("luoyang-2025", "SMEs retrofitted, all at level 2 or higher", 460),
    ],
)
def test_targets_are_those_of_the_sources(name: str, target: str, total: float) -> None:
    assert {one.name.en: one.total for one in programme(name).targets}[target] == total


@pytest.mark.parametrize(
    ("name", "batch", "end"),
    [
        ("pingluo-2025", "1", date(2026, 10, 1)),
        ("yinchuan-2025", None, date(2027, 10, 1)),
        ("wuzhong-2024", "1", date(2025, 8, 1)),
        ("wuzhong-2024", "2", date(2026, 6, 1)),
        ("luoyang-2025", "1", date(2026, 11, 1)),
        ("luoyang-2025", "3", date(2027, 7, 1)),
    ],
)
def test_the_acceptance_calendar_ends_with_the_last_day_of_its_month(name: str, batch: str | None, end: date) -> None:
    assert programme(name).acceptance_end(batch) == end


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("hardware_share:\n", "hardware_shares:\n", DocumentError, "unknown key; did you mean 'hardware_share'?"),
        ("{value: 50, source: plan}", "{value: 50, source: plans}", ProgrammeError, "did you mean 'plan'?"),
        ("{value: 50, source: plan}", "{value: -50, source: plan}", DocumentError, "greater than or equal to 0"),
        ("{value: 50, source: plan}", "{value: 50}", DocumentError, "is missing; add it"),
        ("from: 2026-07, to: 2026-09", "from: 2026-07, to: 2026-06", DocumentError, "before it begins"),
        ('batch: "2"', 'batch: "4"', ProgrammeError, "this file has no batch '4'"),
        ("total: 49}", "total: 48}", ProgrammeError, "the lines add up to 54, the total is 55"),
        ("total: 2800", "total: 2900", ProgrammeError, "the lines add up to 2800, the total is 2900"),
    ],
)
def test_a_slip_of_the_pen_is_found_with_its_line(old: str, new: str, error: type[Exception], message: str) -> None:
    text = text_of("pingluo-2025")
    assert old in text
    with pytest.raises(error) as caught:
        load_programme(text.replace(old, new, 1), "pingluo-2025.yaml")
    assert message in str(caught.value)
    line = int(re.match(r"pingluo-2025\.yaml:(\d+): ", str(caught.value)).group(1))  # type: ignore[union-attr]
    sums = {"total: 49}": "  - name: {en: SMEs retrofitted", "total: 2800": "budget:"}
    assert line == line_of(text, sums.get(old, old))


def test_parts_that_do_not_add_up_need_a_note_and_a_note_needs_parts_that_do_not() -> None:
    text = text_of("yinchuan-2025")
    note = text[text.index('        conflict: {en: "the four industries add up to 1') :].split("\n")[0] + "\n"
    with pytest.raises(ProgrammeError, match="the parts add up to 1, the total is 2; correct it, or say in 'conflict'"):
        load_programme(text.replace(note, ""), "yinchuan-2025.yaml")
    with pytest.raises(ProgrammeError, match="everything adds up here; remove the note"):
        load_programme(text.replace("parts: [0, 0, 1, 0]", "parts: [1, 0, 1, 0]"), "yinchuan-2025.yaml")
    with pytest.raises(ProgrammeError, match=r"has 3 values for the 4 columns \(industries\)"):
        load_programme(text.replace("parts: [44, 39, 79, 71]", "parts: [44, 39, 79]"), "yinchuan-2025.yaml")


def test_lines_whose_columns_differ_from_the_stated_ones_are_found() -> None:
    text = text_of("wuzhong-2024").replace("parts: [33, 13, 58, 27, 36, 66, 23]", "parts: [33, 13, 58, 27, 36, 66, 24]")
    with pytest.raises(ProgrammeError, match="the parts of the lines add up to"):
        load_programme(text, "wuzhong-2024.yaml")


def test_an_unknown_programme_is_refused_with_the_nearest() -> None:
    with pytest.raises(ProgrammeError, match="no programme 'pinglou-2025'; did you mean 'pingluo-2025'"):
        programme("pinglou-2025")


@pytest.mark.parametrize("named", ["", "pingluo-2025", "市级技改", "Provincial retrofit fund", "2025"])
def test_a_plan_names_a_programme_or_says_so_in_its_own_words(retrofit_text: str, named: str) -> None:
    without = re.sub(r"^programme:.*\n", "", retrofit_text, flags=re.MULTILINE)
    assert load_plan(without + f'\nprogramme: "{named}"\n', "plan.yaml").programme == named


def test_a_plan_that_mistypes_a_programme_is_refused_with_the_nearest(retrofit_text: str) -> None:
    without = re.sub(r"^programme:.*\n", "", retrofit_text, flags=re.MULTILINE)
    with pytest.raises(DocumentError, match=r":\d+: programme: no such programme; did you mean 'yinchuan-2025'"):
        load_plan(without + "\nprogramme: yinchaun-2025\n", "plan.yaml")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('programme: pingluo-2025\nbatch: "3"\n', "batch: pingluo-2025 has no batch '3'"),
        ('programme: 市级技改\nbatch: "1"\n', "is no programme whose batches are known"),
        ("programme: pingluo-2025\nassets: [gw-01, gw-01]\n", r"assets\[1\]: 'gw-01' stands twice"),
        ("programme: pingluo-2025\nassets: [GW 01]\n", r"assets\[0\]: string should match pattern"),
    ],
)
def test_batch_and_assets_of_a_plan_are_checked(retrofit_text: str, more: str, message: str) -> None:
    without = re.sub(r"^programme:.*\n", "", retrofit_text, flags=re.MULTILINE)
    with pytest.raises((DocumentError, PlanError), match=message):
        load_plan(f"{without}\n{more}", "plan.yaml")
    plan = load_plan(f'{without}\nprogramme: pingluo-2025\nbatch: "2"\nassets: [gw-01, gw-02]\n', "plan.yaml")
    assert (plan.batch, plan.assets) == ("2", ("gw-01", "gw-02"))
