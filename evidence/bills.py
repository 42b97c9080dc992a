"""Bills: energy and what drives it over periods of uneven length, each from a reading to the next.

A table of bills is CSV: ``from`` (the first day of the bill), ``to`` (the first day after it), then a column for each
series of the plan: increments of the whole bill, means over it. A column ``estimated`` (``yes`` or empty) marks bills
that rest on no reading: they are joined with those after them up to the first that is read, as CalTRACK 2.0 asks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from evidence.days import period_days
from evidence.errors import TableError
from evidence.quantities import Aggregation
from evidence.result import PeriodUse
from evidence.sufficiency import MINIMUM_COVERAGE
from evidence.table import Cells, FloatArray, IntervalTable, header_problems, raise_first

if TYPE_CHECKING:
    from evidence.plan import Period, Plan, SeriesPlan

SHORTEST_DAYS = 25
LONGEST_DAYS = 70
"""CalTRACK 2.0: shorter ones are readings out of turn; longer ones (over two months) say too little of each month."""

COLUMNS = {"from": "the first day of the bill", "to": "the first day after the bill"}
ESTIMATED = "estimated"
YES, NO = ("yes", "true", "1"), ("", "no", "false", "0")

Exclusion = Literal["crosses_edge", "missing", "too_short", "too_long"]


@dataclass(frozen=True)
class BillTable:
    """Bills in order, none over another: ``first`` and ``end`` (half-open), and one value a bill in each series.

    NaN = missing. ``series`` are those of the plan.
    """

    first: tuple[date, ...]
    end: tuple[date, ...]
    values: Mapping[str, FloatArray]
    series: Mapping[str, SeriesPlan]


@dataclass(frozen=True)
class PeriodBills:
    """The bills that touch a period, and why some of them do not count (None = it counts)."""

    days: int
    first: tuple[date, ...]
    end: tuple[date, ...]
    values: Mapping[str, FloatArray]
    excluded: tuple[Exclusion | None, ...]
    series: Mapping[str, SeriesPlan]

    @property
    def used(self) -> list[int]:
        """Positions of the bills that count."""
        return [position for position, why in enumerate(self.excluded) if why is None]

    @property
    def lengths(self) -> FloatArray:
        """Days in each bill that counts."""
        return np.array([(self.end[one] - self.first[one]).days for one in self.used], dtype=np.float64)

    @property
    def used_first(self) -> tuple[date, ...]:
        """The first day of each bill that counts."""
        return tuple(self.first[one] for one in self.used)

    @property
    def used_days(self) -> tuple[date, ...]:
        """The days in bills that count."""
        spans = ((self.first[one], self.end[one]) for one in self.used)
        return tuple(first + timedelta(days=day) for first, end in spans for day in range((end - first).days))

    @property
    def n_used(self) -> int:
        """Number of days in bills that count."""
        return int(self.lengths.sum())

    @property
    def coverage(self) -> float:
        """Days in bills that count as a fraction of the period's."""
        return self.n_used / self.days

    def use(self) -> PeriodUse:
        """Return how many days of the period are in bills that count; bills list themselves."""
        return PeriodUse(days=self.days, used=self.n_used, excluded=())

    def used_values(self, name: str, lengths: FloatArray) -> FloatArray:
        """Values of the bills that count: increments over ``lengths``, means as they are."""
        values = self.values[name][self.used]
        increment = self.series[name].definition.aggregation is Aggregation.INCREMENT
        return np.asarray(values / lengths) if increment else values


def is_bill_table(text: str) -> bool:
    """Whether a CSV text has the columns of bills and not those of intervals."""
    header = [cell.strip() for cell in next(csv.reader(io.StringIO(text.removeprefix("\ufeff"))), [])]
    return all(name in header for name in COLUMNS) and "time" not in header


