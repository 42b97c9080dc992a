"""The evidence plan: what is compared with what, fixed before the reporting period begins.

Periods are half-open and in local dates of ``timezone``; where ``day_start`` is given they are production days, each
from that time of day to the same of the next day. The plan states no method's constants: those stand, with their
sources, where the method stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from evidence.errors import PlanError
from evidence.events.measurement_changes import MeasurementChange, change_problems
from evidence.events.recorded import NonRoutineEvent, event_problems
from evidence.kpi import Problem
from evidence.kpis import KpiEntry
from evidence.local_days import QuarterHour, ZoneName
from evidence.programme import PROGRAMME_NAME
from evidence.programmes import programme, programme_names
from evidence.quantities import QUANTITIES, Aggregation, Quantity
from evidence.table import day_start_ms
from wire.document import DocumentModel, problem, read_document, suggestion, validate_document

SERIES_NAME = r"^[a-z][a-z0-9_]{0,63}$"
GATEWAY_ID = r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$"
"""As `wire.topics.valid_identifier`."""


class Period(DocumentModel):
    """A half-open span of local dates: from midnight of ``from`` to midnight of ``to``."""

    start: date = Field(alias="from")
    to: date

    @model_validator(mode="after")
    def _forward(self) -> Period:
        if self.to <= self.start:
            raise ValueError(
                f"the period ends ({self.to}) before it begins ({self.start}); 'to' is the first day after it"
            )
        return self


DOCUMENT_SERIES = r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?/[a-z][a-z0-9_]{0,63}$"
"""Name of a mapping, and of a series in it: ``bills-2025/energy``."""
STORED_SERIES = r"^[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}/[a-z0-9_]{1,64}$"
"""Gateway, device, series of a history that the meter keeps: ``gw-01/meter-1/daily_active_energy_import``."""

DocumentSeries = Annotated[str, Field(pattern=DOCUMENT_SERIES)]
StoredSeries = Annotated[str, Field(pattern=STORED_SERIES)]


class EarlierSources(DocumentModel):
    """What a series is made of before the production day ``until``: documents, or what the meter had stored."""

    until: date
    documents: tuple[DocumentSeries, ...] = ()
    stored: tuple[StoredSeries, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> EarlierSources:
        if bool(self.documents) == bool(self.stored):
            raise ValueError("give either 'documents' or 'stored', not both and not neither")
        return self


class SeriesPlan(DocumentModel):
    """One measured quantity of the plan.

    ``sources`` (``from`` in the file) are full series ids such as ``gw-01/meter-1/active_energy_import``; several are
    added up (increments) or averaged (means), and the value is missing as soon as one of them is. ``resolution`` is
    what each interval value is stated to: values are rounded to it before they are added up.

    Without a gateway ``documents`` name imported series (``bills-2025/energy``), or ``stored`` what the meter had
    frozen by itself. ``earlier`` says from where the values before a day come, when that is not where they come from
    later: nothing is joined that the plan does not join.

    The rest is for the screens: ``maximum_rate``, the most that the circuit can deliver an hour (in the unit);
    ``meter_constant``, what one step of the meter's register is worth (pulse constant x CT x PT, in the unit);
    ``parts``, the series whose sum this one is apart from ``losses`` (a fraction), as a gate meter is of its
    sub-meters. Without ``losses`` the parts need not be everything.

    ``states`` makes a duration of state series: how long the machine was in one of these states.
    """

    quantity: str
    unit: str = Field(min_length=1, max_length=32)
    sources: tuple[str, ...] = Field(default=(), alias="from")
    documents: tuple[DocumentSeries, ...] = ()
    stored: tuple[StoredSeries, ...] = ()
    earlier: EarlierSources | None = None
    states: tuple[int, ...] = ()
    resolution: Annotated[Decimal, Field(gt=0)] | None = None
    maximum_rate: Annotated[float, Field(gt=0)] | None = None
    meter_constant: Annotated[float, Field(gt=0)] | None = None
    parts: tuple[str, ...] = ()
    losses: Annotated[float, Field(ge=0, lt=1)] | None = None

    @field_validator("quantity")
    @classmethod
    def _known(cls, quantity: str) -> str:
        if quantity not in QUANTITIES:
            raise ValueError(f"unknown quantity{suggestion(quantity, list(QUANTITIES))}")
        return quantity

    @field_validator("sources", "documents", "stored")
    @classmethod
    def _distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({source for source in sources if sources.count(source) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice and would be counted twice; keep one")
        return sources

    @property
    def has_source(self) -> bool:
        """Whether the plan says where its values come from; without, they have to come from a table."""
        return bool(self.sources or self.documents or self.stored)

    @property
    def stored_sources(self) -> tuple[str, ...]:
        """The series of meters' histories that it draws on at some time."""
        return (*self.stored, *(() if self.earlier is None else self.earlier.stored))

    @property
    def only_gateways(self) -> bool:
        """Whether all values come from what gateways measured."""
        return bool(self.sources) and self.earlier is None

    @property
    def columns(self) -> tuple[str, ...]:
        """What its values are called among those of other series: the source, and the states where it has any."""
        counted = ", ".join(map(str, self.states))
        return tuple(f"{source} = {counted}" if counted else source for source in self.sources)

    @property
    def definition(self) -> Quantity:
        """The row of `evidence.quantities.QUANTITIES` that this series is of."""
        return QUANTITIES[self.quantity]


