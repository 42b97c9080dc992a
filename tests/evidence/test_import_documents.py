"""Documents as people hand them in: each file shows one thing, with the values or the errors that it must give."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.errors import ImportFileError, ImportRowsError, MappingError
from evidence.imports.mapping import load_mapping
from evidence.imports.mapping_schema import mapping_schema_text
from evidence.imports.proposal import propose
from evidence.imports.reading import read_bytes
from evidence.imports.rows import ImportedRows, checked, take_rows
from wire.errors import DocumentError, ShopfloorError

OTHERWISE = {"bills_of_months_closed_on_the_25th.csv"}
"""On which day a bill is closed stands nowhere in the document."""
HERE = Path(__file__).parent / "documents"
SCHEMA = Path(__file__).parents[2] / "evidence" / "imports" / "schema" / "mapping.json"
FORMS = (".csv", ".xlsx")
BY_HAND = {"shift_calendar.csv", "wrong_rows_left_out.csv"}
"""Documents without a number, or with too few readable ones, to propose anything from."""


def expected(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / f"expected_{folder}.yaml").read_text(encoding="utf-8"))
    return found


def names(folder: str) -> list[str]:
    return sorted(path.name for path in (HERE / folder).iterdir() if path.suffix in FORMS)


def taken(folder: str, name: str) -> ImportedRows:
    path = HERE / folder / name
    mapping = path.with_name(f"{path.stem}.mapping.yaml")
    return take_rows(
        read_bytes(path.read_bytes(), path.name), load_mapping(mapping.read_text(encoding="utf-8"), mapping)
    )


def written(rows: ImportedRows) -> list[str]:
    def local(time_ms: int) -> str:
        return datetime.fromtimestamp(time_ms / 1000, rows.mapping.zone).strftime("%Y-%m-%d %H:%M")

    return [f"{one.row} {one.series} {local(one.start_ms)} {local(one.end_ms)} {one.value:.10g}" for one in rows.values]


@pytest.mark.parametrize("name", names("valid"))
def test_a_document_gives_these_values_and_nothing_else(name: str) -> None:
    rows, told = taken("valid", name), expected("valid")[name]
    assert written(rows) == told["values"]
    assert [f"{one.row}: {one.why}" for one in rows.left_out] == told.get("left_out", [])
    assert rows.problem_lines == told.get("problems", [])
    assert checked(rows) is rows


@pytest.mark.parametrize("name", names("invalid"))
def test_a_wrong_document_is_refused_with_cell_and_advice(name: str) -> None:
    told = expected("invalid")[name]
    with pytest.raises((ImportRowsError, ImportFileError)) as caught:
        checked(taken("invalid", name))
    assert str(caught.value).splitlines() == (told.get("problems") or [told["error"]])
    assert caught.value.exit_code == 2


def test_every_expectation_has_its_document() -> None:
    for folder in ("valid", "invalid"):
        assert sorted(expected(folder)) == names(folder)


@pytest.mark.parametrize("name", [one for one in names("valid") if one not in BY_HAND])
def test_what_is_proposed_is_a_mapping_that_reads_the_document(name: str) -> None:
    path = HERE / "valid" / name
    document = read_bytes(path.read_bytes(), path.name)
    proposal = propose(document)
    rows = take_rows(document, load_mapping(proposal.text, "proposal"))
    if proposal.open_questions:
        # Where the document does not tell, a question is asked.
        assert "???" in proposal.text
        return
    assert rows.problem_lines == []
    if name not in OTHERWISE:
        by_hand = {(one.start_ms, one.end_ms) for one in taken("valid", name).values}
        assert {(one.start_ms, one.end_ms) for one in rows.values} == by_hand


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("closing_midnight_of_the_same_day.xlsx", ["stamp: end", "midnight: closes", "minutes: 480"]),
        ("merged_dates_over_shifts.xlsx", ["period: shift", "shift: 班次", "夜班: '00:00-08:00'"]),
        ("rows_of_several_meters.csv", ["where: {表号: 'A002'}", "unit_column: 读数单位"]),
        ("bills_by_month.xlsx", ["period: month", "column: 月份", "quantity: active_energy_import"]),
        ("bills_from_date_to_date.csv", ["period: span", "column: 起始日期", "until: 截止日期"]),
        ("semicolons_and_decimal_comma.csv", ["decimal: ','"]),
        ("readings_of_a_register.csv", ["period: reading", "multiplier: 80"]),
        ("time_spans_in_a_column.csv", ["clock: 时段", "fill_down: true", "minutes: 360"]),
        ("two_sheets_and_a_hidden_one.xlsx", ["sheet: 数据", "quantity: temperature", "unit: degC"]),
        ("merged_header.xlsx", ["header: {row: 4, rows: 3}", "column: 产量 合格"]),
    ],
)
def test_the_proposal_sees_what_the_content_shows(name: str, lines: list[str]) -> None:
    text = propose(read_bytes((HERE / "valid" / name).read_bytes(), name)).text
    for line in lines:
        assert line in text


def test_a_year_that_stands_nowhere_is_asked_for() -> None:
    proposal = propose(read_bytes("日期,用电量(kWh)\n3月1日,500\n3月2日,510\n".encode(), "report.csv"))
    assert any("no year" in question for question in proposal.open_questions)
    assert "??? dates such as '3月1日' have no year" in proposal.text


def test_a_unit_that_stands_nowhere_is_asked_for() -> None:
    proposal = propose(read_bytes("日期,用电量\n2025-03-01,500\n2025-03-02,510\n".encode(), "report.csv"))
    assert any("states no unit" in question for question in proposal.open_questions)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (b"PK\x03\x04 no zip at all", "is damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 a workbook of 2003", "is an Excel file of the old format"),
        (b"\xff\xff\x80\x81\x00", "no text in UTF-8 or GB18030"),
        (b'a,b\n1,"open\n2,3\n', "not readable as CSV"),
        (b"%PDF-1.7 \x00\xff\xfe\xfd", "no text in UTF-8 or GB18030"),
    ],
)
def test_bytes_that_are_no_document_are_refused_by_name(content: bytes, what: str) -> None:
    with pytest.raises(ImportFileError, match=what) as caught:
        read_bytes(content, "document")
    assert str(caught.value).startswith("document")
    assert caught.value.exit_code == 2


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_document_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    """Bytes of a real document, some of them changed: never another exception than that of a wrong document."""
    name = data.draw(st.sampled_from(names("valid")))
    content = bytearray((HERE / "valid" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImportFileError, ImportRowsError):
        propose(read_bytes(bytes(content), name))


def test_the_name_of_a_file_does_not_decide_what_it_is() -> None:
    data = (HERE / "valid" / "merged_header.xlsx").read_bytes()
    assert read_bytes(data, "misnamed.csv").sheets[0].name == "生产日报"
    text = (HERE / "valid" / "tabs_and_utf16.csv").read_bytes()
    assert (read_bytes(text, "misnamed.xlsx").encoding, read_bytes(text, "x").delimiter) == ("utf-16", "\t")


def test_the_hash_is_that_of_the_bytes() -> None:
    assert read_bytes(b"abc", "x").sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


MAPPING = """mapping: 1
name: report
time: {period: day, column: 日期}
series:
  energy: {column: 用电量, quantity: active_energy_import, unit: kWh}
