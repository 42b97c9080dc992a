"""Interval tables: what KPIs are computed from, whether the intervals come from signed records or from a file.

An interval is half-open and labelled by its start. Tables may have holes (a row that is not there, a cell that is
empty); a hole is never zero.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from evidence.errors import TableError
from evidence.quantities import Aggregation
from wire.document import suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_MS = 86_400_000
MINUTE_MS = 60_000
MAXIMUM_PROBLEMS = 20
"""A wrong export is wrong in every row: after so many problems the rest is not listed."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class IntervalTable:
    """Values of the plan's series by interval.

    ``time_ms`` are the starts (UTC, strictly increasing), ``step_ms`` the common length; a step of `DAY_MS` means local
    days of ``zone``, whose length changes when clocks do. ``values`` has one float64 array a series as long as
    ``time_ms``, in the unit of the series, NaN = missing. ``day_start`` is when a production day begins: what a night
    shift makes after midnight belongs to the day on which the shift began. A table of days has its days made already.
    ``left_out`` are the days whose values a plan takes out of a series because of a non-routine event.
    """

    time_ms: IntArray
    step_ms: int
    values: Mapping[str, FloatArray]
    series: Mapping[str, SeriesPlan]
    zone: ZoneInfo
    day_start: clock_time = clock_time(0)
    left_out: Mapping[str, frozenset[date]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.time_ms) and bool(np.any(np.diff(self.time_ms) < self.step_ms - _clock_change(self.step_ms))):
            raise ValueError("interval starts must increase by at least one step")
        for name, values in self.values.items():
            if values.shape != self.time_ms.shape:
                raise ValueError(f"series '{name}' has {values.shape} values for {self.time_ms.shape} intervals")

    def stated(self, name: str) -> FloatArray:
        """Values of a series rounded to the resolution it is stated to; unchanged without one."""
        resolution = self.series[name].resolution
        if resolution is None:
            return self.values[name]
        numerator, denominator = resolution.as_integer_ratio()
        return multiples_of(resolution, self.values[name]) * numerator / denominator

    def durations_ms(self) -> IntArray:
        """Length of each interval in ms."""
        if self.step_ms != DAY_MS:
            return np.full(len(self.time_ms), self.step_ms, dtype=np.int64)
        days = [local_date(int(start), self.zone) for start in self.time_ms]
        ends = [midnight_ms(day + timedelta(days=1), self.zone) for day in days]
        return np.asarray(ends, dtype=np.int64) - self.time_ms


def multiples_of(resolution: Decimal, values: FloatArray) -> FloatArray:
    """How many times ``resolution`` goes into each value, to the nearest whole number (NaN stays NaN)."""
    numerator, denominator = resolution.as_integer_ratio()
    return np.rint(values * denominator / numerator)