class Plan(DocumentModel):
    """A plan as read from its file. Make one with `load_plan`.

    ``programme`` names a file of `evidence.programmes`, or is free text; ``batch`` is one of that programme's;
    ``assets`` are the ids of the subsidised gateways of the project's asset list. ``non_routine_events`` and
    ``measurement_changes`` are what people recorded since, in revisions of the plan.
    """

    plan: Literal[1]
    project: str = Field(min_length=1)
    programme: str = ""
    batch: str | None = None
    assets: tuple[Annotated[str, Field(pattern=GATEWAY_ID)], ...] = ()
    enterprise: str = Field(min_length=1)
    boundary: str = Field(min_length=1)
    timezone: ZoneName = "Asia/Shanghai"
    baseline: Period
    blackout: Period | None = None
    reporting: Period
    day_start: QuarterHour = time(0)
    series: dict[Annotated[str, Field(pattern=SERIES_NAME)], SeriesPlan] = Field(min_length=1)
    kpis: tuple[KpiEntry, ...] = Field(min_length=1)
    non_routine_events: tuple[NonRoutineEvent, ...] = ()
    measurement_changes: tuple[MeasurementChange, ...] = ()
    _hash: str = PrivateAttr(default="")

    @field_validator("programme")
    @classmethod
    def _programme_exists(cls, name: str) -> str:
        # Free text stays possible: not every retrofit is part of a programme whose rules are in a file.
        known = programme_names()
        if re.fullmatch(PROGRAMME_NAME, name) and name not in known:
            raise ValueError(f"no such programme{suggestion(name, list(known))}")
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the plan's dates."""
        return ZoneInfo(self.timezone)

    @property
    def span_ms(self) -> tuple[int, int]:
        """From the start of the first baseline day to the end of the last reporting day, UTC milliseconds."""
        edges = (self.baseline.start, self.reporting.to)
        first, end = (day_start_ms(day, self.day_start, self.zone) for day in edges)
        return first, end

    @property
    def hash(self) -> str:
        """SHA-256 of the plan file, lower-case hexadecimal."""
        return self._hash


def load_plan(text: str, source: str | PurePath) -> Plan:
    """Read a plan.

    ``text`` is the file's content as stored (UTF-8, line ends untouched, so that `Plan.hash` is the hash of the file);
    ``source`` names it in messages. Raises `wire.errors.DocumentError` when the text is no plan, `PlanError` when the
    plan contradicts itself; either names every problem with file and line.
    """
    document = read_document(text, str(source))
    plan = validate_document(Plan, document)
    found = [problem(document, location, what) for location, what in _contradictions(plan)]
    if found:
        raise PlanError(found)
    plan._hash = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return plan


