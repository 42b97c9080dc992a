"""KPIs that are compared as they are, by rule: extremes, bills, counts of equipment, states at the end of a period.

No honest interval can be drawn around such figures: a maximum has no spread that its days show, and what was counted
whole was not sampled. The verdict is then the comparison of two numbers; a reason says so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from evidence import kpi_reasons
from evidence.days import period_days
from evidence.kpi import KpiPlan, Problem
from evidence.ratio_kpi import MINIMUM_DAYS
from evidence.result import Coverage, DayUse, KpiModel, KpiResult, Reason, Wording
from evidence.sufficiency import coverage_reasons
from evidence.verdict import Verdict

if TYPE_CHECKING:
    from evidence.plan import Period, Plan
    from evidence.table import IntervalTable


@dataclass(frozen=True)
class Measure:
    """The value of a period, None where there is none; ``facts`` are figures that explain it, ``blocking`` reasons
    forbid a verdict."""

    value: float | None
    facts: Mapping[str, float] = field(default_factory=dict)
    blocking: Sequence[Reason] = ()


class RuleModel(KpiModel):
    """What a figure was made of. ``required`` is the value to be reached, where the plan states one."""

    kind: Literal["compared_as_measured"] = "compared_as_measured"
    formula: str
    required: float | None
    baseline: dict[str, float]
    reporting: dict[str, float]


class RuleKpi(KpiPlan):
    """A figure of each period, compared by rule.

    ``required`` is the value that the reporting period must reach, for figures of which a change says little.
    """

    why_by_rule: ClassVar[Wording]
    """Why there is no interval."""
    needs_whole_periods: ClassVar[bool] = True
    """Whether a period must have its share of usable days; not where missing data are what is measured."""

    required: float | None = Field(default=None)

    @abstractmethod
    def names(self) -> list[str]:
        """The series that this KPI needs."""

    @abstractmethod
    def measure(self, table: IntervalTable, period: Period) -> Measure:
        """The figure of a period."""

    def rule_problems(self) -> Iterator[Problem]:
        """Yield a target of the wrong direction, and a target beside a required value."""
        yield from self.target_problems()
        if self.target is not None and self.required is not None:
            yield ("required",), "stands beside a target; state either the change or the value to be reached"

    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Measure both periods, compare, say why there is no interval."""
        baseline, reporting = (period_days(table, period, self.names()) for period in (plan.baseline, plan.reporting))
        first = self.measure(table, plan.baseline)
        second = self.measure(table, plan.reporting)
        before, after = first.value, second.value
        found = [*first.blocking, *(reason for reason in second.blocking if reason not in first.blocking)]
        if self.needs_whole_periods:
            found += coverage_reasons(baseline, reporting, MINIMUM_DAYS, MINIMUM_DAYS)
        if before is None and self.required is None and not found:
            found.append(kpi_reasons.undecided("baseline"))
        if after is None and not found:
            found.append(kpi_reasons.undecided("reporting"))
        if before == 0 and self.target is not None:
            found.append(kpi_reasons.no_relative_change())
        verdict = Verdict.INSUFFICIENT_DATA
        unit = self.description.unit
        if not found and after is not None:
            limit = self._limit(before)
            verdict = self._verdict(before if limit is None else limit, after, strict=limit is None)
            said = kpi_reasons.rule_finding(verdict, (before, after), unit, limit, self.description.better)
            found = [said, kpi_reasons.by_rule(self.why_by_rule), kpi_reasons.limits(self.description.cannot_tell)]
        return KpiResult(
            id=self.id,
            kind=self.kind,
            unit=unit,
            baseline=before,
            reporting=after,
            change=None if before is None or after is None or before <= 0 else after / before - 1.0,
            interval=None,
            confidence=self.confidence,
            target=self.target_change,
            verdict=verdict,
            reasons=tuple(found),
            coverage=Coverage(baseline=baseline.coverage, reporting=reporting.coverage),
            model=RuleModel(
                days=DayUse(baseline=baseline.use(), reporting=reporting.use()),
                formula=self.description.formula,
                required=self.required,
                baseline=dict(first.facts),
                reporting=dict(second.facts),
            ),
        )

    def _limit(self, before: float | None) -> float | None:
        """The value that the reporting period must reach; None without target."""
        if self.required is not None:
            return self.required
        if self.target_change is None or before is None:
            return None
        return before * (1.0 + self.target_change)

    def _verdict(self, reference: float | None, after: float, *, strict: bool) -> Verdict:
        if reference is None:
            return Verdict.INSUFFICIENT_DATA
        if after == reference:
            return Verdict.NOT_DISTINGUISHABLE if strict else Verdict.MET
        return Verdict.MET if (after > reference) == self.higher_is_better else Verdict.NOT_MET
