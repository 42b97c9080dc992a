"""When there are too few data to say anything: the rules that every KPI shares."""

from __future__ import annotations

from evidence import reasons
from evidence.days import PeriodDays
from evidence.result import Reason

MINIMUM_COVERAGE = 0.9
"""Share of a period's days that must be usable. CalTRACK 2.0 allows 37 of 365 baseline days to be missing; the same
share is asked of the reporting period, so that nobody can leave out the bad days."""


def coverage_reasons(
    baseline: PeriodDays, reporting: PeriodDays, minimum_baseline: int, minimum_reporting: int
) -> list[Reason]:
    """Return what speaks against a verdict: too few usable days, or too small a share of them."""
    found = []
    sides: tuple[tuple[reasons.Side, PeriodDays, int], ...] = (
        ("baseline", baseline, minimum_baseline),
        ("reporting", reporting, minimum_reporting),
    )
    for side, days, minimum in sides:
        if days.coverage < MINIMUM_COVERAGE:
            found.append(reasons.low_coverage(side, days.n_used, len(days.days), MINIMUM_COVERAGE))
        if days.n_used < minimum:
            found.append(reasons.too_few_days(side, days.n_used, minimum))
    return found
