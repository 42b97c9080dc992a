"""A first mapping for a document, proposed from its content: valid as it stands, each line with its reason.

A proposal is read by a person before anything is imported. Where the content does not tell, the proposal says so in a
comment, and the preview names what is missing; nothing is imported by a guess that nobody has seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import PurePath

import yaml

from evidence.errors import ImportRowsError
from evidence.imports.cells import Cell, Document, Sheet, cell_text, is_empty
from evidence.imports.header import Column, Header, HeaderError, find_header, is_total
from evidence.imports.moments import MomentError, read_clock, read_moment, read_month
from evidence.imports.numbers import DecimalSign, NumberError, decimal_sign, is_blank, read_number
from evidence.imports.units import UnitError, conversion, known_unit
from evidence.quantities import QUANTITIES

SAMPLE_ROWS = 3000
MOST = 0.8
"""A column is of a kind when this share of its cells is."""
HALF = 0.5
"""Of numbers half are enough: what stands among them is an error for the preview to name."""
MOST_SERIES = 20
"""A column with more different values than these does not tell series apart."""
USUAL_SHIFTS = {
    "早班": "08:00-16:00",
    "白班": "08:00-20:00",
    "中班": "16:00-24:00",
    "夜班": "00:00-08:00",
    "晚班": "00:00-08:00",
}
"""Hours that are proposed where a document names shifts, to be checked: only the factory knows them."""

_YEAR = re.compile(r"(?:19|20)\d{2}")
_END = re.compile(r"止|结束|截止|终|end|until|to$", re.IGNORECASE)
_SHIFT = re.compile(r"班次|班别|班组|shift", re.IGNORECASE)
_READING = re.compile(r"读数|示数|表码|行度|止码|抄表数|表底|reading|register", re.IGNORECASE)
_QUANTITIES: tuple[tuple[str, str, str, str], ...] = (
    (r"无功|reactive|kvarh", "reactive_energy", "reactive_energy_import", "kvarh"),
    (r"功率因数|power.?factor", "power_factor", "power_factor", "1"),
    (r"功率|负荷|power|demand", "power", "active_power", "kW"),
    (r"气温|室外|温度|temp", "outdoor_temperature", "temperature", "degC"),
    (r"湿度|humidity", "humidity", "relative_humidity", "%"),
    (r"天然气|燃气|煤气|用气|gas", "gas", "gas_volume", "m3"),
    (r"蒸汽|steam", "steam", "steam_mass", "t"),
    (r"用水|水量|自来水|water", "water", "water_volume", "m3"),
    (r"热量|供热|heat", "heat", "heat_energy", "GJ"),
    (r"报废|废品|不良|次品|scrap|reject", "scrap", "scrap_count", "piece"),
    (r"返工|返修|rework", "rework", "rework_count", "piece"),
    (r"库存|存货|stock|inventory", "stock", "stock_value", "CNY"),
    (r"出库|销售成本|耗用", "goods", "goods_value", "CNY"),
    (r"计划停机|计划停", "planned_downtime", "planned_downtime", "h"),
    (r"计划.*(时间|工时|小时)|planned", "planned_time", "planned_operation_time", "h"),
    (r"(运行|开机|生产|作业).*(时间|工时|小时)|run.?time", "running", "production_time", "h"),
    (r"合格|良品|good", "good", "good_count", "piece"),
    (r"产量|产出|完工|入库|output|produc", "output", "output", "piece"),
    (r"用电|电量|电能|有功|耗电|energy|kwh|电度", "energy", "active_energy_import", "kWh"),
)
_BY_DIMENSION = {
    "energy": ("energy", "active_energy_import", "kWh"),
    "reactive energy": ("reactive_energy", "reactive_energy_import", "kvarh"),
    "temperature": ("outdoor_temperature", "temperature", "degC"),
    "power": ("power", "active_power", "kW"),
    "mass": ("output", "produced_mass", "t"),
    "count": ("output", "output", "piece"),
}


@dataclass(frozen=True)
class Proposal:
    """A mapping file, and the remarks in it that need an answer before the import."""

    text: str
    open_questions: tuple[str, ...]


@dataclass
class _Lines:
    """YAML written line by line, each with the reason behind it."""

    lines: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def add(self, text: str, why: str = "") -> None:
        self.lines.append(f"{text}   # {why}" if why else text)

    def ask(self, indent: str, question: str) -> None:
        self.lines.append(f"{indent}# ??? {question}")
        self.questions.append(question)


def propose(document: Document) -> Proposal:
    """Propose a mapping for ``document``. Raises `ImportRowsError` when no sheet looks like a table."""
    sheet, header = _table(document)
    looked = _Look(sheet, header)
    out = _Lines()
    out.add(f"# Proposed for {document.name}, SHA-256 {document.sha256[:16]}...")
    out.add("# Check every line; what is marked ??? needs an answer.")
    if document.encoding:
        out.add(f"# Read as CSV in {document.encoding}, delimiter {document.delimiter!r}.")
    out.add("mapping: 1")
    out.add(f"name: {_name(document.name)}", "what plans call it: documents: [NAME/SERIES]")
    if sheet.name and len(document.sheets) > 1:
        out.add(f"sheet: {_quoted(sheet.name)}", "of the sheets that look like a table the one with most rows")
    rows = header.data - header.first
    why = f"data begin in row {header.data + 1}, with a time and a number"
    out.add(f"header: {{row: {header.first + 1}, rows: {rows}}}", why)
    out.add("timezone: Asia/Shanghai", "times of the document are local; the usual zone")
    plan = _time_lines(looked, document, out)
    looked.decimal = _decimal(looked, plan.columns)
    if looked.decimal == ",":
        out.add("decimal: ','", "numbers are written with a decimal comma")
    _series_lines(looked, plan, out)
    return Proposal("\n".join(out.lines) + "\n", tuple(out.questions))


def _table(document: Document) -> tuple[Sheet, Header]:
    found = []
    why = f"{document.name}: has no sheet with content"
    for sheet in document.sheets:
        if sheet.hidden or not sheet.rows:
            continue
        try:
            header = find_header(sheet)
        except HeaderError as error:
            why = f"{document.name}{':' + sheet.name if sheet.name else ''}: {error}"
            continue
        found.append((sheet, header))
    if not found:
        raise ImportRowsError([why])
    return max(found, key=lambda one: len(one[0].rows) - one[1].data)


class _Look:
    """The columns of a table with what their cells look like."""

    def __init__(self, sheet: Sheet, header: Header) -> None:
        self.sheet, self.header = sheet, header
        self.decimal: DecimalSign = "."
        self.rows = [
            row
            for row in range(header.data, min(len(sheet.rows), header.data + SAMPLE_ROWS))
            if not all(is_empty(cell) for cell in sheet.rows[row])
            and not is_total(next(cell for cell in sheet.rows[row] if not is_empty(cell)))
        ]

    def cells(self, column: Column) -> list[Cell]:
        """The cells below the header that hold something; totals are left out, merged ones read as if they were not."""
        return [
            cell for row in self.rows if not is_empty(cell := self.sheet.at(row, column.index)) and not is_blank(cell)
        ]

    def text(self, row: int, column: Column) -> str:
        """A cell as a person would write it."""
        return cell_text(self.sheet.at(row, column.index))

    def share(self, column: Column, read: Callable[[Cell], object]) -> float:
        """The share of a column's cells that can be read in a way."""
        cells = self.cells(column)
        return sum(_reads(cell, read) for cell in cells) / len(cells) if cells else 0.0

    def are(self, read: Callable[[Cell], object]) -> list[Column]:
        """The columns of which most cells can be read in a way."""
        return [column for column in self.header.columns if self.share(column, read) >= MOST]