def _clock_change(step_ms: int) -> int:
    # A local day may be one hour (in history up to a day part) shorter than 24 h.
    return 3 * 3_600_000 if step_ms == DAY_MS else 0


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """UTC milliseconds of the first moment of a local day."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(local.timestamp() * 1000)


def day_start_ms(day: date, start: clock_time, zone: ZoneInfo) -> int:
    """UTC milliseconds at which the production day ``day`` begins: local ``start``, the earlier where it is twice."""
    return round(datetime.combine(day, start, tzinfo=zone).timestamp() * 1000)


def local_date(time_ms: int, zone: ZoneInfo) -> date:
    """The local date of a moment."""
    return datetime.fromtimestamp(time_ms / 1000, zone).date()


def table_from_sources(
    plan: Plan,
    time_ms: Sequence[int] | IntArray,
    step_ms: int,
    sources: Mapping[str, Sequence[float | None] | FloatArray],
) -> IntervalTable:
    """Make a table from interval values by full series id.

    ``sources`` maps each id of the plan's ``from`` lists (for durations of states: each of `SeriesPlan.columns`) to its
    values at ``time_ms`` (None or NaN = missing): increments for increments, means for means. Several sources of a
    series are added up or averaged; the value is missing when one of them is. Raises `TableError` when a series has no
    source, or a source has no values.
    """
    times = np.asarray(time_ms, dtype=np.int64)
    values: dict[str, FloatArray] = {}
    problems = []
    for name, series in plan.series.items():
        if not series.sources:
            problems.append(f"series '{name}' has no 'from' in the plan; name the series ids that it is measured by")
        absent = [source for source in series.columns if source not in sources]
        problems += [f"series '{name}' needs {source}, of which there are no intervals" for source in absent]
        if series.sources and not absent:
            stack = np.array([sources[source] for source in series.columns], dtype=np.float64)
            increments = series.definition.aggregation is Aggregation.INCREMENT
            values[name] = stack.sum(axis=0) if increments else stack.mean(axis=0)
    if problems:
        raise TableError(problems)
    return IntervalTable(times, step_ms, values, plan.series, plan.zone, plan.day_start)


def read_csv(text: str, plan: Plan, source: str = "table") -> IntervalTable:
    """Read a table from CSV: a column ``time`` (start of the interval), then one column a series of the plan.

    Times are ISO 8601 dates or date-times; without a zone they are local in the plan's time zone. A local time that
    occurs twice (clocks put back) is read as the first, and as the second once the first has passed. The step is the
    most frequent distance between rows: a day, or anything that divides a day evenly. Increments are the consumption of
    the interval, means its mean; an empty cell is a missing value. A byte-order mark is ignored.

    Raises `TableError` with line and column of every problem (at most `MAXIMUM_PROBLEMS`): unknown, missing or repeated
    columns; times that cannot be read, do not exist, repeat, run backwards or lie off the grid; numbers that cannot be
    read; negative increments.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        cells = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise TableError([f"{source}:{rows.line_num}: not readable as CSV: {error}"]) from error
    raise_first(header_problems(header, plan, source, {"time": "the start of each interval"}))
    problems: list[str] = [
        f"{source}:{line}: {len(row)} cells, but the header names {len(header)} columns"
        for line, row in cells
        if len(row) != len(header)
    ]
    raise_first(iter(problems))
    if len(cells) < 2:
        raise TableError([f"{source}: at least two rows are needed to know the step; found: {len(cells)}"])
    lines = [line for line, _ in cells]
    column = header.index("time")
    times = _read_times([row[column].strip() for _, row in cells], lines, plan.zone, source)
    step_ms = _step(times, lines, plan.zone, source)
    start_ms = (plan.day_start.hour * 60 + plan.day_start.minute) * MINUTE_MS
    if step_ms != DAY_MS and start_ms % step_ms:
        length = f"{step_ms // MINUTE_MS} minutes"
        raise TableError(
            [f"{source}: intervals of {length} lie across {plan.day_start:%H:%M}, when the plan's days begin"]
        )
    values = {}
    for name, series in plan.series.items():
        position = header.index(name)
        read = Cells(name, series, source)
        values[name] = np.array([read.value(row[position], line) for line, row in cells], dtype=np.float64)
        problems += read.problems
    raise_first(iter(problems))
    return IntervalTable(times, step_ms, values, plan.series, plan.zone, plan.day_start)


def raise_first(problems: Iterator[str]) -> None:
    """Raise `TableError` when there are problems, with the first `MAXIMUM_PROBLEMS` of them."""
    found = list(problems)
    if len(found) > MAXIMUM_PROBLEMS:
        found = [*found[:MAXIMUM_PROBLEMS], f"... and {len(found) - MAXIMUM_PROBLEMS} more problems"]
    if found:
        raise TableError(found)


def header_problems(header: Sequence[str], plan: Plan, source: str, own: Mapping[str, str]) -> Iterator[str]:
    """Yield columns that are unknown, missing or repeated; ``own`` are those beside the series, and what they hold."""
    known = [*own, *plan.series]
    for name, count in Counter(header).items():
        if count > 1:
            yield f"{source}:1: column '{name}' stands {count} times; keep one"
        if name not in known:
            yield f"{source}:1: unknown column '{name}'{suggestion(name, known)}"
    for name in known:
        if name not in header:
            what = own.get(name, "a series of the plan")
            yield f"{source}:1: column '{name}' ({what}) is missing; add it"