def read_bills(text: str, plan: Plan, source: str = "table") -> BillTable:
    """Read a table of bills from CSV.

    Raises `TableError` with line and column of every problem: unknown, missing or repeated columns; dates that cannot
    be read, bills that end before they begin, run backwards or lie over one another; numbers that cannot be read;
    negative increments.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        cells = [(rows.line_num, [cell.strip() for cell in row]) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise TableError([f"{source}:{rows.line_num}: not readable as CSV: {error}"]) from error
    own = COLUMNS | ({ESTIMATED: "whether the bill is estimated"} if ESTIMATED in header else {})
    raise_first(header_problems(header, plan, source, own))
    raise_first(
        f"{source}:{line}: {len(row)} cells, but the header names {len(header)} columns"
        for line, row in cells
        if len(row) != len(header)
    )
    if not cells:
        raise TableError([f"{source}: there are no bills in it; write one a row below the header"])
    spans, problems = _spans(cells, header, source)
    estimated = []
    for line, row in cells:
        said = row[header.index(ESTIMATED)].lower() if ESTIMATED in header else ""
        if said not in (*YES, *NO):
            problems.append(
                f"{source}:{line}: column '{ESTIMATED}': '{said}' says nothing; write yes, or leave it empty"
            )
        estimated.append(said in YES)
    values = {}
    for name, series in plan.series.items():
        read, column = Cells(name, series, source), header.index(name)
        values[name] = np.array([read.value(row[column], line) for line, row in cells], dtype=np.float64)
        problems += read.problems
    raise_first(iter(problems))
    return _joined(spans, values, plan.series, estimated)


def _spans(
    cells: Sequence[tuple[int, list[str]]], header: Sequence[str], source: str
) -> tuple[list[tuple[date, date]], list[str]]:
    spans: list[tuple[date, date]] = []
    problems: list[str] = []
    for line, row in cells:
        ends = []
        for name in COLUMNS:
            text = row[header.index(name)]
            try:
                ends.append(date.fromisoformat(text))
            except ValueError:
                problems.append(f"{source}:{line}: column '{name}': '{text}' is no date; write 2025-07-01")
        if len(ends) < len(COLUMNS):
            continue
        first, end = ends
        if end <= first:
            problems.append(
                f"{source}:{line}: the bill ends ({end}) before it begins ({first}); 'to' is the day after it"
            )
        elif spans and first < spans[-1][1]:
            problems.append(
                f"{source}:{line}: the bill begins {first}, before the one above it ends ({spans[-1][1]}); sort the "
                "bills, and keep one for each day"
            )
        spans.append((first, end))
    return spans, problems


def _joined(
    spans: Sequence[tuple[date, date]],
    values: Mapping[str, FloatArray],
    series: Mapping[str, SeriesPlan],
    estimated: Sequence[bool],
) -> BillTable:
    """Join each estimated bill with those after it, up to the first that is read and follows without a gap."""
    groups: list[list[int]] = [[]]
    for position, guessed in enumerate(estimated):
        if groups[-1] and spans[position][0] != spans[groups[-1][-1]][1]:
            groups.append([])
        groups[-1].append(position)
        if not guessed:
            groups.append([])
    groups = [group for group in groups if group]
    lengths = np.array([(end - first).days for first, end in spans], dtype=np.float64)
    joined = {}
    for name, column in values.items():
        means = series[name].definition.aggregation is Aggregation.MEAN
        joined[name] = np.array(
            [
                # What was never read is not known, whatever was billed for it.
                np.nan
                if estimated[group[-1]]
                else column[group] @ lengths[group] / lengths[group].sum()
                if means
                else column[group].sum()
                for group in groups
            ]
        )
    return BillTable(
        tuple(spans[group[0]][0] for group in groups), tuple(spans[group[-1]][1] for group in groups), joined, series
    )


def period_bills(bills: BillTable, period: Period, names: Sequence[str]) -> PeriodBills:
    """The bills that touch ``period``, for a KPI that needs the series ``names``."""
    touching = [
        position
        for position, (first, end) in enumerate(zip(bills.first, bills.end, strict=True))
        if first < period.to and end > period.start
    ]
    first, end = tuple(bills.first[one] for one in touching), tuple(bills.end[one] for one in touching)
    values = {name: bills.values[name][touching] for name in names}
    missing = np.logical_or.reduce([np.isnan(column) for column in values.values()])
    excluded = [
        _exclusion(period, start, stop, missing=lacks)
        for start, stop, lacks in zip(first, end, missing.tolist(), strict=True)
    ]
    return PeriodBills((period.to - period.start).days, first, end, values, tuple(excluded), bills.series)


def months_as_bills(table: IntervalTable, period: Period, names: Sequence[str]) -> PeriodBills:
    """The calendar months of ``period`` as bills, from intervals.

    A month counts when nine tenths of its days are used; its increment is that of its used days' mean times its days.
    """
    days = period_days(table, period, names)
    edges = [period.start]
    while edges[-1] < period.to:
        edges.append(min((edges[-1].replace(day=1) + timedelta(days=32)).replace(day=1), period.to))
    values: dict[str, list[float]] = {name: [] for name in names}
    for first, end in pairwise(edges):
        inside = [first <= day < end for day in days.used_days]
        used = sum(inside)
        enough = used >= MINIMUM_COVERAGE * (end - first).days
        for name in names:
            increment = table.series[name].definition.aggregation is Aggregation.INCREMENT
            mean = float(days.used_values(name)[inside].mean()) if enough else np.nan
            values[name].append(mean * (end - first).days if increment else mean)
    bills = BillTable(
        tuple(edges[:-1]), tuple(edges[1:]), {name: np.array(column) for name, column in values.items()}, table.series
    )
    return period_bills(bills, period, names)


def _exclusion(period: Period, first: date, end: date, *, missing: bool) -> Exclusion | None:
    days = (end - first).days
    if first < period.start or end > period.to:
        return "crosses_edge"
    if missing:
        return "missing"
    if days < SHORTEST_DAYS:
        return "too_short"
    return "too_long" if days > LONGEST_DAYS else None


def unused(bills: PeriodBills) -> Iterator[tuple[date, date, Exclusion]]:
    """Yield the bills that do not count, and why."""
    for first, end, why in zip(bills.first, bills.end, bills.excluded, strict=True):
        if why is not None:
            yield first, end, why
