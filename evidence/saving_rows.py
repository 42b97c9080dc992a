"""What a saving is computed from: the days, hours or bills of both periods, as a model is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np

from evidence.baseline_model import Conditions
from evidence.bills import BillTable, PeriodBills, months_as_bills, period_bills
from evidence.comparison import BeforeAndAfter
from evidence.day_conditions import conditions_of, day_conditions
from evidence.days import PeriodDays, period_days
from evidence.hours import PeriodHours, period_hours
from evidence.operating_modes import OperatingMode, with_modes
from evidence.result import Coverage, DayUse, VariableRange
from evidence.table import FloatArray, IntervalTable

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan

BillBasis = Literal["day", "bill"]
"""Whether a bill is taken as so many days of mean energy, weighing as much, or as one total among equals."""


@dataclass(frozen=True)
class Drivers:
    """The series of energy, and what is to explain it: series of the plan, and operating modes."""

    energy: str
    variables: tuple[str, ...]
    modes: Mapping[str, OperatingMode]

    @property
    def names(self) -> list[str]:
        """The series that a row needs."""
        return [self.energy, *self.variables]


@dataclass(frozen=True)
class SavingRows:
    """The rows of both periods, and where their variables lie.

    ``days``, ``hours`` or ``bills`` are what rows are made of (hours have their days, too). ``row_days`` are the days
    of the reporting rows, of bills their first. ``by_days`` are the same hours as days.
    """

    data: BeforeAndAfter
    ranges: tuple[VariableRange, ...]
    row_days: tuple[date, ...]
    days: tuple[PeriodDays, PeriodDays] | None = None
    hours: tuple[PeriodHours, PeriodHours] | None = None
    bills: tuple[PeriodBills, PeriodBills] | None = None
    by_days: BeforeAndAfter | None = None

    @property
    def day_periods(self) -> tuple[PeriodDays, PeriodDays]:
        """The days of both periods. Raises `ValueError` for rows that are bills."""
        if self.days is None:
            raise ValueError("bills have no days")
        return self.days

    @property
    def periods(self) -> tuple[PeriodDays | PeriodBills, PeriodDays | PeriodBills]:
        """Baseline and reporting period."""
        return self.bills or self.day_periods

    @property
    def use(self) -> DayUse:
        """How many days of both periods count."""
        baseline, reporting = self.periods
        return DayUse(baseline=baseline.use(), reporting=reporting.use())

    @property
    def coverage(self) -> Coverage:
        """That as fractions."""
        baseline, reporting = self.periods
        return Coverage(baseline=baseline.coverage, reporting=reporting.coverage)


def rows_of_days(plan: Plan, table: IntervalTable, drivers: Drivers) -> SavingRows:
    """One row a used day."""
    baseline, reporting = (period_days(table, period, drivers.names) for period in (plan.baseline, plan.reporting))
    data = _by_days(plan, (baseline, reporting), drivers)
    return SavingRows(data, _ranges(plan.series, data), reporting.used_days, days=(baseline, reporting))


def rows_of_hours(plan: Plan, table: IntervalTable, drivers: Drivers) -> SavingRows:
    """One row a complete hour of a used day."""
    baseline, reporting = (period_hours(table, period, drivers.names) for period in (plan.baseline, plan.reporting))

    def conditions(one: PeriodHours) -> Conditions:
        values = {name: one.values[name] for name in drivers.variables}
        return with_modes(conditions_of(plan.series, one.ordinals, values, hours=one.hours), drivers.modes)

    data = BeforeAndAfter(
        conditions(baseline), baseline.values[drivers.energy], conditions(reporting), reporting.values[drivers.energy]
    )
    return SavingRows(
        data,
        _ranges(plan.series, data),
        reporting.row_days,
        days=(baseline.days, reporting.days),
        hours=(baseline, reporting),
        by_days=_by_days(plan, (baseline.days, reporting.days), drivers),
    )


def _by_days(plan: Plan, periods: tuple[PeriodDays, PeriodDays], drivers: Drivers) -> BeforeAndAfter:
    baseline, reporting = periods
    before, after = (with_modes(day_conditions(plan.series, drivers.variables, one), drivers.modes) for one in periods)
    return BeforeAndAfter(before, baseline.used_values(drivers.energy), after, reporting.used_values(drivers.energy))


def rows_of_bills(plan: Plan, table: IntervalTable | BillTable, drivers: Drivers, basis: BillBasis) -> SavingRows:
    """One row a bill; without bills, one a calendar month of the intervals."""
    names = drivers.names
    baseline, reporting = (
        period_bills(table, period, names) if isinstance(table, BillTable) else months_as_bills(table, period, names)
        for period in (plan.baseline, plan.reporting)
    )

    def rows(one: PeriodBills) -> tuple[Conditions, FloatArray]:
        lengths = one.lengths if basis == "day" else np.ones(len(one.used))
        ordinals = np.array([first.toordinal() for first in one.used_first], dtype=np.int64)
        values = {name: one.used_values(name, lengths) for name in drivers.variables}
        return conditions_of(plan.series, ordinals, values, lengths=lengths), one.used_values(drivers.energy, lengths)

    data = BeforeAndAfter(*rows(baseline), *rows(reporting))
    return SavingRows(data, _ranges(plan.series, data), reporting.used_first, bills=(baseline, reporting))


def _ranges(series: Mapping[str, SeriesPlan], data: BeforeAndAfter) -> tuple[VariableRange, ...]:
    """Where the variables of both periods lie, where both have rows."""
    if data.before.n < 2 or not data.after.n:
        return ()
    return tuple(
        _range(name, series[name].unit, before, data.after.variables[name])
        for name, before in data.before.variables.items()
        if name in series
    )


def _range(name: str, unit: str, before: FloatArray, after: FloatArray) -> VariableRange:
    return VariableRange(
        name=name,
        unit=unit,
        baseline_low=float(before.min()),
        baseline_high=float(before.max()),
        baseline_mean=float(before.mean()),
        baseline_deviation=float(before.std(ddof=1)),
        reporting_low=float(after.min()),
        reporting_high=float(after.max()),
        reporting_mean=float(after.mean()),
    )
