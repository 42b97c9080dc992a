"""Non-routine events as people record them in a plan: what happened, when, to what, and how the figures treat it.

IPMVP calls an event non-routine when a static factor changed: something that was taken as given in the baseline and is
not among the model's variables. A record stands in the plan, so that it is registered, dated and hashed with it, and an
event that is thought of later is an amendment that everybody sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from evidence.kpi import Problem, energy_problem
from evidence.table import day_start_ms
from wire.document import DocumentModel

if TYPE_CHECKING:
    from evidence.plan import Period, Plan

Treatment = Literal["exclude", "adjust", "model"]
PeriodName = Literal["baseline", "reporting"]
PERIODS: tuple[PeriodName, ...] = ("baseline", "reporting")

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?")


def _read_moment(value: object) -> object:
    if isinstance(value, str):
        if not _MOMENT.fullmatch(value):
            raise ValueError("is no local date or time; write 2025-10-06 or '2025-10-06 08:00'")
        return datetime.fromisoformat(value) if len(value) > len("2025-10-06") else date.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        raise ValueError("has a zone of its own; times of a plan are local to its 'timezone'")
    return value


Moment = Annotated[datetime | date, BeforeValidator(_read_moment)]
"""A local date, which begins with the plan's day, or a local date and time."""


def moment_ms(moment: datetime | date, plan: Plan) -> int:
    """UTC milliseconds of a local moment of ``plan``; of a time that occurs twice the earlier."""
    if isinstance(moment, datetime):
        return round(moment.replace(tzinfo=plan.zone).timestamp() * 1000)
    return day_start_ms(moment, plan.day_start, plan.zone)


class EvidenceFile(DocumentModel):
    """A document that shows what is recorded: its name and the SHA-256 of its bytes."""

    file: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PersonalRecord(DocumentModel):
    """What every record of a person has: an id, what happened, who wrote it down and when, and what shows it."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    what: str = Field(min_length=4)
    recorded_by: str = Field(min_length=1)
    recorded: date
    evidence: tuple[EvidenceFile, ...] = ()


class NonRoutineEvent(PersonalRecord):
    """One event: from ``from`` to before ``to``, it changed the static ``factor`` and so the energy ``series``.

    ``treatment``: ``exclude`` leaves out the days that it touches; ``adjust`` takes out a stated ``energy`` (in the
    unit of the series; positive = the event added it, negative = it took it away), or what ``sub_meter``, a series that
    measures nothing else, read meanwhile, either with its ``standard_uncertainty`` (k = 1) and the ``basis`` it rests
    on; ``model`` takes out what an indicator variable of the baseline model finds.
    """

    start: Moment = Field(alias="from")
    to: Moment
    series: str
    factor: str = Field(min_length=2)
    treatment: Treatment
    energy: float | None = None
    sub_meter: str | None = None
    standard_uncertainty: float | None = Field(default=None, ge=0)
    basis: str | None = Field(default=None, min_length=4)

    @model_validator(mode="after")
    def _quantity_belongs_to_adjust(self) -> NonRoutineEvent:
        stated = (self.energy, self.sub_meter, self.standard_uncertainty, self.basis)
        if self.treatment != "adjust":
            if any(one is not None for one in stated):
                raise ValueError(
                    f"'{self.treatment}' works out the quantity itself; energy, sub_meter, standard_uncertainty and "
                    "basis belong to 'treatment: adjust'"
                )
            return self
        if (self.energy is None) == (self.sub_meter is None):
            raise ValueError("'adjust' needs either 'energy' or 'sub_meter', not both and not neither")
        if self.standard_uncertainty is None or self.basis is None:
            raise ValueError("'adjust' needs 'standard_uncertainty' (k = 1) and 'basis', how the quantity was found")
        return self

    def span_ms(self, plan: Plan) -> tuple[int, int]:
        """From the first moment to before the last one, UTC milliseconds."""
        return moment_ms(self.start, plan), moment_ms(self.to, plan)

    def inside(self, plan: Plan, period: PeriodName) -> tuple[int, int] | None:
        """The part of the event that lies in a period, UTC milliseconds; None when none does."""
        start, end = self.span_ms(plan)
        first, last = period_ms(plan, getattr(plan, period))
        start, end = max(start, first), min(end, last)
        return (start, end) if start < end else None


def period_ms(plan: Plan, period: Period) -> tuple[int, int]:
    """The edges of a period, UTC milliseconds."""
    first, end = (day_start_ms(day, plan.day_start, plan.zone) for day in (period.start, period.to))
    return first, end


def event_problems(plan: Plan) -> Iterator[Problem]:
    """Yield what is wrong with the non-routine events of a plan."""
    for position, event in enumerate(plan.non_routine_events):
        where = ("non_routine_events", position)
        if event.id in [one.id for one in plan.non_routine_events[:position]]:
            yield (*where, "id"), f"another event already has the id '{event.id}'"
        start, end = event.span_ms(plan)
        if end <= start:
            yield (*where, "to"), f"ends ({event.to}) before it begins ({event.start}); 'to' is the first moment after"
        elif all(event.inside(plan, period) is None for period in PERIODS):
            yield (*where, "from"), "the event lies in neither period and changes no figure; leave it out"
        yield from energy_problem((*where, "series"), event.series, plan.series)
        if event.sub_meter is not None:
            yield from energy_problem((*where, "sub_meter"), event.sub_meter, plan.series)
            if event.sub_meter == event.series:
                yield (*where, "sub_meter"), "is the series itself; name one that measures the event alone"
        if event.treatment == "model" and modelling_kpi(plan, event.series) is None:
            yield (
                (*where, "treatment"),
                f"needs a baseline model of '{event.series}'; the plan has no adjusted_saving of it",
            )


def modelling_kpi(plan: Plan, series: str) -> str | None:
    """The id of the first adjusted saving of an energy ``series``: by its model events are quantified."""
    found = (kpi.id for kpi in plan.kpis if kpi.kind == "adjusted_saving" and getattr(kpi, "energy", None) == series)
    return next(found, None)