def _contradictions(plan: Plan) -> Iterator[Problem]:
    yield from _period_problems(plan)
    yield from _programme_problems(plan)
    for name, series in plan.series.items():
        units = series.definition.units
        if units and series.unit not in units:
            yield (
                ("series", name, "unit"),
                f"'{series.unit}' is no unit of {series.quantity}{suggestion(series.unit, list(units))}",
            )
        yield from _part_problems(plan, name)
        yield from _source_problems(plan, name)
        if series.states and "min" not in units:
            yield ("series", name, "states"), f"say how long a machine was in them; {series.quantity} is no duration"
        if len(set(series.states)) < len(series.states):
            yield ("series", name, "states"), "name a state twice, which would count twice; keep one"
    ids = [kpi.id for kpi in plan.kpis]
    for position, kpi in enumerate(plan.kpis):
        if kpi.id in ids[:position]:
            yield ("kpis", position, "id"), f"another KPI already has the id '{kpi.id}'; ids tell results apart"
        for location, what in kpi.problems(plan.series):
            yield ("kpis", position, *location), what
    yield from event_problems(plan)
    yield from change_problems(plan)


def _programme_problems(plan: Plan) -> Iterator[Problem]:
    if plan.batch is not None:
        if plan.programme not in programme_names():
            yield ("batch",), f"is a batch of a programme; '{plan.programme}' is no programme whose batches are known"
        else:
            known = [batch.name for batch in programme(plan.programme).batches]
            if plan.batch not in known:
                yield ("batch",), f"{plan.programme} has no batch '{plan.batch}'{suggestion(plan.batch, known)}"
    for position, asset in enumerate(plan.assets):
        if asset in plan.assets[:position]:
            yield ("assets", position), f"'{asset}' stands twice and would be counted twice; keep one"


def _source_problems(plan: Plan, name: str) -> Iterator[Problem]:
    series, where = plan.series[name], ("series", name)
    sources = {"from": series.sources, "documents": series.documents, "stored": series.stored}
    given = [key for key, names in sources.items() if names]
    if len(given) > 1:
        yield (*where, given[1]), f"stands beside '{given[0]}'; what a series was made of earlier is said by 'earlier'"
    if series.stored and series.definition.aggregation is not Aggregation.INCREMENT:
        yield (*where, "stored"), f"meters freeze registers that count on, and {series.quantity} is none"
    if series.states and not series.sources:
        yield (*where, "states"), "are states of a machine that a gateway reads; name it by 'from'"
    earlier = series.earlier
    if earlier is None:
        return
    if not given:
        yield (*where, "earlier"), "needs to be said with what the series is made of since: 'from' or 'documents'"
    if not plan.baseline.start < earlier.until < plan.reporting.to:
        yield (
            (*where, "earlier", "until"),
            f"is not within the plan ({plan.baseline.start} to {plan.reporting.to}); nothing would be joined",
        )
    if earlier.stored and series.definition.aggregation is not Aggregation.INCREMENT:
        yield (*where, "earlier", "stored"), f"meters freeze registers that count on, and {series.quantity} is none"


def _part_problems(plan: Plan, name: str) -> Iterator[Problem]:
    whole = plan.series[name]
    for position, part in enumerate(whole.parts):
        where = ("series", name, "parts", position)
        if part not in plan.series:
            yield where, f"no series '{part}' in this plan{suggestion(part, list(plan.series))}"
        elif part == name:
            yield where, "a series is no part of itself"
        elif plan.series[part].quantity != whole.quantity:
            yield where, f"'{part}' is {plan.series[part].quantity}, and no part of {whole.quantity}"
    if whole.losses is not None and not whole.parts:
        yield ("series", name, "losses"), "losses are between a whole and its parts; name the 'parts'"


def _period_problems(plan: Plan) -> Iterator[Problem]:
    if plan.reporting.start < plan.baseline.to:
        yield (
            ("reporting", "from"),
            (
                f"begins {plan.reporting.start}, before the baseline ends ({plan.baseline.to}); "
                "the reporting period comes after the baseline and does not overlap it"
            ),
        )
    if plan.blackout is None:
        return
    if plan.blackout.start < plan.baseline.to:
        yield ("blackout", "from"), f"begins {plan.blackout.start}, before the baseline ends ({plan.baseline.to})"
    if plan.blackout.to > plan.reporting.start:
        yield ("blackout", "to"), f"ends {plan.blackout.to}, after the reporting period begins ({plan.reporting.start})"
