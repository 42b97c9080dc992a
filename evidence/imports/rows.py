"""A document and its mapping become values with their periods; what cannot be read becomes an error with its cell.

Nothing is guessed and nothing is dropped in silence: every row below the header is a row of values, an error, or listed
as left out with the reason (a total, a remark, no value).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from itertools import pairwise

from evidence.errors import ImportRowsError
from evidence.imports.cells import Cell, Document, Sheet, cell_text, column_letters, is_empty
from evidence.imports.header import Column, Header, HeaderError, find_header, is_total
from evidence.imports.mapping import Mapping, PeriodKind, SeriesMapping
from evidence.imports.moments import EPOCH, EPOCH_1904, MomentError, read_clock, read_moment, read_month
from evidence.imports.numbers import Amount, NumberError, read_number
from evidence.imports.units import Conversion, UnitError, bare_prefix, conversion
from evidence.quantities import SECONDS_PER_UNIT
from evidence.table import local_ms
from wire.document import suggestion

MAXIMUM_PROBLEMS = 200
"""A wrong mapping is wrong in every row: after so many problems the rest is counted, not listed."""


@dataclass(frozen=True)
class Value:
    """One value of one series: of ``start_ms`` to ``end_ms`` (UTC, half-open), in the unit of the series. ``row`` is
    counted from 1, as a spreadsheet does; of a difference of readings it is the row of the later one."""

    series: str
    start_ms: int
    end_ms: int
    value: float
    row: int


@dataclass(frozen=True)
class RowProblem:
    """What is wrong with a cell, and what to do; ``column`` is empty where it is the whole row."""

    row: int
    column: str
    what: str


@dataclass(frozen=True)
class LeftOut:
    """A row that gave no value, and why."""

    row: int
    why: str


@dataclass(frozen=True)
class ImportedRows:
    """What a document says by its mapping. ``values`` are in order of series (as mapped) and time."""

    document: Document
    mapping: Mapping
    sheet: Sheet
    header: Header
    values: tuple[Value, ...]
    problems: tuple[RowProblem, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def usable(self) -> bool:
        """Whether the values may be taken: there are some, and no row is wrong unless the mapping leaves those out."""
        return bool(self.values) and (not self.problems or self.mapping.bad_rows == "leave_out")

    @property
    def problem_lines(self) -> list[str]:
        """One line a problem: document, sheet and cell, column, fault, what to do."""
        lines = [self._line(one) for one in self.problems[:MAXIMUM_PROBLEMS]]
        more = len(self.problems) - MAXIMUM_PROBLEMS
        return [*lines, f"... and {more} more problems"] if more > 0 else lines

    def _line(self, one: RowProblem) -> str:
        sheet = f"{self.sheet.name}!" if self.sheet.name else ""
        found = next((column for column in self.header.columns if column.letters == one.column), None)
        name = f" {found.name}" if found is not None and found.name != found.letters else ""
        return f"{self.document.name}:{sheet}{one.column}{one.row}{name}: {one.what}"

    def of(self, series: str) -> list[Value]:
        """The values of one series, by time."""
        return [value for value in self.values if value.series == series]


def take_rows(document: Document, mapping: Mapping) -> ImportedRows:
    """Read every row of ``document`` as ``mapping`` says.

    Raises `ImportRowsError` when the mapping does not fit the document at all: no such sheet or column, no table, a
    unit that is nowhere stated or does not convert. Rows that are wrong are no exception: see `ImportedRows.problems`.
    """
    sheet = _sheet(document, mapping)
    where = f"{document.name}{':' + sheet.name if sheet.name else ''}"
    stated = mapping.header
    try:
        header = find_header(sheet, None if stated is None else stated.row - 1, None if stated is None else stated.rows)
        taking = _Taking(document, mapping, sheet, header)
        taking.bind()
    except (HeaderError, UnitError) as error:
        raise ImportRowsError([f"{where}: {error}"]) from error
    if taking.unbound:
        raise ImportRowsError([f"{where}: {what}" for what in taking.unbound])
    taking.run()
    return taking.result()


def checked(rows: ImportedRows) -> ImportedRows:
    """The same rows when they may be taken. Raises `ImportRowsError` with every problem else."""
    if rows.usable:
        return rows
    raise ImportRowsError(rows.problem_lines or [f"{rows.document.name}: no row has a value; look at the preview"])


def _sheet(document: Document, mapping: Mapping) -> Sheet:
    if mapping.sheet is not None:
        found = next((sheet for sheet in document.sheets if sheet.name == mapping.sheet), None)
        if found is None:
            known = [sheet.name for sheet in document.sheets]
            raise ImportRowsError([f"{document.name}: no sheet '{mapping.sheet}'{suggestion(mapping.sheet, known)}"])
        return found
    visible = [sheet for sheet in document.sheets if not sheet.hidden and sheet.rows]
    if len(visible) != 1:
        names = ", ".join(sheet.name for sheet in visible) or "none"
        raise ImportRowsError([f"{document.name}: name the sheet in the mapping; sheets with content: {names}"])
    return visible[0]


@dataclass(frozen=True)
class _Source:
    """A series with its columns found: each value column with the conversion that its header or the mapping states
    (None: the cells or the unit column have to say)."""

    name: str
    mapping: SeriesMapping
    columns: tuple[tuple[Column, Conversion | None], ...]
    unit_column: Column | None
    where: tuple[tuple[Column, str], ...]


class _RowFault(Exception):  # noqa: N818 - control flow inside this module
    def __init__(self, column: Column, what: str) -> None:
        self.column = column
        self.what = what
        super().__init__(what)


@dataclass
class _Taking:
    """One pass over the rows of a sheet."""

    document: Document
    mapping: Mapping
    sheet: Sheet
    header: Header
    unbound: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._values: list[Value] = []
        self._readings: dict[str, list[tuple[int, Decimal, int]]] = {}
        self._problems: list[RowProblem] = []
        self._left_out: list[LeftOut] = []
        self._taken: dict[tuple[str, int, int], int] = {}
        self._above: dict[int, Cell] = {}
        self._shift_days: dict[tuple[str, date], set[str]] = {}
        self._previous_ms: int | None = None
        self._anchors = set(self.sheet.merged.values())
        self._epoch = EPOCH_1904 if self.document.date1904 else EPOCH

    def bind(self) -> None:
        """Find every column that the mapping names, and how its unit converts."""
        time = self.mapping.time
        self._time = self.header.column(time.column)
        self._clock = None if time.clock is None else self.header.column(time.clock)
        self._shift = None if time.shift is None else self.header.column(time.shift)
        self._until = None if time.until is None else self.header.column(time.until)
        self._sources = [self._source(name, series) for name, series in self.mapping.series.items()]

    def _source(self, name: str, series: SeriesMapping) -> _Source:
        unit_column = None if series.unit_column is None else self.header.column(series.unit_column)
        columns = []
        for wanted in series.columns:
            column = self.header.column(wanted)
            given = series.given_in or column.unit
            if given is None and self.header.unit is not None and unit_column is None:
                try:
                    conversion(self.header.unit, series.unit)
                    given = self.header.unit
                except UnitError:
                    given = None
            if given is None and unit_column is None and self._needs_unit(series, column):
                self.unbound.append(
                    f"column {column.shown} states no unit; write its unit as 'given_in' of the series '{name}'"
                )
                continue
            try:
                columns.append((column, None if given is None else conversion(given, series.unit)))
            except UnitError as error:
                raise UnitError(f"column {column.shown}, series '{name}': {error}") from error
        where = tuple((self.header.column(wanted), text) for wanted, text in series.where.items())
        return _Source(name, series, tuple(columns), unit_column, where)

    def _needs_unit(self, series: SeriesMapping, column: Column) -> bool:
        """Whether a value of this column would have no unit: counts and money of any name are what the plan says."""
        if not series.definition.units:
            return False
        for row in range(self.header.data, len(self.sheet.rows)):
            try:
                amount = read_number(self.sheet.at(row, column.index), self.mapping.decimal)
            except NumberError:
                continue
            if amount is not None:
                return not amount.unit
        return False

    def run(self) -> None:
        """Take the rows from the top."""
        for row in range(self.header.data, len(self.sheet.rows)):
            try:
                self._row(row)
            except _RowFault as fault:
                self._problems.append(self._problem(row, fault))
        for source in self._sources:
            self._differences(source)
        if self.mapping.missing_shift == "zero":
            self._idle_shifts()

    def _problem(self, row: int, fault: _RowFault) -> RowProblem:
        return RowProblem(row + 1, fault.column.letters, fault.what)

    def _row(self, row: int) -> None:
        cells = self.sheet.rows[row]
        if all(is_empty(cell) for cell in cells):
            return
        first = next(cell for cell in cells if not is_empty(cell))
        if is_total(first) or is_total(self.sheet.at(row, self._time.index)):
            self._left_out.append(LeftOut(row + 1, f"'{cell_text(first)}' adds up other rows"))
            return
        wanted = [source for source in self._sources if self._applies(source, row)]
        if not wanted:
            self._left_out.append(LeftOut(row + 1, "no series of the mapping is about it"))
            return
        try:
            start_ms, end_ms, day = self._period(row)
        except _RowFault:
            if any(self._has_value(source, row) for source in wanted):
                raise
            self._left_out.append(LeftOut(row + 1, "is a remark: it has neither a time nor a value"))
            return
        self._take(row, wanted, start_ms, end_ms, day)

    def _take(self, row: int, wanted: Sequence[_Source], start_ms: int, end_ms: int, day: date | None) -> None:
        """The values of a row that has a period; the row is taken whole or not at all."""
        found: list[tuple[_Source, Decimal]] = []
        faults: list[_RowFault] = []
        for source in wanted:
            try:
                value = self._value(source, row, start_ms, end_ms)
            except _RowFault as fault:
                faults.append(fault)
            else:
                found += [] if value is None else [(source, value)]
        if faults:
            self._problems += [self._problem(row, fault) for fault in faults]
        elif not found:
            self._left_out.append(LeftOut(row + 1, "has no value"))
        elif self.mapping.time.period is PeriodKind.READING:
            for source, value in found:
                self._readings.setdefault(source.name, []).append((start_ms, value, row))
        else:
            self._keep(found, row, start_ms, end_ms)
            if self._shift is not None and day is not None:
                for source, _ in found:
                    self._shift_days.setdefault((source.name, day), set()).add(self._shift_name(row))

    def _applies(self, source: _Source, row: int) -> bool:
        return all(cell_text(self.sheet.at(row, column.index)) == text.strip() for column, text in source.where)

    def _has_value(self, source: _Source, row: int) -> bool:
        """Whether a cell of the series has something of a number in it."""
        cells = [self.sheet.rows[row][column.index] for column, _ in source.columns]
        return any(any(letter.isdigit() for letter in str(cell)) for cell in cells)

    def _cell(self, row: int, column: Column) -> Cell:
        """A cell that tells the period; where the mapping says so, an empty one repeats the one above."""
        cell = self.sheet.at(row, column.index)
        if not self.mapping.time.fill_down:
            return cell
        if is_empty(cell):
            return self._above.get(column.index, cell)
        self._above[column.index] = cell
        return cell

    def _period(self, row: int) -> tuple[int, int, date | None]:
        """Start and end of the period of a row (UTC ms), and its production day where it is a day or a shift."""
        column = self._time
        cell = self._cell(row, column)
        if is_empty(cell):
            raise _RowFault(column, "has no date; write it into every row, or 'fill_down: true' into the mapping")
        kind = self.mapping.time.period
        try:
            if kind is PeriodKind.MONTH:
                return (*self._month(read_month(cell, self.mapping.year, self._epoch)), None)
            moment = read_moment(cell, self.mapping.year, self._epoch)
            if kind in (PeriodKind.INTERVAL, PeriodKind.READING):
                return (*self._clocked(row, moment.day, moment.seconds, moment.exact_ms), None)
            if moment.seconds:
                raise MomentError(f"'{cell_text(cell)}' has a time of day, but the mapping says {kind.value}")
        except MomentError as error:
            raise _RowFault(column, str(error)) from error
        day = moment.day
        if kind is PeriodKind.DAY:
            return (*self._days(day, day + timedelta(days=1)), day)
        if kind is PeriodKind.SHIFT:
            start, end = self.mapping.shift_minutes(self._shift_name(row))
            return self._at(day, 60 * start), self._at(day, 60 * end), day
        return (*self._days(day, self._last(row, day)), None)

    def _last(self, row: int, first: date) -> date:
        column = self._until
        assert column is not None  # noqa: S101 - a mapping of spans has it
        try:
            last = read_moment(self._cell(row, column), self.mapping.year, self._epoch).day
        except MomentError as error:
            raise _RowFault(column, str(error)) from error
        end = last + timedelta(days=1) if self.mapping.time.until_included else last
        if end <= first:
            raise _RowFault(column, f"ends {last}, before it begins ({first})")
        return end

    def _month(self, first: date) -> tuple[int, int]:
        begins = self.mapping.time.month_begins
        following = (first + timedelta(days=31)).replace(day=1)
        if begins == 1:
            return self._days(first, following)
        # A bill that is closed on the 25th: the bill of March runs from 26 February on.
        return self._days((first - timedelta(days=1)).replace(day=begins), first.replace(day=begins))

    def _days(self, first: date, end: date) -> tuple[int, int]:
        start = self.mapping.day_start
        seconds = 3600 * start.hour + 60 * start.minute
        return self._at(first, seconds), self._at(end, seconds)

    def _at(self, day: date, seconds: int) -> int:
        return local_ms(datetime.combine(day, clock_time(0)) + timedelta(seconds=seconds), self.mapping.zone)

    def _clocked(self, row: int, day: date, seconds: int | None, exact_ms: int | None) -> tuple[int, int]:
        time = self.mapping.time
        column, end_seconds = self._time, None
        if self._clock is not None:
            column = self._clock
            cell = self._cell(row, column)
            if is_empty(cell):
                raise _RowFault(column, "has no time of day; write 00:15")
            try:
                seconds, end_seconds = read_clock(cell)
            except MomentError as error:
                raise _RowFault(column, str(error)) from error
        if seconds is None:
            # A date-time at midnight comes out of a spreadsheet as a date.
            seconds = 0
        if seconds == 0 and time.midnight == "closes":
            seconds = 86_400
        length_ms = 60_000 * (time.minutes or 0)
        if end_seconds is not None:
            end_seconds = end_seconds or 86_400
            if 1000 * (end_seconds - seconds) != length_ms and time.period is PeriodKind.INTERVAL:
                raise _RowFault(column, f"is not the {time.minutes} minutes long that the mapping says")
        moment = datetime.combine(day, clock_time(0)) + timedelta(seconds=seconds)
        try:
            at_ms = exact_ms if exact_ms is not None else local_ms(moment, self.mapping.zone, self._previous_ms)
        except ValueError as error:
            raise _RowFault(column, str(error)) from error
        self._previous_ms = at_ms
        start_ms = at_ms - length_ms if time.stamp == "end" and end_seconds is None else at_ms
        if time.period is PeriodKind.INTERVAL:
            midnight_ms = self._at(day, 0)
            if (at_ms - midnight_ms) % length_ms:
                raise _RowFault(column, f"{moment} is off the grid of {time.minutes} minutes counted from midnight")
        return start_ms, start_ms + length_ms

    def _shift_name(self, row: int) -> str:
        column = self._shift
        assert column is not None  # noqa: S101 - a mapping of shifts has it
        name = cell_text(self._cell(row, column))
        if name not in self.mapping.shifts:
            raise _RowFault(column, f"no shift '{name}'{suggestion(name, list(self.mapping.shifts))}")
        return name

    def _value(self, source: _Source, row: int, start_ms: int, end_ms: int) -> Decimal | None:
        """The value of one series in one row, in its unit; None where a cell has none."""
        mapping = source.mapping
        if not source.columns:
            return Decimal(end_ms - start_ms) / 1000 / Decimal(repr(SECONDS_PER_UNIT[mapping.unit]))
        found: list[Decimal] = []
        for column, converts in source.columns:
            self._refuse_merged(row, column)
            try:
                amount = read_number(self.sheet.rows[row][column.index], self.mapping.decimal)
                if amount is None:
                    return None
                found.append(self._converted(source, row, amount, converts))
            except (NumberError, UnitError) as error:
                raise _RowFault(column, str(error)) from error
            if mapping.increments and found[-1] < 0:
                raise _RowFault(column, f"{float(found[-1]):g} is negative; {mapping.quantity} cannot decrease")
        total = sum(found, Decimal(0))
        return total if mapping.increments else total / len(found)

    def _refuse_merged(self, row: int, column: Column) -> None:
        """A merged value is of several rows or columns: nobody but its author knows how it is divided among them."""
        place = (row, column.index)
        top, left = self.sheet.merged.get(place, place)
        if (top, left) in self._anchors and not is_empty(self.sheet.rows[top][left]):
            raise _RowFault(
                column,
                f"is part of a merged cell ({column_letters(left)}{top + 1}), whose value is not that of one row; "
                "unmerge it and write down what belongs to each",
            )

    def _converted(self, source: _Source, row: int, amount: Amount, converts: Conversion | None) -> Decimal:
        unit = source.mapping.unit
        written = amount.unit
        scale = bare_prefix(written) if written else None
        if scale is not None:
            written = ""
        if not written and source.unit_column is not None:
            written = cell_text(self._cell(row, source.unit_column))
            if not written:
                raise UnitError(f"has no unit in column {source.unit_column.shown}")
        if written and source.mapping.given_in is None:
            converts = conversion(written, unit)
        if converts is None:
            if source.mapping.definition.units:
                raise UnitError(f"has no unit; write it behind the number, or 'given_in' of '{source.name}'")
            converts = Conversion(Decimal(1))
        return converts(amount.value * (scale or 1))

    def _keep(self, found: Sequence[tuple[_Source, Decimal]], row: int, start_ms: int, end_ms: int) -> None:
        for source, _ in found:
            other = self._taken.get((source.name, start_ms, end_ms))
            if other is not None:
                raise _RowFault(self._time, f"is the same period as row {other}; keep one of them")
        for source, value in found:
            self._taken[source.name, start_ms, end_ms] = row + 1
            self._values.append(Value(source.name, start_ms, end_ms, float(value), row + 1))

    def _differences(self, source: _Source) -> None:
        """Readings of a register become amounts between them."""
        readings = sorted(self._readings.get(source.name, []), key=lambda one: (one[0], one[2]))
        multiplier = Decimal(repr(source.mapping.multiplier))
        column = source.columns[0][0] if source.columns else self._time
        for (one_ms, before, _), (other_ms, after, row) in pairwise(readings):
            if one_ms == other_ms:
                what = "is read twice at the same time; keep one of them"
                self._problems.append(RowProblem(row + 1, self._time.letters, what))
            elif after < before:
                what = (
                    f"reads {after}, less than {before} before it: a meter was changed, or a digit is wrong; "
                    "hand the readings of each meter in as a document of its own"
                )
                self._problems.append(RowProblem(row + 1, column.letters, what))
            else:
                self._values.append(Value(source.name, one_ms, other_ms, float((after - before) * multiplier), row + 1))

    def _idle_shifts(self) -> None:
        """Where the mapping says so, a shift without a row on a day that has others made nothing."""
        rows = {(one.series, one.start_ms): one.row for one in self._values}
        for (name, day), worked in self._shift_days.items():
            if not self.mapping.series[name].increments:
                continue
            row = next(
                rows[name, start]
                for shift in worked
                if (name, start := self._at(day, 60 * self.mapping.shift_minutes(shift)[0])) in rows
            )
            for shift in self.mapping.shifts:
                if shift not in worked:
                    start, end = self.mapping.shift_minutes(shift)
                    value = Value(name, self._at(day, 60 * start), self._at(day, 60 * end), 0.0, row)
                    self._values.append(value)

    def result(self) -> ImportedRows:
        """The values by series and time; periods that overlap are problems of the later row."""
        order = {name: number for number, name in enumerate(self.mapping.series)}
        values = sorted(self._values, key=lambda one: (order[one.series], one.start_ms, one.end_ms))
        problems = [*self._problems, *_overlaps(values, self._time.letters)]
        listed = sorted(problems, key=lambda one: (one.row, one.column))
        return ImportedRows(
            document=self.document,
            mapping=self.mapping,
            sheet=self.sheet,
            header=self.header,
            values=tuple(values),
            problems=tuple(listed),
            left_out=tuple(self._left_out),
        )


def _overlaps(values: Sequence[Value], column: str) -> Iterator[RowProblem]:
    for one, other in pairwise(values):
        if one.series == other.series and other.start_ms < one.end_ms:
            first, second = sorted((one.row, other.row))
            yield RowProblem(second, column, f"its period overlaps that of row {first}; keep one of them")
