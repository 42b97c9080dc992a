"""Makes the workbooks of this folder: ``python make_workbooks.py``. Each is named after what it shows.

openpyxl writes them, calamine reads them: two implementations of the format that share nothing.
"""

from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.worksheet import Worksheet

HERE = Path(__file__).parent
DAY, MOMENT, CLOCK = "yyyy-mm-dd", "yyyy-mm-dd hh:mm", "h:mm"


def book(title: str = "Sheet1") -> tuple[Workbook, Worksheet]:
    made = Workbook()
    sheet = made.active
    assert isinstance(sheet, Worksheet)
    sheet.title = title
    return made, sheet


def put(sheet: Worksheet, cell: str, value: Any, form: str | None = None) -> None:
    sheet[cell] = value
    if form is not None:
        sheet[cell].number_format = form


def excel_midnight() -> Workbook:
    """Quarters of two days; midnight is once read as a date, and once a fraction a hair below the next day."""
    made, sheet = book()
    sheet.append(["时间", "电量(kWh)"])
    for row, (stamp, value) in enumerate(
        [
            (45717.0, 10),  # 2025-03-01 00:00, read as a date
            (45717.25, 20),
            (45717.5, 30),
            (45717.75, 40),
            (45717.99999999, 50),  # what a formula makes of 2025-03-02 00:00
            (45718.2500000001, 60),
            (45718.4999999999, 70),
            (45718.75, 80),
        ],
        start=2,
    ):
        put(sheet, f"A{row}", stamp, MOMENT)
        sheet[f"B{row}"] = value
    return made


def midnight_in_a_clock_column() -> Workbook:
    """Date and time in columns of their own; times are ends of intervals, and the day closes with 24:00 = 1.0."""
    made, sheet = book()
    sheet.append(["日期", "时间", "电量(kWh)"])
    row = 2
    for day in (date(2025, 3, 1), date(2025, 3, 2)):
        for clock, value in ((0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)):
            put(sheet, f"A{row}", day, DAY)
            put(sheet, f"B{row}", clock, CLOCK)
            sheet[f"C{row}"] = value
            row += 1
    return made


def midnight_as_nearly_one() -> Workbook:
    """The same with the closing midnight as 0.9999999, and as the duration 24:00:00."""
    made, sheet = book()
    sheet.append(["日期", "时刻", "电量(kWh)"])
    row = 2
    for day, last, form in ((date(2025, 3, 1), 0.9999999, CLOCK), (date(2025, 3, 2), timedelta(days=1), "[h]:mm:ss")):
        for clock, value in ((0.5, 7), (last, 8)):
            put(sheet, f"A{row}", day, DAY)
            put(sheet, f"B{row}", clock, form if clock is last else CLOCK)
            sheet[f"C{row}"] = value
            row += 1
    return made


def closing_midnight_of_the_same_day() -> Workbook:
    """Each day's last row says 00:00 of the day that it closes."""
    made, sheet = book()
    sheet.append(["日期", "时间", "电量(kWh)"])
    row = 2
    for day in (date(2025, 3, 1), date(2025, 3, 2)):
        for clock, value in ((time(8), 1), (time(16), 2), (time(0), 3)):
            put(sheet, f"A{row}", day, DAY)
            put(sheet, f"B{row}", clock, CLOCK)
            sheet[f"C{row}"] = value
            row += 1
    return made


def merged_header() -> Workbook:
    """Title and remark lines, a header of two rows with merged cells, units in a third, empty rows and a total."""
    made, sheet = book("生产日报")
    sheet["A1"] = "示例新材料有限公司 2025年3月生产日报"
    sheet.merge_cells("A1:E1")
    sheet["A2"] = "编制部门：生产部"
    sheet["D2"] = "编制日期：2025-04-01"
    sheet["A4"] = "日期"
    sheet.merge_cells("A4:A5")
    sheet["B4"] = "产量"
    sheet.merge_cells("B4:C4")
    sheet["D4"] = "用电量"
    sheet.merge_cells("D4:D5")
    sheet["E4"] = "备注"
    sheet.merge_cells("E4:E5")
    sheet["B5"], sheet["C5"] = "合格", "报废"
    sheet["B6"], sheet["C6"], sheet["D6"] = "件", "件", "(万kWh)"
    rows = [
        (date(2025, 3, 1), 1200, 12, 0.52, None),
        (date(2025, 3, 2), "1,350", 9, 0.55, "夜班检修"),
        None,
        (date(2025, 3, 3), "—", "/", 0.11, "停产"),
        (date(2025, 3, 4), 1100, 0, 0.4975, None),
    ]
    for row, cells in enumerate(rows, start=7):
        for column, value in zip("ABCDE", cells or (), strict=False):
            put(sheet, f"{column}{row}", value, DAY if column == "A" else None)
    sheet["A12"], sheet["B12"], sheet["C12"], sheet["D12"] = "合计", 3650, 21, 1.6775
    sheet["A14"] = "制表人：张三"
    sheet["D14"] = "审核：李四"
    return made


