"""Whether days, hours or bills suffice for a saving by a baseline model: each criterion a line of the result.

The reasons of a verdict come from the same values. What a criterion asks stands with its source; `effect` is what it
does when it fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from evidence import bill_reasons, reasons
from evidence.baseline_model import FittedModel
from evidence.bills import SHORTEST_DAYS, PeriodBills, unused
from evidence.days import COMPLETE_TENTHS, PeriodDays
from evidence.hours import MINIMUM_MONTH_SHARE, MonthHours
from evidence.industrial_gate import (
    MAXIMUM_BEST_VARIABLE_P,
    MAXIMUM_MODEL_P,
    MAXIMUM_VARIABLE_P,
    MINIMUM_R2,
    variable_p_values,
)
from evidence.reasons import Side
from evidence.result import Reason, ResultModel, VariableRange
from evidence.saving_rows import SavingRows
from evidence.sufficiency import MINIMUM_COVERAGE, coverage_reasons
from evidence.uncertainty import SumUncertainty

CALTRACK_BASELINE_DAYS = 365
CALTRACK_MISSING_DAYS = 37
MINIMUM_BASELINE_DAYS = 28
"""Four weeks: every weekday is seen four times."""
MINIMUM_BASELINE_BILLS = 9
"""ASHRAE Guideline 14 asks of its whole-building path for at least nine valid meter readings."""
MAXIMUM_STANDARD_DEVIATIONS = 3.0
MAXIMUM_R2_ALONE = 0.999
"""Production, weather and time leave more than a thousandth of the variation of a day's energy to other things."""

_SIDES: tuple[Side, Side] = ("baseline", "reporting")

CALTRACK = "CalTRACK 2.0"
SEP = "SEP 50001"
ASHRAE = "ASHRAE Guideline 14"
OURS = "this project"


class Criterion(ResultModel):
    """One line: ``value`` is to be ``at_least`` or ``at_most`` the ``threshold``.

    ``value`` is None where there is nothing to judge, and ``passed`` then, too. ``of`` names the period or the
    variable; ``effect`` is what a failure does: no verdict (``blocking``), a warning, or nothing (``told``).
    """

    name: str
    of: str
    value: float | None
    asked: Literal["at_least", "at_most"]
    threshold: float
    unit: str
    passed: bool | None
    effect: Literal["blocking", "warning", "told"]
    source: str


Effect = Literal["blocking", "warning", "told"]


def _line(
    name: str,
    of: str,
    value: float | None,
    limit: tuple[Literal["at_least", "at_most"], float, str],
    rule: tuple[Effect, str],
) -> Criterion:
    asked, threshold, unit = limit
    passed = None if value is None else value >= threshold if asked == "at_least" else value <= threshold
    effect, source = rule
    return Criterion(
        name=name,
        of=of,
        value=value,
        asked=asked,
        threshold=threshold,
        unit=unit,
        passed=passed,
        effect=effect,
        source=source,
    )


def sufficiency_reasons(rows: SavingRows, minimum_reporting_days: int) -> Iterator[Reason]:
    """Yield what speaks against a verdict, or is to be weighed, in the rows themselves."""
    if rows.bills is not None:
        yield from _bill_reasons(rows.bills)
        baseline_days = rows.bills[0].days
    else:
        yield from coverage_reasons(*rows.day_periods, MINIMUM_BASELINE_DAYS, minimum_reporting_days)
        baseline_days = len(rows.day_periods[0].days)
    for side, hours in zip(_SIDES, rows.hours or (), strict=False):
        for month in hours.months:
            if not month.share > MINIMUM_MONTH_SHARE:
                yield reasons.too_few_hours(side, month.month, month.share, MINIMUM_MONTH_SHARE)
    if baseline_days < CALTRACK_BASELINE_DAYS:
        yield reasons.baseline_shorter_than_year(baseline_days)
    elif unseen := _unseen_months(rows):
        yield reasons.season_not_seen(unseen)


