"""What every screen has in common. A screen looks for one thing that data of a real meter do not do.

A screen is one file in `evidence.screens`: a subclass of `Screen` defined there is found by itself. It gives no verdict
on anybody: what it finds is an anomaly that needs checking on site (异常，需现场核实), with the places and the
numbers. A screen that lacks what it needs says that it did not check, and why; it never says that all is well then.

Screens are exact functions of what was measured: the order of the rows and the unit of a series do not matter.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from evidence.quantities import KWH_PER_UNIT, Aggregation, Quantity
from evidence.result import ScreenPlace, ScreenResult, Wording
from evidence.table import DAY_MS, FloatArray, IntArray, IntervalTable, day_start_ms

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.signed_facts import SignedFacts

BoolArray = NDArray[np.bool_]

ANOMALY = Wording(en="anomaly, needs checking on site", zh="异常，需现场核实")
CLEAR = Wording(en="no anomaly found", zh="未见异常")
NOT_CHECKED = Wording(en="NOT CHECKED", zh="未检查")

JOINED_DAYS = 7
"""Odd days less than a week apart are one place."""
PLACES_SHOWN = 50
"""More places than these are counted, not listed."""

BASE_UNITS: Mapping[str, float] = {
    **KWH_PER_UNIT,
    "varh": 0.001,
    "kvarh": 1.0,
    "Mvarh": 1000.0,
    "VAh": 0.001,
    "kVAh": 1.0,
    "MVAh": 1000.0,
    "W": 0.001,
    "kW": 1.0,
    "MW": 1000.0,
    "var": 0.001,
    "kvar": 1.0,
    "Mvar": 1000.0,
    "kg": 1.0,
    "t": 1000.0,
    "L": 0.001,
    "m3": 1.0,
    "m": 1.0,
    "km": 1000.0,
    "%": 0.01,
}
"""How many of the base unit (kWh, kvarh, kW, kvar, kg, m3, m, 1) one of a unit is; units that are not here stay."""

_PHASE = re.compile(r"^(.+)_l([123])$")


class Strength(StrEnum):
    """How much weight an anomaly has: whether honest data can hardly show it, or do now and then."""

    STRONG = "strong"
    WEAK = "weak"


@dataclass(frozen=True)
class Channel:
    """One measured series on the grid of the table.

    ``values`` are in the base unit (`BASE_UNITS`), NaN = missing. ``meter`` names the device (``gateway/device``),
    empty when not known: all series of a table without sources count as one meter's. ``source`` is the full series id
    where there is one, else empty. ``phase`` is 1, 2 or 3 of a single phase, which the suffix ``_l1`` to ``_l3`` of
    that (else of the name) tells, and 0 of a total.
    ``resolution``, ``maximum_rate`` (an
    hour) and ``step`` (the meter constant) are as declared, in the base unit, None = not declared. ``parts`` are the
    names of the channels whose sum this one is, apart from ``losses`` (a fraction; None = an unmetered rest is
    allowed).
    """

    name: str
    quantity: Quantity
    values: FloatArray
    meter: str = ""
    source: str = ""
    resolution: float | None = None
    maximum_rate: float | None = None
    step: float | None = None
    parts: tuple[str, ...] = ()
    losses: float | None = None

    @property
    def phase(self) -> int:
        """Number of the phase, 0 for a total."""
        found = _PHASE.match(self.source or self.name)
        return 0 if found is None else int(found[2])

    @property
    def total(self) -> str:
        """The name without its phase, by which a total and its phases belong together."""
        found = _PHASE.match(self.source or self.name)
        return (self.source or self.name) if found is None else found[1]

    @property
    def is_increment(self) -> bool:
        """Whether interval values are amounts, which are added up."""
        return self.quantity.aggregation is Aggregation.INCREMENT

    @property
    def is_metered(self) -> bool:
        """Whether interval values are amounts of something that flows, such as energy: no pieces, no degree days."""
        return self.is_increment and bool(self.quantity.units) and not self.quantity.production


@dataclass(frozen=True)
class Subject:
    """What is screened: channels on one grid of times, and what the signed records say beside them.

    Make one with `subject_of` or `subject_of_rows`. ``time_ms`` (UTC, starts) increases; ``baseline_ms`` and
    ``reporting_ms`` are half-open spans.
    """

    time_ms: IntArray
    step_ms: int
    zone: ZoneInfo
    channels: tuple[Channel, ...]
    baseline_ms: tuple[int, int]
    reporting_ms: tuple[int, int]
    signed: SignedFacts | None = None

    def place(
        self, names: Sequence[str], first: int, last: int, figures: Mapping[str, float] | None = None
    ) -> ScreenPlace:
        """The place from row ``first`` to row ``last`` (both included)."""
        end_ms = int(self.time_ms[last]) + self.step_ms
        return ScreenPlace(
            series=tuple(names), start_ms=int(self.time_ms[first]), end_ms=end_ms, figures=dict(figures or {})
        )

    @property
    def rows_a_day(self) -> int:
        """How many intervals a day of 24 h has."""
        return max(DAY_MS // self.step_ms, 1)

    @cached_property
    def days(self) -> IntArray:
        """Number of the local day of each row, counted from an arbitrary one, as the local clock at its start says."""
        return np.asarray(self._local_ms // DAY_MS, dtype=np.int64)

    @cached_property
    def rows_of_day(self) -> IntArray:
        """Place of each row in its local day, counted in steps from midnight by the local clock."""
        return np.asarray((self._local_ms % DAY_MS) // self.step_ms, dtype=np.int64)

    @cached_property
    def _local_ms(self) -> IntArray:
        return self.time_ms + _offsets_ms(self.time_ms, self.zone)


def _offsets_ms(time_ms: IntArray, zone: ZoneInfo) -> IntArray:
    """Distance of local time from UTC at each moment: looked up once a day, and for each moment where clocks change."""
    days, day = np.unique(time_ms // DAY_MS, return_inverse=True)
    at_begin, at_end = (_looked_up(one * DAY_MS, zone) for one in (days, days + 1))
    found, changing = at_begin[day], (at_begin != at_end)[day]
    found[changing] = _looked_up(time_ms[changing], zone)
    return found


def _looked_up(time_ms: IntArray, zone: ZoneInfo) -> IntArray:
    moments = (datetime.fromtimestamp(one // 1000, zone) for one in time_ms.tolist())
    offsets = [round((moment.utcoffset() or moment - moment).total_seconds() * 1000) for moment in moments]
    return np.asarray(offsets, dtype=np.int64)


def subject_of(
    plan: Plan, table: IntervalTable, signed: SignedFacts | None = None, siblings: Iterable[Channel] = ()
) -> Subject:
    """The series of a plan's table, and ``siblings``: what else the same meters told at the same times."""
    channels = [*(_channel(plan, table, name) for name in plan.series)]
    known = {source for series in plan.series.values() for source in series.sources}
    channels += [channel for channel in siblings if channel.name not in known]
    return subject_of_rows(plan, table.time_ms, table.step_ms, channels, signed)


