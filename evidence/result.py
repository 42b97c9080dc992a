"""The result of an evaluation as one typed document: what every page, file and bundle shows.

All values are finite. Changes, intervals and targets are fractions of the baseline value, negative = decrease.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from evidence.grade import EvidenceGrade
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
    series that lack more than the rule allows, or, when none alone does, all that lack anything. A
    ``non_routine_event`` is one that the plan leaves out."""

    day: date
    reason: Literal["no_data", "incomplete", "non_routine_event"]
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


class SeriesInput(ResultModel):
    """Where a series of a KPI comes from, from day ``first`` to before ``end``: ``sources`` are series of gateways, of
    meters' own histories, or of documents, ``grade`` who vouches for them."""

    series: str
    first: date
    end: date
    grade: EvidenceGrade
    sources: tuple[str, ...]


class KpiResult(ResultModel):
    """One KPI: values, change, interval, verdict and everything that led there.

    ``unit`` is the unit of ``baseline`` and ``reporting``. ``interval`` is None when ``verdict`` is
    `Verdict.INSUFFICIENT_DATA`, though values may be shown then, and when the verdict is one by rule
    (`evidence.rule_kpi`): the figures are compared as they are, and a reason says why there is no interval. ``grade``
    is the weakest of ``inputs``.
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
    grade: EvidenceGrade = EvidenceGrade.IMPORTED_DOCUMENT
    inputs: tuple[SeriesInput, ...] = ()


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


class EventCandidate(ResultModel):
    """Days from ``first`` to before ``end`` whose level stands apart: a question to people, and in no figure.

    ``days`` of them are used. ``level`` is what they lie above all other days of their period, in ``unit`` a day, and
    ``energy`` that over the days; ``statistic`` is the level in standard errors. ``recorded`` are the events of the
    plan that overlap it.
    """

    first: date
    end: date
    days: int
    level: float
    energy: float
    unit: str
    statistic: float
    recorded: tuple[str, ...]
    statement: Wording


class EventSearch(ResultModel):
    """The search for non-routine events on the residuals of one KPI's baseline model in one period.

    ``level`` is how often a period of ``days`` days without any event has a candidate, ``rho`` the autocorrelation for
    which ``critical`` is the limit of the statistic; None where it was not searched, and ``finding`` says why.
    """

    kpi: str
    period: Literal["baseline", "reporting"]
    state: Literal["searched", "not_checked"]
    days: int
    level: float
    rho: float | None
    critical: float | None
    candidates: tuple[EventCandidate, ...]
    finding: Wording


class EventQuantity(ResultModel):
    """Energy of an event within one period, positive = the event added it, with its standard uncertainty (k = 1).

    ``energy`` covers the whole part of the event in the period; ``days`` is how many used days it is estimated from,
    None for a stated quantity.
    """

    period: Literal["baseline", "reporting"]
    energy: float
    standard_uncertainty: float
    days: int | None


class RecordedEvent(ResultModel):
    """A non-routine event of the plan: from ``start_ms`` to before ``end_ms`` (UTC).

    ``taken_out`` is what the figures are corrected by; ``estimated`` what the baseline model finds by an indicator
    variable, whatever the treatment, where the days determine it: for comparison. Both in ``unit``.
    ``evidence`` are names and hashes of documents.
    """

    id: str
    what: str
    start_ms: int
    end_ms: int
    series: str
    factor: str
    recorded_by: str
    recorded: date
    recorded_before_reporting: bool
    recorded_after_reporting: bool
    evidence: tuple[tuple[str, str], ...]
    treatment: Literal["exclude", "adjust", "model"]
    basis: str | None
    unit: str
    taken_out: tuple[EventQuantity, ...]
    estimated: tuple[EventQuantity, ...]


class EventVariant(ResultModel):
    """A KPI as it is with some of the recorded events: ``all`` (the figure of the plan), ``none``, or all ``without``
    one ``event``."""

    events: Literal["all", "none", "without"]
    event: str | None
    baseline: float | None
    reporting: float | None
    change: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    coverage: Coverage


class EventFigures(ResultModel):
    """A KPI with and without its recorded events; ``verdict_depends`` where the verdicts differ."""

    kpi: str
    unit: str
    variants: tuple[EventVariant, ...]
    verdict_depends: bool


class MeasurementEvent(ResultModel):
    """A change of how a device measures, as the gateway signed it or (``recorded_by``) as a person recorded it.

    ``effect``: ``joined`` by the signed readings of both meters; ``gap``, the energy across it is not known and not
    counted; ``confirmed`` or ``corrected`` by a record of the plan (``record``); ``uncorrected``, and the KPIs of
    ``series`` have no verdict; ``noted``, it changes no value.
    """

    time_ms: int
    device: str
    setting: str
    before: str
    after: str
    series: tuple[str, ...]
    effect: Literal["joined", "gap", "confirmed", "corrected", "uncorrected", "noted"]
    record: str | None
    recorded_by: str | None
    statement: Wording


class Events(ResultModel):
    """All that happened beside the retrofit: looked for, recorded, with and without, and how meters were set."""

    searches: tuple[EventSearch, ...]
    recorded: tuple[RecordedEvent, ...]
    figures: tuple[EventFigures, ...]
    measurement: tuple[MeasurementEvent, ...]


class PeriodDates(ResultModel):
    """A half-open period of local dates."""

    first: date
    end: date


RESULT_SCHEMA: Literal["urn:shopfloor-evidence:result:1"] = "urn:shopfloor-evidence:result:1"
"""Names what a result looks like. Within a number fields, and words in lists of words, are only added; one that goes,
is renamed or comes to mean something else (type, unit, sign, reference) takes another number."""


class Evaluation(ResultModel):
    """All KPIs, totals and screens of a plan over a table. Nothing in it tells when or where it was computed."""

    document: Literal["urn:shopfloor-evidence:result:1"] = Field(default=RESULT_SCHEMA, alias="$schema")
    project: str
    plan_hash: str
    timezone: str
    baseline: PeriodDates
    reporting: PeriodDates
    step_ms: int
    kpis: tuple[KpiResult, ...]
    totals: dict[str, Totals]
    screens: tuple[ScreenResult, ...]
    events: Events

    def to_json(self) -> dict[str, Any]:
        """Return the document as plain JSON values, keys in a fixed order: same inputs, same bytes."""
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """Return the document as it is written to files: UTF-8, two spaces an indent, a line feed at the end.

        Floats have the fewest digits that give the same double again; there is no NaN and no infinity.
        """
        text = json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=2)
        return (text + "\n").encode("utf-8")