def _bill_reasons(bills: tuple[PeriodBills, PeriodBills]) -> Iterator[Reason]:
    for side, period, minimum in zip(_SIDES, bills, (MINIMUM_BASELINE_BILLS, 1), strict=True):
        if period.coverage < MINIMUM_COVERAGE:
            yield reasons.low_coverage(side, period.n_used, period.days, MINIMUM_COVERAGE)
        if len(period.used) < minimum:
            yield bill_reasons.too_few_bills(side, len(period.used), minimum)
        for first, end, why in unused(period):
            yield bill_reasons.bill_not_used(side, first, end, why)


def following_reasons(rows: SavingRows) -> Iterator[Reason]:
    """Yield variables that the energy follows too exactly for a cause: another reading of the load, or part of it."""
    for variable in rows.ranges:
        follows = r2_alone(rows, variable.name)
        if follows is not None and follows > MAXIMUM_R2_ALONE:
            yield reasons.variable_follows_load(variable.name, follows, MAXIMUM_R2_ALONE)


def r2_alone(rows: SavingRows, variable: str) -> float | None:
    """R2 of the baseline energy on one variable alone; None where either does not vary."""
    values, energy = rows.data.before.variables[variable], rows.data.energy_before
    deviations, others = values - values.mean(), energy - energy.mean()
    squares = float(deviations @ deviations) * float(others @ others)
    return float(deviations @ others) ** 2 / squares if squares > 0.0 else None


def _unseen_months(rows: SavingRows) -> list[int]:
    """Months of the year (1 to 12) of which the reporting period has used days and the baseline none."""
    baseline, reporting = ({day.month for day in period.used_days} for period in rows.periods)
    return sorted(reporting - baseline)


def criteria(
    rows: SavingRows, minimum_reporting_days: int, learnt: FittedModel | None, uncertainty: SumUncertainty | None
) -> tuple[Criterion, ...]:
    """All lines: of the rows, of the variables' ranges, and of the learnt model where there is one."""
    found = list(_of_bills(rows.bills) if rows.bills is not None else _of_days(rows, minimum_reporting_days))
    for side, hours in zip(_SIDES, rows.hours or (), strict=False):
        found += [_of_month(side, month) for month in hours.months]
    unseen = len(_unseen_months(rows))
    found.append(_line("months_of_the_year_not_seen", "baseline", unseen, ("at_most", 0, "1"), ("warning", CALTRACK)))
    for variable in rows.ranges:
        found += _of_variable(rows, variable)
        follows = r2_alone(rows, variable.name)
        found.append(
            _line(
                "r2_of_variable_alone",
                variable.name,
                follows,
                ("at_most", MAXIMUM_R2_ALONE, "1"),
                ("warning", f"IPMVP; limit: {OURS}"),
            )
        )
    if learnt is not None:
        found += _of_model(learnt)
    if learnt is not None and uncertainty is not None:
        rule: tuple[Effect, str] = ("blocking", ASHRAE)
        degrees = uncertainty.degrees_of_freedom
        found.append(_line("degrees_of_freedom", "model", degrees, ("at_least", 1.0, "1"), rule))
    return tuple(found)


def _of_days(rows: SavingRows, minimum_reporting_days: int) -> Iterator[Criterion]:
    baseline, reporting = rows.day_periods
    yield _line(
        "calendar_days",
        "baseline",
        len(baseline.days),
        ("at_least", CALTRACK_BASELINE_DAYS, "d"),
        ("warning", CALTRACK),
    )
    missing = len(baseline.days) - baseline.n_used
    whole_year = len(baseline.days) >= CALTRACK_BASELINE_DAYS
    allowed = CALTRACK_MISSING_DAYS * len(baseline.days) / CALTRACK_BASELINE_DAYS
    yield _line(
        "missing_days",
        "baseline",
        missing,
        ("at_most", CALTRACK_MISSING_DAYS if whole_year else allowed, "d"),
        ("told", CALTRACK),
    )
    for side, period, minimum in (
        ("baseline", baseline, MINIMUM_BASELINE_DAYS),
        ("reporting", reporting, minimum_reporting_days),
    ):
        yield _line("used_days", side, period.n_used, ("at_least", minimum, "d"), ("blocking", OURS))
        yield _line("share_of_days", side, period.coverage, ("at_least", MINIMUM_COVERAGE, "1"), ("blocking", CALTRACK))
        yield _line(
            "least_share_of_readings_of_a_used_day",
            side,
            _least_complete(period),
            ("at_least", COMPLETE_TENTHS / 10, "1"),
            ("told", f"{CALTRACK} asks for half; nine tenths: {OURS}"),
        )


