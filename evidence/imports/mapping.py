"""What the columns of a document are: a typed file beside the document, so that nothing is guessed when it is imported.

All times of a document are local in ``timezone``. Columns are named by their header, or by their letter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import time as clock_time
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator

from evidence.errors import MappingError
from evidence.imports.units import UnitError, conversion
from evidence.local_days import QuarterHour, ZoneName
from evidence.quantities import QUANTITIES, SECONDS_PER_UNIT, Aggregation, Quantity
from wire.document import DocumentModel, Location, problem, read_document, suggestion, validate_document

NAME = r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$"
SERIES_NAME = r"^[a-z][a-z0-9_]{0,63}$"
DAY_MINUTES = 1440
_SPAN = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


class PeriodKind(StrEnum):
    """What a row of the document is about."""

    MONTH = "month"
    """A calendar month, or a month of the bill that begins on ``month_begins``."""
    DAY = "day"
    SHIFT = "shift"
    """A shift of a production day, as ``shifts`` has them."""
    INTERVAL = "interval"
    """``minutes`` from (or up to) a time."""
    SPAN = "span"
    """From one date to another, as bills state it."""
    READING = "reading"
    """A moment at which a register was read: amounts are the differences of readings that follow each other."""


class HeaderRows(DocumentModel):
    """The header begins in ``row`` (from 1, as a spreadsheet counts) and has ``rows`` rows; 0: there is none."""

    row: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=0, le=5)] = 1


class TimeMapping(DocumentModel):
    """Which columns tell the period of a row.

    ``column`` has the date (or month, or date with time of day), ``clock`` the time of day where it has a column of its
    own, ``shift`` the name of the shift, ``until`` the last date of a span. ``stamp`` says whether the time of an
    interval is its start or its end, ``midnight`` whether a time of 00:00 opens the day that its row names or closes it
    (then it is 24:00). ``fill_down``: an empty cell means what the cell above says. ``until_included``: the last date
    of a span is part of it.
    """

    period: PeriodKind
    column: str = Field(min_length=1)
    clock: str | None = None
    shift: str | None = None
    until: str | None = None
    until_included: bool = True
    minutes: Annotated[int, Field(ge=1, le=720)] | None = None
    stamp: Literal["start", "end"] = "start"
    midnight: Literal["opens", "closes"] = "opens"
    month_begins: Annotated[int, Field(ge=1, le=28)] = 1
    fill_down: bool = False

    @field_validator("minutes")
    @classmethod
    def _divides_a_day(cls, minutes: int | None) -> int | None:
        if minutes is not None and DAY_MINUTES % minutes:
            raise ValueError("does not divide a day evenly")
        return minutes


class SeriesMapping(DocumentModel):
    """One series of the document.

    The value stands in ``column``; of several columns it is the sum (increments) or the mean (means). Without a column
    it is the length of the row's period, for shift calendars. ``unit`` is that of the series, ``given_in`` that of the
    document where neither header nor ``unit_column`` tells it (or tells it wrongly). ``where`` takes only rows whose
    column has this text. Readings are multiplied by ``multiplier`` (CT x PT of the meter).
    """

    column: str | tuple[str, ...] | None = None
    quantity: str
    unit: str = Field(min_length=1, max_length=32)
    given_in: str | None = None
    unit_column: str | None = None
    where: dict[str, str] = Field(default_factory=dict)
    multiplier: Annotated[float, Field(gt=0)] = 1.0

    @field_validator("quantity")
    @classmethod
    def _known(cls, quantity: str) -> str:
        if quantity not in QUANTITIES:
            raise ValueError(f"unknown quantity{suggestion(quantity, list(QUANTITIES))}")
        return quantity

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the value, none for the length of the period."""
        if self.column is None:
            return ()
        return (self.column,) if isinstance(self.column, str) else self.column

    @property
    def definition(self) -> Quantity:
        """The row of `evidence.quantities.QUANTITIES`."""
        return QUANTITIES[self.quantity]

    @property
    def increments(self) -> bool:
        """Whether values of several periods are added up."""
        return self.definition.aggregation is Aggregation.INCREMENT


