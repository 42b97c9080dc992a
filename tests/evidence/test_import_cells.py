"""Numbers, units and times of cells: what a person wrote is what is read, and what could be two things is refused."""

from __future__ import annotations

import contextlib
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.imports.cells import column_index, column_letters
from evidence.imports.moments import DAY_SECONDS, EPOCH, MomentError, read_clock, read_moment, read_month
from evidence.imports.numbers import Amount, NumberError, decimal_sign, read_number
from evidence.imports.units import UnitError, conversion, known_unit, stated_unit, unit_in_header

FULL_WIDTH = str.maketrans("0123456789.,-", "０１２３４５６７８９．，－")
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=4, allow_nan=False, allow_infinity=False)
DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))
SECONDS = st.integers(0, DAY_SECONDS - 1)


@given(AMOUNTS)
def test_a_number_is_read_however_it_is_grouped(value: Decimal) -> None:
    comma, point = f"{value:,}", f"{value:,}".translate(str.maketrans(",.", ".,"))
    for text in (str(value), comma, comma.replace(",", "，"), comma.replace(",", " "), comma.translate(FULL_WIDTH)):
        assert read_number(text) == Amount(value)
    assert read_number(point, ",") == Amount(value)
    assert read_number(f" {comma} kWh ") == Amount(value, "kWh")


@given(AMOUNTS.filter(lambda value: value >= 0))
def test_brackets_of_accountants_are_a_minus(value: Decimal) -> None:
    assert read_number(f"({value:,})") == Amount(-value)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_cell_is_the_decimal_that_was_typed(value: float) -> None:
    amount = read_number(value)
    assert amount is not None
    assert float(amount.value) == value


@given(st.text(max_size=80))
def test_any_text_is_a_number_a_blank_or_an_error(text: str) -> None:
    try:
        amount = read_number(text)
    except NumberError:
        return
    assert amount is None or amount.value.is_finite()


@pytest.mark.parametrize("text", ["", " ", "-", "—", "——", "/", "无", "N/A", "－", "…", "null", "#N/A"])
def test_blanks_are_no_value(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    "text", ["1,23", "1,234,56", "1.2.3", "12-3", "约500", "+", "#REF!", "#DIV/0!", "1e400", "1/2", "e5", ".e5", "."]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(NumberError):
        read_number(text)


@pytest.mark.parametrize("cell", [True, date(2025, 3, 1), time(8), float("nan"), float("inf")])
def test_cells_of_another_kind_are_no_numbers(cell: bool | date | time | float) -> None:
    with pytest.raises(NumberError):
        read_number(cell)


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["1.234,5", "7"], ","),
        (["12,5", "13,75"], ","),
        (["1,234.5"], "."),
        (["1.5", "2.25"], "."),
        (["1,234", "5,678"], None),
        (["12", "13"], None),
        (["1.5", "2,5"], None),
    ],
)
def test_the_decimal_sign_is_known_only_when_one_alone_fits(texts: list[str], sign: str | None) -> None:
    assert decimal_sign(texts) == sign


@pytest.mark.parametrize(
    ("value", "given", "wanted", "result"),
    [
        ("1.234", "万度", "kWh", "12340"),
        ("0.5", "万kWh", "MWh", "5"),
        ("1", "亿千瓦时", "kWh", "100000000"),
        ("12", "KWH", "kWh", "12"),
        ("12", "千瓦·时", "kWh", "12"),
        ("1500", "千克", "t", "1.5"),
        ("1500", "公斤", "t", "1.5"),
        ("2", "吨", "kg", "2000"),
        ("7.1", "万元", "CNY", "71000"),
        ("3", "万件", "piece", "30000"),
        ("3", "m³", "m3", "3"),
        ("3", "㎥", "L", "3000"),
        ("3", "万箱", "箱", "30000"),
        ("90", "min", "h", "1.5"),
        ("3.6", "GJ", "kWh", "1000"),
        ("25", "℃", "degF", "77"),
        ("50", "华氏度", "degC", "10"),
        ("300", "K", "degC", "26.85"),
    ],
)
def test_units_convert_exactly(value: str, given: str, wanted: str, result: str) -> None:
    assert float(conversion(given, wanted)(Decimal(value))) == pytest.approx(float(result), rel=1e-15)


@pytest.mark.parametrize(
    ("given", "wanted"), [("箱", "件"), ("kvarh", "kWh"), ("Nm3", "m3"), ("mW", "kW"), ("t", "kWh"), ("T", "t")]
)
def test_units_that_are_not_the_same_thing_do_not_convert(given: str, wanted: str) -> None:
    with pytest.raises(UnitError):
        conversion(given, wanted)


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        ("用电量(万kWh)", "用电量", "万kWh"),
        ("用电量（万 kWh）", "用电量", "万kWh"),
        ("电量/kWh", "电量", "kWh"),
        ("产量【件】", "产量", "件"),
        ("产量(合格)", "产量(合格)", None),
        ("开始/结束", "开始/结束", None),
        ("(kWh)", "", "kWh"),
        ("气温（单位：℃）", "气温", "°C"),
    ],
)
def test_a_header_gives_up_its_unit(header: str, name: str, unit: str | None) -> None:
    assert unit_in_header(header) == (name, unit)