"""


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("column: 日期", "colum: 日期", "mapping.yaml:3: time.colum: unknown key; did you mean 'column'?"),
        ("active_energy_import", "active_energy", "unknown quantity; did you mean 'active_energy_import'?"),
        ("unit: kWh}", "unit: kW}", "mapping.yaml:5: series.energy.unit: 'kW' is no unit of active_energy_import"),
        ("unit: kWh}", "unit: kWh, given_in: kvarh}", "series.energy.given_in: 'kvarh' does not convert into 'kWh'"),
        ("period: day", "period: shift", "time.shift: is missing: a shift needs the column with the name of the shift"),
        ("period: day", "period: interval", "time.minutes: is missing"),
        ("period: day", "period: span", "time.until: is missing"),
        ("period: day", "period: day, minutes: 15", "time.minutes: says nothing about a day; remove it"),
        ("period: day", "period: interval, minutes: 7", "does not divide a day evenly"),
        ("name: report", "name: report\nday_start: 8:10", "is no quarter of an hour"),
        ("name: report", "name: report\ntimezone: Asia/Bejing", "no such time zone"),
        ("{column: 用电量, ", "{", "series.energy.column: is missing: only a duration"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused_with_its_line(old: str, new: str, what: str) -> None:
    with pytest.raises((MappingError, DocumentError)) as caught:
        load_mapping(MAPPING.replace(old, new), "mapping.yaml")
    assert what in str(caught.value)
    assert isinstance(caught.value, ShopfloorError)


@pytest.mark.parametrize(
    ("shifts", "what"),
    [
        ("{}", "shifts: is missing"),
        ("{夜班: '22:00-06:00'}", "goes on after 00:00, when the next production day begins"),
        ("{早班: '08:00-16:00', 白班: '10:00-18:00'}", "is at the same time as 早班"),
        ("{早班: 8-16}", "is no span of a day"),
    ],
)
def test_shifts_that_cannot_be_are_refused(shifts: str, what: str) -> None:
    text = MAPPING.replace("period: day", "period: shift, shift: 班次") + f"shifts: {shifts}\n"
    with pytest.raises((MappingError, DocumentError), match="shifts"):
        load_mapping(text, "mapping.yaml")
    with pytest.raises((MappingError, DocumentError)) as caught:
        load_mapping(text, "mapping.yaml")
    assert what in str(caught.value)


def test_the_published_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == mapping_schema_text()
