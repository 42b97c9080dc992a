"""The evidence plan: what is compared with what, fixed before the reporting period begins.

Periods are half-open and in local dates of ``timezone``. The plan states no method's constants: those stand, with their
sources, where the method stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, field_validator, model_validator

from evidence.errors import PlanError
from evidence.kpi import Problem
from evidence.kpis import KpiEntry
from evidence.quantities import QUANTITIES, Quantity
from wire.document import DocumentModel, problem, read_document, suggestion, validate_document

SERIES_NAME = r"^[a-z][a-z0-9_]{0,63}$"


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


class SeriesPlan(DocumentModel):
    """One measured quantity of the plan.

    ``sources`` (``from`` in the file) are full series ids such as ``gw-01/meter-1/active_energy_import``; several are
    added up (increments) or averaged (means), and the value is missing as soon as one of them is. ``resolution`` is
    what each interval value is stated to: values are rounded to it before they are added up.
    """

    quantity: str
    unit: str = Field(min_length=1, max_length=32)
    sources: tuple[str, ...] = Field(default=(), alias="from")
    resolution: Annotated[Decimal, Field(gt=0)] | None = None

    @field_validator("quantity")
    @classmethod
    def _known(cls, quantity: str) -> str:
        if quantity not in QUANTITIES:
            raise ValueError(f"unknown quantity{suggestion(quantity, list(QUANTITIES))}")
        return quantity

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({source for source in sources if sources.count(source) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice and would be counted twice; keep one")
        return sources

    @property
    def definition(self) -> Quantity:
        """The row of `evidence.quantities.QUANTITIES` that this series is of."""
        return QUANTITIES[self.quantity]


class Plan(DocumentModel):
    """A plan as read from its file. Make one with `load_plan`."""

    plan: Literal[1]
    project: str = Field(min_length=1)
    programme: str = ""
    enterprise: str = Field(min_length=1)
    boundary: str = Field(min_length=1)
    timezone: str = "Asia/Shanghai"
    baseline: Period
    blackout: Period | None = None
    reporting: Period
    series: dict[Annotated[str, Field(pattern=SERIES_NAME)], SeriesPlan] = Field(min_length=1)
    kpis: tuple[KpiEntry, ...] = Field(min_length=1)
    _hash: str = PrivateAttr(default="")

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no such time zone; use a name of the IANA database such as Asia/Shanghai") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the plan's dates."""
        return ZoneInfo(self.timezone)

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
    for name, series in plan.series.items():
        units = series.definition.units
        if units and series.unit not in units:
            yield (
                ("series", name, "unit"),
                f"'{series.unit}' is no unit of {series.quantity}{suggestion(series.unit, list(units))}",
            )
    ids = [kpi.id for kpi in plan.kpis]
    for position, kpi in enumerate(plan.kpis):
        if kpi.id in ids[:position]:
            yield ("kpis", position, "id"), f"another KPI already has the id '{kpi.id}'; ids tell results apart"
        for location, what in kpi.problems(plan.series):
            yield ("kpis", position, *location), what


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