def subject_of_rows(
    plan: Plan, time_ms: IntArray, step_ms: int, channels: Iterable[Channel], signed: SignedFacts | None = None
) -> Subject:
    """Rows in any order: they are sorted by time, the channels by name."""
    order = np.argsort(time_ms, kind="stable")
    ordered = (replace(channel, values=channel.values[order]) for channel in channels)
    spans = [
        (day_start_ms(period.start, plan.day_start, plan.zone), day_start_ms(period.to, plan.day_start, plan.zone))
        for period in (plan.baseline, plan.reporting)
    ]
    return Subject(
        time_ms=time_ms[order],
        step_ms=step_ms,
        zone=plan.zone,
        channels=tuple(sorted(ordered, key=lambda channel: channel.name)),
        baseline_ms=spans[0],
        reporting_ms=spans[1],
        signed=signed,
    )


def _channel(plan: Plan, table: IntervalTable, name: str) -> Channel:
    series = plan.series[name]
    factor = BASE_UNITS.get(series.unit, 1.0)
    meters = {source.rsplit("/", 1)[0] for source in series.sources}

    def scaled(value: float | None) -> float | None:
        return None if value is None else float(value) * factor

    return Channel(
        name=name,
        quantity=series.definition,
        values=table.stated(name) * factor,
        meter=meters.pop() if len(meters) == 1 else "+".join(sorted(meters)),
        source=series.sources[0] if len(series.sources) == 1 else "",
        resolution=scaled(None if series.resolution is None else float(series.resolution)),
        maximum_rate=scaled(series.maximum_rate),
        step=scaled(series.meter_constant),
        parts=series.parts,
        losses=series.losses,
    )


@dataclass(frozen=True)
class Found:
    """What a screen saw: the series it looked at, the places that do not fit (none: no anomaly), and a sentence."""

    series: tuple[str, ...]
    en: str
    zh: str
    places: tuple[ScreenPlace, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NotChecked:
    """Why a screen could not look."""

    en: str
    zh: str


class Screen(ABC):
    """One screen. The class variables are what a reader is told: they do not depend on the data."""

    name: ClassVar[str]
    strength: ClassVar[Strength]
    title: ClassVar[Wording]
    meaning: ClassVar[Wording]
    limits: ClassVar[Wording]

    @abstractmethod
    def examine(self, subject: Subject) -> Found | NotChecked:
        """Look at the subject. Never raises for data, however odd."""

    def result(self, subject: Subject) -> ScreenResult:
        """The typed result of `examine`."""
        found = self.examine(subject)
        places = found.places if isinstance(found, Found) else ()
        state: Literal["anomaly", "clear", "not_checked"] = "anomaly" if places else "clear"
        statement = ANOMALY if places else CLEAR
        if isinstance(found, NotChecked):
            state, statement = "not_checked", NOT_CHECKED
        ordered = sorted(places, key=lambda place: (place.start_ms, place.series, place.end_ms))
        return ScreenResult(
            name=self.name,
            strength=self.strength.value,
            state=state,
            statement=statement,
            title=self.title,
            meaning=self.meaning,
            limits=self.limits,
            finding=Wording(en=found.en, zh=found.zh),
            series=found.series if isinstance(found, Found) else (),
            figures=dict(found.figures) if isinstance(found, Found) else {},
            places=tuple(ordered[:PLACES_SHOWN]),
            more_places=max(len(ordered) - PLACES_SHOWN, 0),
        )


def joined_runs(mask: BoolArray, gap: int) -> list[tuple[int, int]]:
    """As `runs`; runs with fewer than ``gap`` false values between them are one."""
    joined: list[tuple[int, int]] = []
    for first, last in runs(mask):
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def runs(mask: BoolArray) -> list[tuple[int, int]]:
    """First and last row (both included) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