def merged_dates_over_shifts() -> Workbook:
    """A date is merged over the rows of its shifts; the night shift after midnight belongs to it."""
    made, sheet = book("班次产量")
    sheet.append(["日期", "班次", "产量（件）"])
    row = 2
    for day in (date(2025, 3, 1), date(2025, 3, 2)):
        put(sheet, f"A{row}", day, DAY)
        for shift, value in (("早班", 400), ("中班", 380), ("夜班", 350)):
            sheet[f"B{row}"], sheet[f"C{row}"] = shift, value + row
            row += 1
        sheet.merge_cells(f"A{row - 3}:A{row - 1}")
    return made


def bills_by_month() -> Workbook:
    """Bills by month with money beside the energy, unit of the energy above the table, months as dates."""
    made, sheet = book("电费")
    sheet["A1"] = "2025年电费台账"
    sheet["C2"] = "单位：万千瓦时"
    sheet.append(["月份", "电量", "电费(万元)"])
    for month in range(1, 7):
        sheet.append([None, 12.5 + month / 10, 7.1])
        put(sheet, f"A{month + 3}", date(2025, month, 1), 'yyyy"年"m"月"')
    sheet.append(["合计", 77.1, 42.6])
    return made


def serial_dates_without_format() -> Workbook:
    """Dates whose format was lost: bare numbers of days."""
    made, sheet = book()
    sheet.append(["日期", "用电量/kWh"])
    for day in range(3):
        sheet.append([45717 + day, 5000 + day])
    return made


def days_counted_from_1904() -> Workbook:
    """A workbook that began its life on an old Macintosh: bare numbers and formatted cells count from 1904."""
    made, sheet = book()
    made.epoch = CALENDAR_MAC_1904
    sheet.append(["日期", "用电量(kWh)"])
    for day in range(2):
        sheet.append([44255 + day, 5000 + day])
    put(sheet, "A4", 44257, DAY)
    sheet["B4"] = 5002
    return made


def two_sheets_and_a_hidden_one() -> Workbook:
    """The table is on the second sheet; a hidden sheet holds other numbers."""
    made, sheet = book("说明")
    sheet["A1"] = "数据见第二张表"
    table = made.create_sheet("数据")
    table.append(["日期", "气温(℃)"])
    hidden = made.create_sheet("草稿")
    hidden.append(["日期", "气温(℃)"])
    for day in range(1, 5):
        table.append([date(2025, 3, day), 5.5 + day])
        hidden.append([date(2025, 3, day), 99])
    hidden.sheet_state = "hidden"
    return made


def many_mistakes() -> Workbook:
    """A formula error, a text for a number, a date that does not exist, a negative amount, a row that stands twice."""
    made, sheet = book("日报")
    sheet.append(["日期", "用电量(kWh)"])
    for cells in (
        ("2025-03-01", 500),
        ("2025-03-02", "约500"),
        ("2025-02-30", 500),
        ("2025-03-04", -5),
        ("2025-03-05", 510),
        ("2025-03-05", 511),
        ("03/04/2025", 500),
        ("2025-03-08", True),
        ("2025-03-09", "1.2.3"),
    ):
        sheet.append(list(cells))
    return made


def cell_far_away() -> Workbook:
    """A blank typed by mistake in the last cell of the sheet, 17,179,869,184 cells away."""
    made, sheet = book()
    sheet.append(["日期", "用电量(kWh)"])
    sheet.append([date(2025, 3, 1), 500])
    sheet["XFD1048576"] = " "
    return made


def merged_value() -> Workbook:
    """One number merged over two days would count twice."""
    made, sheet = book()
    sheet.append(["日期", "用电量(kWh)"])
    for day, value in ((1, 500), (2, 510), (3, None), (4, 530)):
        sheet.append([date(2025, 3, day), value])
    sheet.merge_cells("B3:B4")
    return made


def month_as_a_decimal() -> Workbook:
    """2025.1 is January, or October whose zero Excel has dropped."""
    made, sheet = book()
    sheet.append(["月份", "用电量(万度)"])
    for month, value in ((2025.09, 9), (2025.1, 10), (2025.11, 11)):
        sheet.append([month, value])
    return made


VALID = (
    excel_midnight,
    midnight_in_a_clock_column,
    midnight_as_nearly_one,
    closing_midnight_of_the_same_day,
    merged_header,
    merged_dates_over_shifts,
    bills_by_month,
    serial_dates_without_format,
    days_counted_from_1904,
    two_sheets_and_a_hidden_one,
)
INVALID = (many_mistakes, merged_value, month_as_a_decimal, cell_far_away)


def main() -> None:
    for folder, makers in (("valid", VALID), ("invalid", INVALID)):
        for maker in makers:
            maker().save(HERE / folder / f"{maker.__name__}.xlsx")


if __name__ == "__main__":
    main()
