"""What every KPI of a plan has in common. A KPI is one file in `evidence.kpis`: a subclass of `KpiPlan` defined there
is found by itself, its ``kind`` becomes known to plans, and its fields are what a plan may say about it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from evidence.kpi_description import Better, KpiDescription
from evidence.result import KpiResult
from wire.document import DocumentModel, Location, suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan
    from evidence.table import IntervalTable

DEFAULT_CONFIDENCE = 0.90

Problem = tuple[Location, str]
"""Where in a KPI's part of the plan something is wrong, and what."""


class Target(DocumentModel):
    """The change to be reached at least: exactly one of ``change`` (-0.08) and ``saving`` (0.08) says the same
    thing."""

    change: Annotated[float, Field(gt=-1)] | None = None
    saving: Annotated[float, Field(lt=1)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if (self.change is None) == (self.saving is None):
            raise ValueError("give either 'change' or 'saving', not both and not neither")
        return self

    @property
    def as_change(self) -> float:
        """The target as a change: a saving of 0.08 is a change of -0.08."""
        if self.change is not None:
            return self.change
        assert self.saving is not None  # noqa: S101 - the validator allows nothing else
        return -self.saving


class KpiPlan(DocumentModel):
    """One entry of a plan's ``kpis``: what is to be shown, from which series, against which target."""

    description: ClassVar[KpiDescription]
    """Formula, source, unit, sign, inputs, limits. Every KPI states its own."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    kind: str
    target: Target | None = None
    confidence: float = Field(default=DEFAULT_CONFIDENCE, ge=0.5, le=0.999)

    @abstractmethod
    def problems(self, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
        """Yield what is wrong with this KPI given the plan's series."""

    @abstractmethod
    def names(self) -> list[str]:
        """The series that this KPI needs."""

    @abstractmethod
    def evaluate(self, plan: Plan, table: IntervalTable) -> KpiResult:
        """Compute this KPI. Insufficient data is a result, never an exception."""

    def target_problems(self) -> Iterator[Problem]:
        """Yield a target that would call a deterioration a success."""
        change = self.target_change
        if change is not None and (change < 0 if self.higher_is_better else change > 0):
            better = self.description.better.value
            yield ("target",), f"asks for a change of {change:+g}, but of {self.kind} {better} is better; turn the sign"

    @property
    def higher_is_better(self) -> bool:
        """Whether a rise is an improvement."""
        return self.description.better is Better.HIGHER

    @property
    def target_change(self) -> float | None:
        """The target as a change, None without a target."""
        return None if self.target is None else self.target.as_change


def series_problem(location: Location, name: str, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
    """Yield a problem when ``name`` is no series of the plan."""
    if name not in series:
        yield location, f"no series '{name}' in this plan{suggestion(name, list(series))}"


def energy_problem(location: Location, name: str, series: Mapping[str, SeriesPlan]) -> Iterator[Problem]:
    """Yield a problem when ``name`` is no series of the plan or no active energy."""
    yield from series_problem(location, name, series)
    if name in series and not series[name].definition.active_energy:
        quantity = series[name].quantity
        yield location, f"'{name}' is {quantity}, not an active energy; name a series of active_energy_import"
