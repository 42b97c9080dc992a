"""From where on an indicator is green, yellow or red: part of the programme file, so that each programme may differ."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from evidence.result import Wording
from wire.document import DocumentModel


class AtLeast(DocumentModel):
    """Green from ``green`` up, yellow from ``yellow`` up, else red."""

    green: Annotated[float, Field(ge=0)]
    yellow: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _order(self) -> AtLeast:
        if self.yellow > self.green:
            raise ValueError("more is better here: yellow begins at or below green")
        return self


class AtMost(DocumentModel):
    """Green up to ``green``, yellow up to ``yellow``, else red."""

    green: Annotated[float, Field(ge=0)]
    yellow: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _order(self) -> AtMost:
        if self.yellow < self.green:
            raise ValueError("less is better here: yellow ends at or above green")
        return self


class Thresholds(DocumentModel):
    """The thresholds of those indicators that have any. ``basis`` says who set them.

    Shares are fractions, ``clock_s`` seconds, ``registered_days`` days before the reporting period begins,
    ``schedule_days`` days between the end of the reporting period and the end of acceptance, ``silent_hours`` how long
    a gateway may be silent and still count as delivering, ``early_warning_confidence`` the level of the interval of the
    extrapolated trend.
    """

    basis: Wording
    data_continuity: AtLeast
    clock_s: AtMost
    baseline_coverage: AtLeast
    registered_days: AtLeast
    schedule_days: AtLeast
    assets_delivered: AtLeast
    connection_rate: AtLeast
    open_incidents: AtMost
    silent_hours: Annotated[float, Field(gt=0)]
    early_warning_confidence: Annotated[float, Field(gt=0.5, lt=1)]