def _reads(cell: Cell, read: Callable[[Cell], object]) -> bool:
    try:
        read(cell)
    except (MomentError, NumberError):
        return False
    return True


def _day(cell: Cell) -> object:
    # Whole numbers are dates only where a header says so: 45,658 is a day, and an amount of energy.
    return read_moment(cell, 2000)


def _month(cell: Cell) -> object:
    if isinstance(cell, date):
        raise MomentError("a date is a day first")
    return read_month(cell, 2000)


@dataclass(frozen=True)
class _Time:
    """What was found of the time: its kind, and the columns that it takes."""

    period: str
    columns: tuple[Column, ...]


def _time_lines(looked: _Look, document: Document, out: _Lines) -> _Time:
    dates = [one for one in looked.are(_day) if _is_named_time(looked, one)]
    months = [one for one in looked.are(_month) if one not in dates and _is_named_time(looked, one)]
    if not dates and not months:
        raise ImportRowsError([f"{document.name}: no column looks like a date; write a mapping by hand"])
    first = (dates or months)[0]
    taken = [first]
    shift = next((one for one in looked.header.columns if _is_shift(looked, one)), None)
    clock = next((one for one in looked.are(read_clock) if one != first and _is_clock(looked, one)), None)
    until = next((one for one in dates[1:] if _END.search(one.name)), None)
    moments = [read_moment(cell, 2000) for cell in looked.cells(first) if _reads(cell, _day)] if dates else []
    timed = clock is not None or any(moment.seconds for moment in moments)
    reading = any(_READING.search(one.header) for one in looked.are(read_number))
    lines = [(f"column: {_quoted(_call(looked, first))}", f"column {first.letters} has the dates")]
    if reading and until is None:
        period, why = "reading", "a header speaks of readings of a register"
        if clock is not None:
            lines.append((f"clock: {_quoted(_call(looked, clock))}", "time of day"))
            taken.append(clock)
    elif until is not None:
        period, why = "span", f"columns {first.letters} and {until.letters} have a first and a last date"
        lines.append((f"until: {_quoted(_call(looked, until))}", "the last day is part of it"))
        taken.append(until)
    elif shift is not None:
        period, why = "shift", f"column {shift.letters} names shifts"
        lines.append((f"shift: {_quoted(_call(looked, shift))}", "names of shifts"))
        taken.append(shift)
    elif timed:
        period, why = "interval", "dates have a time of day"
        lines += _interval_lines(looked, first, clock)
        taken += [clock] if clock is not None else []
    elif not dates or _are_months(moments):
        period, why = "month", "every row is a month"
    else:
        period, why = "day", "every row is a day"
    if any(is_empty(looked.sheet.at(row, first.index)) for row in looked.rows[1:] if _has_value(looked, row, first)):
        lines.append(("fill_down: true", "cells below a date are empty: they repeat the one above"))
    _year_line(looked, document, taken, out)
    if period == "shift" and shift is not None:
        _shift_lines(looked, shift, out)
    out.add("time:")
    out.add(f"  period: {period}", why)
    for text, reason in lines:
        out.add(f"  {text}", reason)
    return _Time(period, tuple(taken))