def _least_complete(period: PeriodDays) -> float | None:
    shares = period.complete[period.used] / period.expected[period.used]
    return float(shares.min()) if len(shares) else None


def _of_bills(bills: tuple[PeriodBills, PeriodBills]) -> Iterator[Criterion]:
    yield _line(
        "calendar_days", "baseline", bills[0].days, ("at_least", CALTRACK_BASELINE_DAYS, "d"), ("warning", CALTRACK)
    )
    yield _line(
        "used_bills",
        "baseline",
        len(bills[0].used),
        ("at_least", MINIMUM_BASELINE_BILLS, "1"),
        ("blocking", ASHRAE),
    )
    for side, period in zip(_SIDES, bills, strict=True):
        yield _line("share_of_days", side, period.coverage, ("at_least", MINIMUM_COVERAGE, "1"), ("blocking", CALTRACK))
        lengths = period.lengths
        shortest = float(lengths.min()) if len(lengths) else None
        yield _line("shortest_used_bill", side, shortest, ("at_least", SHORTEST_DAYS, "d"), ("told", CALTRACK))


def _of_month(side: Side, month: MonthHours) -> Criterion:
    line = _line(
        "share_of_hours_of_a_month",
        f"{side} {month.month}",
        month.share,
        ("at_least", MINIMUM_MONTH_SHARE, "1"),
        ("blocking", CALTRACK),
    )
    # More than nine tenths: nine tenths is not enough.
    return line.model_copy(update={"passed": month.share > MINIMUM_MONTH_SHARE})


def _of_variable(rows: SavingRows, variable: VariableRange) -> Iterator[Criterion]:
    after = rows.data.after.variables[variable.name]
    outside = float(((after < variable.baseline_low) | (after > variable.baseline_high)).mean())
    yield _line("share_outside_baseline_range", variable.name, outside, ("at_most", 0.0, "1"), ("warning", "IPMVP"))
    yield _line(
        "standard_deviations_of_mean_from_baseline",
        variable.name,
        mean_distance(variable),
        ("at_most", MAXIMUM_STANDARD_DEVIATIONS, "1"),
        ("warning", SEP),
    )


def mean_distance(variable: VariableRange) -> float | None:
    """How far the reporting mean is from the baseline mean in standard deviations; 0 inside the baseline's range."""
    if variable.baseline_low <= variable.reporting_mean <= variable.baseline_high:
        return 0.0
    if variable.baseline_deviation <= 0:
        return None
    return abs(variable.reporting_mean - variable.baseline_mean) / variable.baseline_deviation


def _of_model(learnt: FittedModel) -> Iterator[Criterion]:
    fit = learnt.fit
    _, p_value = fit.f_test
    yield _line("r2", "model", fit.r2, ("at_least", MINIMUM_R2, "1"), ("blocking", SEP))
    yield _line("p_of_f_test", "model", p_value, ("at_most", MAXIMUM_MODEL_P, "1"), ("blocking", SEP))
    by_variable = variable_p_values(learnt)
    if by_variable:
        smallest = min(by_variable.values())
        yield _line(
            "smallest_p_of_a_variable", "model", smallest, ("at_most", MAXIMUM_BEST_VARIABLE_P, "1"), ("blocking", SEP)
        )
    for name, p in by_variable.items():
        yield _line("p_of_variable", name, p, ("at_most", MAXIMUM_VARIABLE_P, "1"), ("warning", SEP))


def correlation_limit(bills: int) -> float:
    """The lag-1 autocorrelation that independent bills exceed by chance once in twenty: 1.645/sqrt(n)."""
    return 1.645 / math.sqrt(bills)
