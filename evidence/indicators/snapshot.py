"""What the indicators look at: the state of one project at one moment. None = not known, which is never green."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wire.document import DocumentModel

Share = Annotated[float, Field(ge=0, le=1)]


class TrendPoint(DocumentModel):
    """The change of one week against the baseline as a fraction, negative = decrease; ``day`` is the week's last."""

    day: date
    change: float


class Trend(DocumentModel):
    """A KPI on its way: one point a week, oldest first, and the change that is to be reached at least."""

    kpi: str
    target: float
    higher_is_better: bool = False
    points: tuple[TrendPoint, ...] = ()

    @model_validator(mode="after")
    def _order(self) -> Trend:
        days = [point.day for point in self.points]
        if days != sorted(set(days)):
            raise ValueError("the points are in the order of their days, one a day")
        return self


class Asset(DocumentModel):
    """A subsidised gateway of the asset list. ``silent_hours`` since its newest record; None: it never sent one."""

    gateway: str
    enrolled: bool
    silent_hours: Annotated[float, Field(ge=0)] | None = None


class Snapshot(DocumentModel):
    """The state of a project on ``today``, in dates of the project's time zone; ends are the first day after.

    ``data_continuity`` is the share of the reporting period's intervals so far that have data; ``clock_s`` by how
    many seconds the worst of the gateways' clocks may be off (offset and its error); ``acceptance_end`` from the
    programme's calendar.
    """

    today: date
    data_continuity: Share | None = None
    chain: Literal["pass", "fail"] | None = None
    clock_s: Annotated[float, Field(ge=0)] | None = None
    baseline_coverage: Share | None = None
    registered: date | None = None
    reporting_start: date | None = None
    reporting_end: date | None = None
    acceptance_end: date | None = None
    trend: Trend | None = None
    assets: tuple[Asset, ...] | None = None
    connection_rate: Share | None = None
    open_incidents: Annotated[int, Field(ge=0)] | None = None