def _is_named_time(looked: _Look, column: Column) -> bool:
    """Whether a column of numbers that could be dates is called a date; texts and dates need no name."""
    if re.search(r"日|时|月|期|date|day|time|month", column.header, re.IGNORECASE):
        return True
    return not all(isinstance(cell, int | float) for cell in looked.cells(column))


def _is_shift(looked: _Look, column: Column) -> bool:
    texts = {cell_text(cell) for cell in looked.cells(column)}
    named = _SHIFT.search(column.header) is not None
    return bool(texts) and len(texts) <= 6 and (named or texts <= set(USUAL_SHIFTS))


def _is_clock(looked: _Look, column: Column) -> bool:
    cells = looked.cells(column)
    if all(isinstance(cell, int | float) for cell in cells):
        return re.search(r"时间|时刻|时段|time|hour", column.header, re.IGNORECASE) is not None and not column.unit
    return all(isinstance(cell, time | timedelta | str) or _is_day_one(cell) for cell in cells)


def _is_day_one(cell: Cell) -> bool:
    return isinstance(cell, date) and cell.year <= 1900


def _has_value(looked: _Look, row: int, time_column: Column) -> bool:
    others = [looked.sheet.rows[row][one.index] for one in looked.header.columns if one != time_column]
    return any(isinstance(cell, int | float) or _reads(cell, read_number) for cell in others if not is_empty(cell))


def _are_months(moments: Sequence[object]) -> bool:
    days = [moment.day for moment in moments if hasattr(moment, "day")]
    return len(days) > 1 and all(day.day == 1 for day in days) and len(set(days)) == len(days)


