"""KPIs that are a ratio of sums over days: how each is evaluated, bounded and judged.

A ratio of a period is the sum of its numerators over the sum of its denominators on the used days, never the mean of
daily ratios. The interval of its change is the block bootstrap of `evidence.uncertainty.ratio_change_interval`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evidence import kpi_reasons, reasons
from evidence.days import PeriodDays, period_days
from evidence.kpi import KpiPlan, Problem
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, Reason, ResultModel, Wording
from evidence.series_sum import Dimension, sum_problems, sum_unit, sum_values, terms
from evidence.sufficiency import coverage_reasons
from evidence.table import FloatArray
from evidence.uncertainty import BLOCK_DAYS, REPLICATES, SEED, RatioChange, RatioSample, ratio_change_interval
from evidence.verdict import decide

if TYPE_CHECKING:
    from evidence.plan import Period, Plan, SeriesPlan
    from evidence.table import IntervalTable

MINIMUM_DAYS = 28
"""Four blocks of a week in each period: a spread from fewer is a guess."""

Columns = Mapping[str, FloatArray]
"""One array an input of the formula: by interval, or by calendar day with zeros where a day is not used."""


class RatioDay(ResultModel):
    """One used day. ``value`` is None where the denominator is zero; it is shown, never averaged."""

    day: date
    period: Literal["baseline", "reporting"]
    numerator: float
    denominator: float
    value: float | None


class RatioModel(KpiModel):
    """How a ratio and its interval came about.

    ``sums`` holds baseline and reporting sum of each input over the used days: seconds, kWh, kvarh, counts as stated,
    or what the description of the KPI says.
    """

    kind: Literal["ratio_of_sums", "poisson_rates"] = "ratio_of_sums"
    formula: str
    sums: dict[str, tuple[float, float]]
    block_days: int
    blocks: tuple[int, int] | None
    replicates: int
    seed: int
    rho: float | None
    log_standard_error: float | None
    daily: tuple[RatioDay, ...]


@dataclass(frozen=True)
class PeriodRatio:
    """A period's days with the numerator and denominator of each calendar day, zero where the day is not used."""

    days: PeriodDays
    columns: Columns
    numerator: FloatArray
    denominator: FloatArray

    @property
    def value(self) -> float | None:
        """Sum over sum; None without used days or with nothing to divide by."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if self.days.n_used and total > 0 else None

    def sample(self) -> RatioSample:
        """The days as the bootstrap takes them."""
        weekdays = np.array([day.weekday() for day in self.days.days], dtype=np.int64)
        return RatioSample(self.numerator, self.denominator, self.days.used, weekdays)


class RatioKpi(KpiPlan):
    """A ratio of sums. A subclass names its inputs in ``dimensions`` and combines their day sums in `ratio`."""

    dimensions: ClassVar[Mapping[str, Dimension]] = {}
    """Fields that hold sums of series, and what each adds up."""
    more_than_all: ClassVar[Wording | None] = None
    """For a ratio that cannot exceed one: what it means when it does."""
    item: ClassVar[str | None] = None
    """The field whose unit stands for 'item' in the unit of the description."""

    def unit(self, series: Mapping[str, SeriesPlan]) -> str:
        """The unit of the ratio: that of the description, with the plan's unit of what is counted for 'item'."""
        if self.item is None:
            return self.description.unit
        return self.description.unit.replace("item", sum_unit(getattr(self, self.item), series))

    @abstractmethod
    def ratio(self, sums: Columns) -> tuple[FloatArray, FloatArray]:
        """Numerator and denominator of each day from the day sums of the inputs."""

    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield what is wrong with the sums of series that the plan states, and a target of the wrong direction."""
        for field, expression in self.expressions.items():
            yield from sum_problems((field,), expression, self.dimensions[field], series)
        yield from self.target_problems()

    @property
    def expressions(self) -> dict[str, str]:
        """The sums of series that the plan states, by field."""
        return {field: stated for field in self.dimensions if (stated := getattr(self, field)) is not None}

    def names(self) -> list[str]:
        """The series that this KPI needs."""
        found = [name for expression in self.expressions.values() for _, name in terms(expression)]
        return list(dict.fromkeys(found))

    def columns(self, table: IntervalTable) -> Columns | Reason:
        """Values of each input by interval of ``table``, finite where all series of `names` are; or why there are
        none."""
        return {field: sum_values(table, sums, self.dimensions[field]) for field, sums in self.expressions.items()}

    def blocking(self) -> list[Reason]:
        """What speaks against any verdict before the data are looked at."""
        return []

    def value_reasons(self, side: reasons.Side, period: PeriodRatio) -> Iterator[Reason]:
        """Yield what is wrong with the value of a period."""
        if not period.days.n_used:
            return
        if float(period.denominator.sum()) <= 0:
            yield kpi_reasons.zero_denominator(side, self.description.formula)
        elif float(period.numerator.sum()) <= 0:
            yield kpi_reasons.zero_numerator(side, self.description.formula)
        elif self.more_than_all is not None and (value := period.value) is not None and value > 1.0:
            yield kpi_reasons.above_one(side, value, self.more_than_all)

    def caveat(self) -> Reason:
        """What to bear in mind beside a verdict."""
        return kpi_reasons.limits(self.description.cannot_tell)

    def bounds(
        self, baseline: PeriodRatio, reporting: PeriodRatio
    ) -> tuple[tuple[float, float] | None, RatioChange | None]:
        """Interval of the change, and how the bootstrap came to it."""
        sampled = ratio_change_interval(baseline.sample(), reporting.sample(), self.confidence)
        return sampled.interval, sampled

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Compute ratio, change, interval and verdict."""
        columns = self.columns(table)
        found = self.blocking()
        if isinstance(columns, Reason):
            found.append(columns)
            columns = {}
        baseline, reporting = (self._period(table, period, columns) for period in (plan.baseline, plan.reporting))
        found += coverage_reasons(baseline.days, reporting.days, MINIMUM_DAYS, MINIMUM_DAYS)
        if columns:
            found += [*self.value_reasons("baseline", baseline), *self.value_reasons("reporting", reporting)]
        before, after = (baseline.value, reporting.value) if columns else (None, None)
        change = None if before is None or after is None or before <= 0 else after / before - 1.0
        interval, sampled = None, None
        if not any(reason.level == "blocking" for reason in found):
            interval, sampled = self.bounds(baseline, reporting)
            if interval is None:
                found.append(reasons.interval_undetermined())
        verdict = decide(interval, self.target_change, higher_is_better=self.higher_is_better)
        if interval is not None:
            said = reasons.finding(
                verdict, interval, self.target_change, self.confidence, higher_is_better=self.higher_is_better
            )
            found = [said, *found, self.caveat()]
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=self.unit(plan.series),
            baseline=before,
            reporting=after,
            change=change,
            interval=interval,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=Coverage(baseline=baseline.days.coverage, reporting=reporting.days.coverage),
            model=self.model_of(baseline, reporting, sampled),
        )

    def model_of(self, baseline: PeriodRatio, reporting: PeriodRatio, sampled: RatioChange | None) -> RatioModel:
        """Everything that a reader needs to check the ratio."""
        return RatioModel(
            days=DayUse(baseline=baseline.days.use(), reporting=reporting.days.use()),
            formula=self.description.formula,
            sums={
                field: (float(baseline.columns[field].sum()), float(reporting.columns[field].sum()))
                for field in baseline.columns
            },
            block_days=BLOCK_DAYS,
            blocks=None if sampled is None else sampled.blocks,
            replicates=REPLICATES,
            seed=SEED,
            rho=None if sampled is None else sampled.rho,
            log_standard_error=None if sampled is None else sampled.log_standard_error,
            daily=(*_daily(baseline, "baseline"), *_daily(reporting, "reporting")),
        )

    def _period(self, table: IntervalTable, period: Period, columns: Columns) -> PeriodRatio:
        days = period_days(table, period, self.names(), columns)
        sums = {field: np.where(days.used, days.sums[field], 0.0) for field in columns}
        if not sums:
            nothing = np.zeros(len(days.days))
            return PeriodRatio(days, sums, nothing, nothing)
        numerator, denominator = self.ratio(sums | {DAYS: np.where(days.used, days.complete / days.expected, 0.0)})
        return PeriodRatio(days, sums, numerator, denominator)


DAYS = "days"
"""The input that every ratio has beside its own: one for each used day, less for the part of it that is missing."""


def share_of_log(value: float, contributions: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A smooth function of sums as a ratio of sums, to first order.

    ``value`` is the function, ``contributions`` are each day's part of its logarithm (the derivatives by the sums times
    the day's values), and ``weight`` any positive increment. The ratio of the returned arrays' sums is ``value`` when
    the contributions add up to zero, as they do for a function that depends on proportions only, and each day deviates
    from it as the day moves the function (linearisation, Taylor series).
    """
    total = float(weight.sum())
    return value * (weight + contributions * total), weight


def _daily(period: PeriodRatio, name: Literal["baseline", "reporting"]) -> Iterator[RatioDay]:
    used = period.days.used
    numerators, denominators = period.numerator[used].tolist(), period.denominator[used].tolist()
    for day, numerator, denominator in zip(period.days.used_days, numerators, denominators, strict=True):
        value = numerator / denominator if denominator > 0 else None
        yield RatioDay(day=day, period=name, numerator=numerator, denominator=denominator, value=value)
