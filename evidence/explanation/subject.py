"""What is explained: a KPI of a plan with its result, and the values that every part of its explanation needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evidence.explanation.changes import change_digits, range_text, value_text
from evidence.explanation.document import Standing, standing
from evidence.explanation.phrases import phrases, plain
from evidence.kpi import KpiPlan
from evidence.kpi_description import KpiDescription
from evidence.plan import Plan
from evidence.result import Evaluation, KpiResult, Wording

ADJUSTED, NORMALISED = "adjusted_saving", "normalised_saving"


@dataclass(frozen=True)
class Subject:
    """A KPI, its result and where it stands; ``proven`` is None where the data came without records to be proven."""

    plan: Plan
    evaluation: Evaluation
    kpi: KpiPlan
    result: KpiResult
    proven: bool | None

    @property
    def description(self) -> KpiDescription:
        """What the KPI is."""
        return self.kpi.description

    @property
    def standing(self) -> Standing:
        """What a reader may take from it."""
        return standing(self.result, proven=self.proven is not False)

    @property
    def concludes(self) -> bool:
        """Whether anything may be concluded from the figure: not where the records behind it do not stand."""
        return self.standing is not Standing.NOT_PROVEN

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """How the figure was made, by field; each kind of KPI has its own."""
        return self.result.model.model_dump(mode="json")

    @property
    def digits(self) -> int:
        """Digits after the point of what is said of its change."""
        return change_digits(self.result)

    @property
    def uncertainty(self) -> float | None:
        """Half of the interval in the unit of the figure; None without an interval."""
        if self.result.interval is None or self.result.baseline is None:
            return None
        low, high = self.result.interval
        return abs(self.result.baseline) * (high - low) / 2

    @property
    def baseline(self) -> Wording:
        """The baseline value with its unit."""
        return self.value(self.result.baseline)

    @property
    def reporting(self) -> Wording:
        """The reporting value with its unit."""
        return self.value(self.result.reporting)

    def value(self, value: float | None) -> Wording:
        """A value in the unit of the figure, one digit beyond where its uncertainty ends: who subtracts two of them
        finds the difference that is stated."""
        return value_text(value, self.result.unit, None if self.uncertainty is None else self.uncertainty / 10)

    def range(self, interval: tuple[float, float]) -> Wording:
        """An interval of the change in words."""
        return range_text(interval, self.digits)

    @property
    def kind_of_model(self) -> Wording:
        """The name of the baseline model."""
        kind = str(self.model["kind"])
        return phrases().get(f"kind.{kind}", plain(kind))

    @property
    def used_days(self) -> tuple[int, int]:
        """Days used of the baseline and of the reporting period."""
        days = self.result.model.days
        return days.baseline.used, days.reporting.used