def _interval_lines(looked: _Look, first: Column, clock: Column | None) -> Iterator[tuple[str, str]]:
    stamps: list[tuple[date, int]] = []
    lengths: Counter[int] = Counter()
    above: Cell = ""
    for row in looked.rows:
        cell = looked.sheet.at(row, first.index)
        above = above if is_empty(cell) else cell
        try:
            moment = read_moment(above, 2000)
            seconds = moment.seconds or 0
            if clock is not None:
                seconds, end = read_clock(looked.sheet.at(row, clock.index))
                lengths.update([] if end is None else [round((end - seconds) / 60)])
        except MomentError:
            continue
        stamps.append((moment.day, seconds))
    if clock is not None:
        yield f"clock: {_quoted(_call(looked, clock))}", f"column {clock.letters} has the time of day"
    times = [datetime.combine(day, time(0)) + timedelta(seconds=seconds) for day, seconds in stamps]
    steps = lengths or Counter(round((b - a).total_seconds() / 60) for a, b in pairwise(times) if b > a)
    minutes = min(steps, key=lambda step: (-steps[step], step), default=60)
    if minutes <= 0 or minutes > 720 or 1440 % minutes:
        minutes = 60
    yield f"minutes: {minutes}", "the most frequent distance of two rows"
    backwards = any(a[0] == b[0] and a[1] > 0 and b[1] == 0 for a, b in pairwise(stamps))
    # A table of ends has no 00:00 that opens its first day; its last row closes the day.
    ends = not lengths and (
        backwards or any(seconds == 86_400 for _, seconds in stamps) or _END.search((clock or first).name) is not None
    )
    if ends:
        yield "stamp: end", "rows run up to 24:00: a time is the end of its interval"
    if backwards:
        yield "midnight: closes", "00:00 stands last in its day: it is 24:00"


def _year_line(looked: _Look, document: Document, columns: Sequence[Column], out: _Lines) -> None:
    cells = [cell for column in columns for cell in looked.cells(column) if isinstance(cell, str)]
    without = [cell for cell in cells if not _YEAR.search(cell) and (_reads(cell, _day) or _reads(cell, _month))]
    if not without:
        return
    above = [cell_text(cell) for row in looked.sheet.rows[: looked.header.data] for cell in row if not is_empty(cell)]
    found = next((year for text in (*above, looked.sheet.name, document.name) if (year := _YEAR.search(text))), None)
    if found:
        out.add(f"year: {found[0]}", f"dates such as '{without[0]}' have none; it stands in the title or file name")
    else:
        out.ask("", f"dates such as '{without[0]}' have no year, and none is stated: write 'year: 2025'")


def _shift_lines(looked: _Look, shift: Column, out: _Lines) -> None:
    names = list(dict.fromkeys(cell_text(cell) for cell in looked.cells(shift)))
    out.ask("", "hours of the shifts are not in the document; those below are usual, correct them")
    out.add("day_start: '08:00'", "when the first shift begins: a night shift belongs to the day before it")
    out.add("shifts:")
    free = iter(["08:00-16:00", "16:00-24:00", "00:00-08:00"])
    for name in names:
        hours = USUAL_SHIFTS.get(name) or next(free, "08:00-16:00")
        out.add(f"  {_quoted(name)}: '{hours}'")


def _decimal(looked: _Look, taken: Sequence[Column]) -> DecimalSign:
    """The decimal sign with which all numbers can be read, a point where that is either."""
    texts = [
        cell
        for column in looked.header.columns
        if column not in taken
        for cell in looked.cells(column)
        if isinstance(cell, str) and re.search(r"\d", cell) and len(cell) < 32
    ]
    return decimal_sign([text for text in texts if re.fullmatch(r"[\s\d.,'+-]+", text)]) or "."


def _series_lines(looked: _Look, plan: _Time, out: _Lines) -> None:
    out.add("series:")
    used: Counter[str] = Counter()
    unused = []
    told_apart = _told_apart(looked, plan)
    units = next((one for one in looked.header.columns if _names_units(looked, one)), None)
    multiplier = _multiplier(looked)
    for column in looked.header.columns:
        if column in (*plan.columns, told_apart, units) or not looked.cells(column):
            continue
        if looked.share(column, lambda cell: read_number(cell, looked.decimal)) < HALF:
            unused.append(f"{column.shown}: no numbers")
            continue
        meaning = _meaning(column, looked.header.unit)
        if meaning is None:
            unused.append(f"{column.shown}: not known what it is")
            continue
        for which in _values_of(looked, told_apart) if told_apart is not None else [None]:
            name, quantity, unit, why = meaning
            used[name] += 1
            out.add(f"  {name if used[name] == 1 else f'{name}_{used[name]}'}:", why)
            out.add(f"    column: {_quoted(_call(looked, column))}")
            out.add(f"    quantity: {quantity}")
            out.add(f"    unit: {_quoted(unit)}")
            if which is not None and told_apart is not None:
                where = f"{{{_quoted(_call(looked, told_apart))}: {_text_of(which)}}}"
                out.add(f"    where: {where}", "every time has a row for each of them")
            if plan.period == "reading" and multiplier is not None:
                out.add(f"    multiplier: {multiplier}", "the only value of its column: CT x PT")
            if units is not None:
                out.add(f"    unit_column: {_quoted(_call(looked, units))}", "names the unit of every row")
            else:
                _unit_lines(looked, column, unit, bool(QUANTITIES[quantity].units), out)
    if not used:
        out.ask("  ", "no column was recognised; name one yourself, as below")
        out.add("  value: {column: B, quantity: output, unit: piece}")
    for reason in unused:
        out.add(f"  # not used: column {reason}")


