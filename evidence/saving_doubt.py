"""What stands beside every modelled saving: how far its figure can be trusted apart from its interval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evidence import doubt_reasons
from evidence.alternative_intervals import AlternativeInterval
from evidence.comparison import BeforeAndAfter, Compared, Method
from evidence.detectable_change import DetectableSaving, detectable_saving
from evidence.models import MODELS
from evidence.placebo import Placebo, placebo_test
from evidence.result import Reason
from evidence.specification_curve import SpecificationCurve, specification_curve


@dataclass(frozen=True)
class Doubt:
    """Placebo test, smallest detectable saving, other intervals, and what other choices would have said."""

    placebo: Placebo
    detectable: DetectableSaving | None
    alternatives: tuple[AlternativeInterval, ...]
    curve: SpecificationCurve | None

    def reasons(self, change: float) -> Iterator[Reason]:
        """What stands beside a claimed ``change``."""
        yield doubt_reasons.placebo_reason(self.placebo)
        if self.detectable is not None:
            yield doubt_reasons.detectable_reason(self.detectable)
        if self.curve is not None:
            yield doubt_reasons.curve_reason(self.curve, change)


@dataclass(frozen=True)
class DoubtRules:
    """What a KPI asks of its placebo windows and specifications.

    ``method`` is how the KPI compares two periods, ``window_days`` the calendar length of the reporting period,
    ``minimum_days`` the least to learn from, ``required`` the variables that a model must hold.
    """

    method: Method
    window_days: int
    minimum_days: int
    required: frozenset[str]
    confidence: float


def doubt_of(
    model: str,
    data: BeforeAndAfter,
    compared: Compared,
    alternatives: tuple[AlternativeInterval, ...],
    rules: DoubtRules,
) -> Doubt:
    """Doubt ``compared``, what the method of ``rules`` says of ``data`` with the baseline model of that name."""
    return Doubt(
        placebo=placebo_test(
            MODELS[model],
            data.before,
            data.energy_before,
            window_days=rules.window_days,
            minimum_days=rules.minimum_days,
            confidence=rules.confidence,
            method=rules.method,
        ),
        detectable=detectable_saving(compared),
        alternatives=alternatives,
        curve=None
        if compared.change is None
        else specification_curve(
            MODELS,
            data,
            compared.change,
            required=rules.required,
            minimum_days=rules.minimum_days,
            confidence=rules.confidence,
            method=rules.method,
        ),
    )