def test_the_unit_above_a_table_is_found_behind_its_word() -> None:
    assert stated_unit("编制单位：示例公司  单位：万千瓦时") == "万千瓦时"
    assert stated_unit("编制单位：示例公司") is None
    assert known_unit("") is None


@given(DAYS)
def test_a_day_is_read_however_it_is_written(day: date) -> None:
    forms = (
        f"{day.year}年{day.month}月{day.day}日",
        f"{day:%Y}年{day:%m}月{day:%d}日",
        f"{day.year}/{day.month}/{day.day}",
        f"{day:%Y-%m-%d}",
        f"{day.year}.{day:%m}.{day:%d}",
        f"{day:%Y%m%d}",
        f"{day:%Y-%m-%d} 星期一",
        f"{day.year}年{day.month}月{day.day}日".translate(FULL_WIDTH),
        float(f"{day:%Y%m%d}"),
        day,
        datetime.combine(day, time(0)),
    )
    for form in forms:
        assert read_moment(form).day == day
        assert not read_moment(form).seconds
    assert read_moment(f"{day.month}月{day.day}日", day.year).day == day


@given(DAYS, SECONDS)
def test_a_spreadsheet_number_is_the_second_that_was_typed(day: date, seconds: int) -> None:
    number = (day - EPOCH).days + seconds / DAY_SECONDS
    found = read_moment(number)
    assert (found.day, found.seconds or 0) == (day, seconds)


@given(DAYS, st.floats(min_value=-0.4, max_value=0.4))
def test_midnight_survives_the_noise_of_a_fraction(day: date, noise: float) -> None:
    at = datetime.combine(day, time(0)) + timedelta(milliseconds=round(1000 * noise))
    found = read_moment(at)
    assert (found.day, found.seconds or 0) == (day, 0)


@given(DAYS, SECONDS)
def test_date_and_time_of_day_in_one_text(day: date, seconds: int) -> None:
    at = datetime.combine(day, time(0)) + timedelta(seconds=seconds)
    for form in ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y年%m月%d日 %H时%M分%S秒", "%Y-%m-%dT%H:%M:%S"):
        assert read_moment(at.strftime(form)).local == at
    zoned = read_moment(at.strftime("%Y-%m-%dT%H:%M:%S+08:00"))
    assert zoned.offset == timedelta(hours=8)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    for read in (lambda: read_moment(text, 2025), lambda: read_month(text, 2025), lambda: read_clock(text)):
        with contextlib.suppress(MomentError):
            read()


@pytest.mark.parametrize(
    "text",
    ["03/04/2025", "2025-02-30", "2025-13-01", "25年3月1日", "合计", "2025-03-01 25:00", "3月1日", "", "2025-03-01x"],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(MomentError):
        read_moment(text)


@pytest.mark.parametrize(
    "cell", ["2025年3月", "2025年3月份", "2025-03", "2025/3", "202503", 202503.0, date(2025, 3, 1), "3月"]
)
def test_a_month_is_read_however_it_is_written(cell: str | float | date) -> None:
    assert read_month(cell, 2025) == date(2025, 3, 1)


@pytest.mark.parametrize("cell", [2025.1, "2025.13", "2025年3月2日", date(2025, 3, 2), "一月"])
def test_what_is_no_month_is_refused(cell: str | float | date) -> None:
    with pytest.raises(MomentError):
        read_month(cell, 2025)


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("24:00", 86_400),
        (date(1900, 1, 1), 86_400),
        (timedelta(days=1), 86_400),
        (time(23, 59, 59, 991_000), 86_400),
        (0.9999999, 86_400),
        (time(0), 0),
        (date(2025, 3, 1), 0),
        ("0:15", 900),
        (0.5, 43_200),
        (8, 28_800),
        (24.0, 86_400),
        ("下午3:05", 54_300),
        ("3:05 PM", 54_300),
        ("12:00 AM", 0),
        ("8时", 28_800),
        (datetime(2025, 3, 1, 8, 15), 29_700),  # noqa: DTZ001
    ],
)
def test_a_time_of_day_and_all_faces_of_midnight(cell: str | float | date | time | timedelta, seconds: int) -> None:
    assert read_clock(cell) == (seconds, None)


@pytest.mark.parametrize(
    "cell",
    ["25:00", "24:01", "8:60", "13:00 PM", "noon", 25, True, timedelta(days=2), datetime(1900, 1, 1, 12)],  # noqa: DTZ001
)
def test_what_is_no_time_of_day_is_refused(cell: str | float | bool | timedelta | datetime) -> None:
    with pytest.raises(MomentError):
        read_clock(cell)


@given(st.integers(0, 16_383))
def test_columns_are_named_as_in_a_spreadsheet(column: int) -> None:
    assert column_index(column_letters(column)) == column