@dataclass
class Cells:
    """Reads the cells of one series and collects what is wrong with them."""

    name: str
    series: SeriesPlan
    source: str

    def __post_init__(self) -> None:
        self.problems: list[str] = []
        self._increments = self.series.definition.aggregation is Aggregation.INCREMENT

    def value(self, cell: str, line: int) -> float:
        """The number in a cell of ``line``; NaN where it is empty or, with a problem, where it is none."""
        text = cell.strip()
        if not text:
            return np.nan
        where = f"{self.source}:{line}: column '{self.name}'"
        if not _NUMBER.fullmatch(text) or not np.isfinite(float(text)):
            self.problems.append(f"{where}: '{text}' is no number; write 1234.5, and leave a missing value empty")
            return np.nan
        value = float(text)
        if self._increments and value < 0:
            self.problems.append(f"{where}: {text} is negative; {self.series.quantity} of an interval cannot decrease")
        return value


def _read_times(texts: Sequence[str], lines: Sequence[int], zone: ZoneInfo, source: str) -> IntArray:
    times: list[int] = []
    problems: list[str] = []
    for text, line in zip(texts, lines, strict=True):
        previous = times[-1] if times else None
        try:
            moment = _moment_ms(text, zone, previous)
        except ValueError as error:
            problems.append(f"{source}:{line}: column 'time': {error}")
            continue
        if previous is not None and moment == previous:
            problems.append(f"{source}:{line}: column 'time': {text} stands twice; keep one row for each interval")
        elif previous is not None and moment < previous:
            problems.append(f"{source}:{line}: column 'time': {text} runs backwards; sort the rows by time")
        times.append(moment)
    raise_first(iter(problems))
    return np.array(times, dtype=np.int64)


def _moment_ms(text: str, zone: ZoneInfo, previous_ms: int | None) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no ISO 8601 date or date-time; write 2025-07-01 or 2025-07-01 00:15") from error
    if moment.tzinfo is not None:
        return round(moment.timestamp() * 1000)
    return local_ms(moment, zone, previous_ms)


def local_ms(moment: datetime, zone: ZoneInfo, previous_ms: int | None = None) -> int:
    """UTC milliseconds of a local time; of one that occurs twice the first that is not before ``previous_ms``.

    A midnight that clocks were put forward over is the first moment of its day; any other time that does not exist is a
    `ValueError`.
    """
    first = moment.replace(tzinfo=zone)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        if moment.hour == 0 and moment.minute == 0:
            return midnight_ms(moment.date(), zone)
        raise ValueError(f"{moment:%Y-%m-%d %H:%M} does not exist in {zone.key}: clocks were put forward over it")
    first_ms = round(first.timestamp() * 1000)
    if previous_ms is not None and first_ms <= previous_ms:
        return round(first.replace(fold=1).timestamp() * 1000)
    return first_ms


def _step(times: IntArray, lines: Sequence[int], zone: ZoneInfo, source: str) -> int:
    differences = np.diff(times)
    # Of equally frequent distances the smaller is the step: holes make distances longer, never shorter.
    step, _ = min(Counter(differences.tolist()).items(), key=lambda item: (-item[1], item[0]))
    daily = step > DAY_MS // 2 and all(_is_midnight(int(time), zone) for time in times)
    if daily and step <= DAY_MS + _clock_change(DAY_MS):
        return DAY_MS
    if step >= DAY_MS or DAY_MS % step or step % MINUTE_MS:
        raise TableError(
            [
                f"{source}: rows are {step / MINUTE_MS:g} minutes apart; days, hours or whole minutes that "
                "divide a day are understood, starting at local midnight"
            ]
        )
    midnights = {}
    problems = []
    for time, line in zip(times.tolist(), lines, strict=True):
        day = local_date(time, zone)
        if day not in midnights:
            midnights[day] = midnight_ms(day, zone)
        if (time - midnights[day]) % step:
            local = datetime.fromtimestamp(time / 1000, zone)
            problems.append(
                f"{source}:{line}: column 'time': {local:%Y-%m-%d %H:%M:%S} is irregular: rows are "
                f"{step / MINUTE_MS:g} minutes apart, counted from local midnight"
            )
    raise_first(iter(problems))
    return int(step)


def _is_midnight(time_ms: int, zone: ZoneInfo) -> bool:
    return midnight_ms(local_date(time_ms, zone), zone) == time_ms
