"""What a KPI is, as data: formula, source, unit, sign, inputs, and what it cannot tell.

Each KPI carries one `KpiDescription`; the command ``shopfloor evidence kpis``, the documentation page and the names on
the web pages are made from it.
"""

from __future__ import annotations

from enum import StrEnum

from evidence.result import ResultModel, Wording


class Objective(StrEnum):
    """What a retrofit may be for, as the programmes of the pilot cities name it."""

    QUALITY = "提质"
    EFFICIENCY = "增效"
    COST = "降本"
    STOCK = "减存"
    GREEN = "绿色"
    SAFETY = "安全"


class Better(StrEnum):
    """Which direction of change is an improvement."""

    LOWER = "lower"
    HIGHER = "higher"


class IntervalMethod(StrEnum):
    """How the interval of the change comes about."""

    BLOCK_BOOTSTRAP = "block bootstrap of weeks of days"
    """`evidence.uncertainty.ratio_change_interval`."""
    LINEARISED_BOOTSTRAP = "block bootstrap of weeks of days, linearised"
    """The same, of the first-order (Taylor) contribution of each day."""
    MODEL = "uncertainty of the baseline model"
    """`evidence.uncertainty.prediction_sum_uncertainty`."""
    EXACT_POISSON = "exact, failures as a Poisson process"
    """`evidence.event_rates.mean_time_change_interval`."""
    NONE = "none: verdict by rule"
    """`evidence.rule_kpi`."""


class KpiInput(ResultModel):
    """A field of the KPI's entry in the plan. ``symbol`` is how the formula writes it."""

    field: str
    symbol: str
    meaning: Wording
    optional: bool = False


class KpiDescription(ResultModel):
    """One KPI. ``source`` names standard and clause; ``cannot_tell`` is what a reader must not conclude from it.

    ``topic`` is how a sentence on its change begins where the name alone would not do: 'energy against ...'.
    """

    kind: str
    name: Wording
    topic: Wording | None = None
    objectives: tuple[Objective, ...]
    formula: str
    source: str
    unit: str
    better: Better
    interval: IntervalMethod
    inputs: tuple[KpiInput, ...]
    cannot_tell: Wording