class Mapping(DocumentModel):
    """A mapping as read from its file. Make one with `load_mapping`.

    ``name`` is what plans call the data: ``documents: [NAME/SERIES]``. Documents of one name and project continue each
    other (twelve monthly files, one mapping). ``day_start`` is when a production day begins; a shift that begins before
    it belongs to the day before. ``missing_shift``: whether a shift without a row is missing, or made nothing.
    ``bad_rows``: whether rows that cannot be read stop the import, or are left out and listed.
    """

    mapping: Literal[1]
    name: str = Field(pattern=NAME)
    sheet: str | None = None
    header: HeaderRows | None = None
    timezone: ZoneName = "Asia/Shanghai"
    year: Annotated[int, Field(ge=1990, le=2100)] | None = None
    decimal: Literal[".", ","] = "."
    day_start: QuarterHour = clock_time(0)
    time: TimeMapping
    shifts: dict[str, str] = Field(default_factory=dict)
    missing_shift: Literal["missing", "zero"] = "missing"
    bad_rows: Literal["stop", "leave_out"] = "stop"
    series: dict[Annotated[str, Field(pattern=SERIES_NAME)], SeriesMapping] = Field(min_length=1)
    _hash: str = PrivateAttr(default="")

    @field_validator("shifts")
    @classmethod
    def _spans_of_a_day(cls, shifts: dict[str, str]) -> dict[str, str]:
        for name, span in shifts.items():
            found = _SPAN.fullmatch(span)
            if found is None or max(_minutes(span)) > DAY_MINUTES or len(set(_minutes(span))) == 1:
                raise ValueError(f"'{name}: {span}' is no span of a day; write '22:00-06:00', with quotes")
        return shifts

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the document."""
        return ZoneInfo(self.timezone)

    @property
    def hash(self) -> str:
        """SHA-256 of the mapping file, lower-case hexadecimal."""
        return self._hash

    def shift_minutes(self, name: str) -> tuple[int, int]:
        """Start and end of a shift in minutes after the midnight of its production day; both may lie beyond 24:00."""
        start, end = _minutes(self.shifts[name])
        if start < 60 * self.day_start.hour + self.day_start.minute:
            start, end = start + DAY_MINUTES, end + DAY_MINUTES
        return start, end if end > start else end + DAY_MINUTES

    @property
    def working_minutes(self) -> int | None:
        """How much of a day the shifts cover together; None where rows are no shifts."""
        if self.time.period is not PeriodKind.SHIFT:
            return None
        return sum(end - start for start, end in map(self.shift_minutes, self.shifts))


def load_mapping(text: str, source: str | PurePath) -> Mapping:
    """Read a mapping; ``source`` names it in messages.

    Raises `wire.errors.DocumentError` when the text is no mapping, `evidence.errors.MappingError` when it contradicts
    itself; either names every problem with file and line.
    """
    document = read_document(text, str(source))
    mapping = validate_document(Mapping, document)
    found = [problem(document, location, what) for location, what in _contradictions(mapping)]
    if found:
        raise MappingError(found)
    mapping._hash = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return mapping


def _contradictions(mapping: Mapping) -> Iterator[tuple[Location, str]]:
    yield from _time_problems(mapping.time)
    if mapping.time.period is PeriodKind.SHIFT:
        yield from _shift_problems(mapping)
    for name, series in mapping.series.items():
        where: Location = ("series", name)
        units = series.definition.units
        if units and series.unit not in units:
            yield (
                (*where, "unit"),
                f"'{series.unit}' is no unit of {series.quantity}{suggestion(series.unit, list(units))}",
            )
            continue
        if series.given_in is not None:
            try:
                conversion(series.given_in, series.unit)
            except UnitError as error:
                yield (*where, "given_in"), str(error)
        if not series.columns and series.unit not in SECONDS_PER_UNIT:
            yield (*where, "column"), "is missing: only a duration can be the length of its period"
        if mapping.time.period is PeriodKind.READING and not series.increments:
            yield (*where, "quantity"), f"{series.quantity} is no register that counts on; say 'period: interval'"
        if series.multiplier != 1.0 and not series.increments:
            yield (*where, "multiplier"), f"makes no sense for {series.quantity}, which is averaged"


_NEEDED = {
    PeriodKind.SHIFT: {"shift": "the column with the name of the shift"},
    PeriodKind.INTERVAL: {"minutes": "the length of an interval"},
    PeriodKind.SPAN: {"until": "the column with the last date"},
}


def _time_problems(time: TimeMapping) -> Iterator[tuple[Location, str]]:
    for field, what in _NEEDED.get(time.period, {}).items():
        if getattr(time, field) is None:
            yield ("time", field), f"is missing: a {time.period.value} needs {what}"
    usable = {
        "clock": (PeriodKind.INTERVAL, PeriodKind.READING),
        "shift": (PeriodKind.SHIFT,),
        "until": (PeriodKind.SPAN,),
        "minutes": (PeriodKind.INTERVAL,),
    }
    for field, kinds in usable.items():
        if getattr(time, field) is not None and time.period not in kinds:
            yield ("time", field), f"says nothing about a {time.period.value}; remove it"


def _shift_problems(mapping: Mapping) -> Iterator[tuple[Location, str]]:
    if not mapping.shifts:
        yield ("shifts",), "is missing: name each shift with its hours, as in 夜班: '00:00-08:00'"
        return
    day_start = 60 * mapping.day_start.hour + mapping.day_start.minute
    taken: list[tuple[int, int, str]] = []
    for name in mapping.shifts:
        start, end = mapping.shift_minutes(name)
        if end > day_start + DAY_MINUTES:
            yield (
                ("shifts", name),
                f"goes on after {mapping.day_start:%H:%M}, when the next production day begins; "
                "let 'day_start' be the hour at which the first shift begins",
            )
        for other_start, other_end, other in taken:
            if start < other_end and other_start < end:
                yield ("shifts", name), f"is at the same time as {other}"
        taken.append((start, end, name))


def _minutes(span: str) -> tuple[int, int]:
    hours = [int(part) for part in re.findall(r"\d\d", span)]
    return 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