def _told_apart(looked: _Look, plan: _Time) -> Column | None:
    """The column by which rows of the same time are told apart (a meter, a machine); None where times are alone."""
    times = [tuple(looked.text(row, one) for one in plan.columns) for row in looked.rows]
    if len(set(times)) == len(times) or any("" in one for one in times):
        return None
    for column in looked.header.columns:
        values = _values_of(looked, column)
        keys = {(time, looked.text(row, column)) for time, row in zip(times, looked.rows, strict=True)}
        if column not in plan.columns and 1 < len(values) <= MOST_SERIES and len(keys) == len(times):
            return column
    return None


def _values_of(looked: _Look, column: Column) -> list[str]:
    return list(dict.fromkeys(cell_text(cell) for cell in looked.cells(column)))


def _multiplier(looked: _Look) -> str | None:
    """The factor of a column 倍率 that has the same one in every row."""
    column = next((one for one in looked.header.columns if re.search(r"倍率|CT.?PT", one.header)), None)
    values = [] if column is None else _values_of(looked, column)
    return values[0] if len(values) == 1 and re.fullmatch(r"\d+(\.\d+)?", values[0]) else None


def _names_units(looked: _Look, column: Column) -> bool:
    texts = _values_of(looked, column)
    return bool(texts) and all(not re.search(r"\d", text) and known_unit(text) is not None for text in texts)


def _text_of(value: str) -> str:
    """A text that stays a text in YAML, also where it looks like a number."""
    return "'" + value.replace("'", "''") + "'"


def _unit_lines(looked: _Look, column: Column, unit: str, needed: bool, out: _Lines) -> None:
    if column.unit is not None or any(_has_unit(cell, looked.decimal) for cell in looked.cells(column)):
        return
    if not needed or (looked.header.unit is not None and _converts(looked.header.unit, unit)):
        return
    out.add(f"    given_in: {_quoted(unit)}")
    out.ask("    ", f"column {column.shown} states no unit: is it {unit}?")


def _has_unit(cell: Cell, decimal: DecimalSign) -> bool:
    try:
        amount = read_number(cell, decimal)
    except NumberError:
        return False
    return amount is not None and bool(amount.unit)


def _meaning(column: Column, stated: str | None) -> tuple[str, str, str, str] | None:
    """Name, quantity, unit of a series, and why, from header and unit."""
    unit = known_unit(column.unit or "") or (known_unit(stated) if stated else None)
    if unit is not None and column.unit and unit.dimension == "money":
        found = re.search(r"库存|存货|出库|stock|inventory", column.header, re.IGNORECASE)
        if not found:
            return None
    for pattern, name, quantity, default in _QUANTITIES:
        match = re.search(pattern, column.header, re.IGNORECASE)
        if not match:
            continue
        if column.unit and not _converts(column.unit, default):
            break
        return name, quantity, default, f"the header says {match[0]}"
    own = known_unit(column.unit) if column.unit else None
    if own is not None and own.dimension in _BY_DIMENSION:
        return (*_BY_DIMENSION[own.dimension], f"its unit is {column.unit}")
    return None


def _converts(given: str, wanted: str) -> bool:
    try:
        conversion(given, wanted)
    except UnitError:
        return False
    return True


def _call(looked: _Look, column: Column) -> str:
    """What the mapping calls a column: its header, or its letters where that is not the only one."""
    try:
        if looked.header.column(column.name) is column:
            return column.name
    except HeaderError:
        pass
    return column.letters


def _name(file_name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", PurePath(file_name).stem.lower()).strip("-")[:48]
    return plain or "document"


def _quoted(text: str) -> str:
    written = yaml.safe_dump(text, allow_unicode=True, default_flow_style=True, width=10_000)
    return written.removesuffix("\n").removesuffix("\n...").strip()
