"""The result of an evaluation as one typed document: what every page, file and bundle shows.

All values are finite. Changes, intervals and targets are fractions of the baseline value, negative = decrease.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from evidence.verdict import Verdict


class ResultModel(BaseModel):
    """Base of every part of a result: immutable, no unknown fields, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reason(ResultModel):
    """Why a verdict is what it is, in words made from the numbers.

    ``level``: ``blocking`` = forces `Verdict.INSUFFICIENT_DATA`; ``warning`` = a reader should weigh it; ``finding`` =
    the comparison of the interval with the target.
    """

    code: str
    level: Literal["blocking", "warning", "finding"]
    en: str
    zh: str


class Coverage(ResultModel):
    """Used days as a fraction of the days of each period."""

    baseline: float
    reporting: float


class ExcludedDay(ResultModel):
    """A day that is not used. ``complete`` is the share of its intervals with all needed series; ``missing`` names the
    series that lack more than the rule allows, or, when none alone does, all that lack anything."""

    day: date
    reason: Literal["no_data", "incomplete"]
    complete: float
    missing: tuple[str, ...]


class VariableRange(ResultModel):
    """Where a variable lay over the used days of each period, in its unit; the deviation is of the baseline (n - 1)."""

    name: str
    unit: str
    baseline_low: float
    baseline_high: float
    baseline_mean: float
    baseline_deviation: float
    reporting_low: float
    reporting_high: float
    reporting_mean: float


class PeriodUse(ResultModel):
    """How many days of a period are used, and which are not."""

    days: int
    used: int
    excluded: tuple[ExcludedDay, ...]


class DayUse(ResultModel):
    """The days of both periods."""

    baseline: PeriodUse
    reporting: PeriodUse


class KpiModel(ResultModel):
    """Base of what a KPI shows of its method; each KPI has its own fields."""

    kind: str
    days: DayUse


class KpiResult(ResultModel):
    """One KPI: values, change, interval, verdict and everything that led there.

    ``unit`` is the unit of ``baseline`` and ``reporting``. ``interval`` is None when ``verdict`` is
    `Verdict.INSUFFICIENT_DATA`, though values may be shown then, and when the verdict is one by rule
    (`evidence.rule_kpi`): the figures are compared as they are, and a reason says why there is no interval.
    """

    id: str
    kind: str
    unit: str
    baseline: float | None
    reporting: float | None
    change: float | None
    interval: tuple[float, float] | None
    confidence: float
    target: float | None
    verdict: Verdict
    reasons: tuple[Reason, ...]
    coverage: Coverage
    model: SerializeAsAny[KpiModel]


class Totals(ResultModel):
    """What a series of increments adds up to over the whole table.

    ``sum`` and ``months`` (local months, ``YYYY-MM``) add the interval values at their stated resolution;
    ``sum_unrounded`` adds them as measured. ``peak_kw`` is the largest mean power of an interval and
    ``peak_start_ms`` the start of that interval (the first of equals); ``load_factor`` is mean power over peak power,
    both over the covered time. The last three are None unless the series is an active energy. ``coverage`` is the
    share of intervals with a value between the first and the last row.
    """

    unit: str
    sum: float
    sum_unrounded: float
    resolution: float | None
    months: dict[str, float]
    peak_kw: float | None
    peak_start_ms: int | None
    load_factor: float | None
    coverage: float


class Wording(ResultModel):
    """The same sentence in English and Chinese."""

    en: str
    zh: str


class ScreenPlace(ResultModel):
    """Where a screen saw something: series, half-open time (UTC ms), and numbers in base units (kWh, kW; fractions)."""

    series: tuple[str, ...]
    start_ms: int
    end_ms: int
    figures: dict[str, float]


class ScreenResult(ResultModel):
    """What one screen saw.

    ``state`` ``anomaly`` comes with ``places``, at most 50 of them listed; ``not_checked`` with the reason in
    ``finding``. ``statement`` is the wording that pages show; ``meaning`` says what an anomaly means, ``limits`` what
    the screen cannot tell.
    """

    name: str
    strength: Literal["strong", "weak"]
    state: Literal["anomaly", "clear", "not_checked"]
    statement: Wording
    title: Wording
    meaning: Wording
    limits: Wording
    finding: Wording
    series: tuple[str, ...]
    figures: dict[str, float]
    places: tuple[ScreenPlace, ...]
    more_places: int


class PeriodDates(ResultModel):
    """A half-open period of local dates."""

    first: date
    end: date


class Evaluation(ResultModel):
    """All KPIs, totals and screens of a plan over a table."""

    project: str
    plan_hash: str
    timezone: str
    baseline: PeriodDates
    reporting: PeriodDates
    step_ms: int
    kpis: tuple[KpiResult, ...]
    totals: dict[str, Totals]
    screens: tuple[ScreenResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document as plain JSON values, keys in a fixed order: same inputs, same bytes."""
        return self.model_dump(mode="json")
