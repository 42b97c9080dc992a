"""Changes of how a device measures: what gateways signed, what people recorded about it, and what is done.

A replaced meter is joined by both signed readings, else its energy across the change is a gap. A transformer ratio or a
scale that changed makes values before and after incomparable: energy figures have no verdict until a person has
recorded that both are right (the transformers were exchanged together with the setting), or by what the values of a
stretch are to be multiplied (the setting had been wrong).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from evidence.events.recorded import Moment, PersonalRecord, moment_ms
from evidence.events.treatment import overlap
from evidence.kpi import Problem, series_problem
from evidence.quantities import Aggregation
from evidence.result import MeasurementEvent, Wording
from evidence.signed_facts import Change, SignedFacts
from evidence.table import DAY_MS, IntervalTable
from wire.document import suggestion

if TYPE_CHECKING:
    from evidence.plan import Plan, SeriesPlan

NOTICE_MS = 26 * 3_600_000
"""Ratios are re-read once a day: a gateway notices a change up to this long after a person made it."""

RATIO_SETTINGS = frozenset({"CT ratio", "PT ratio", "primary", "ratio_changed"})
_SERIES = "series "
_METER = frozenset({"serial number", "meter_replaced"})

Effect = Literal["joined", "gap", "confirmed", "corrected", "uncorrected", "noted"]

_STATEMENTS: Mapping[Effect, Wording] = {
    "joined": Wording(
        en="Meter replaced: the counter is joined by the signed readings of both meters.",
        zh="更换电表：按签名的新旧表底数衔接。",
    ),
    "gap": Wording(
        en="Meter replaced: what flowed between both meters' readings is not known and not counted.",
        zh="更换电表：新旧表读数之间的用能未知，不计入。",
    ),
    "confirmed": Wording(
        en="A person recorded that values before and after are both right.",
        zh="已有人登记：变更前后的数值均正确。",
    ),
    "corrected": Wording(
        en="The values of the recorded stretch are multiplied by the recorded factor.",
        zh="已按登记的系数修正相应时段的数值。",
    ),
    "uncorrected": Wording(
        en="Needs checking on site: values before and after are not in one measure; energy figures have no verdict.",
        zh="需现场核实：前后数值的计量口径不一致；相关能耗指标不作结论。",
    ),
    "noted": Wording(
        en="Noted: it changes no value that a figure is made of.",
        zh="已记录：不改变任何计算所用的数值。",
    ),
}


class MeasurementChange(PersonalRecord):
    """What a person says of a change of ``device`` (``gateway/device``) at the local moment ``at``.

    ``as_measured``: values before and after are right. ``scale``: values of ``series`` from ``since`` to before ``at``
    are to be multiplied by ``multiply_by``.
    """

    device: str = Field(pattern=r"^[a-z0-9_-]+/[A-Za-z0-9_.-]+$")
    at: Moment
    treatment: Literal["as_measured", "scale"]
    since: Moment | None = None
    multiply_by: float | None = Field(default=None, gt=0)
    series: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _what_is_scaled(self) -> MeasurementChange:
        told = (self.since is not None, self.multiply_by is not None, bool(self.series))
        if self.treatment == "scale" and not all(told):
            raise ValueError("'scale' needs 'since', 'multiply_by' and 'series'")
        if self.treatment == "as_measured" and any(told):
            raise ValueError("'as_measured' changes no value; since, multiply_by and series belong to 'scale'")
        return self


def change_problems(plan: Plan) -> Iterator[Problem]:
    """Yield what is wrong with the measurement changes of a plan."""
    devices = sorted({_device(source) for series in plan.series.values() for source in series.sources})
    for position, change in enumerate(plan.measurement_changes):
        where = ("measurement_changes", position)
        if change.id in [one.id for one in plan.measurement_changes[:position]]:
            yield (*where, "id"), f"another change already has the id '{change.id}'"
        if change.device not in devices:
            yield (
                (*where, "device"),
                f"no series of the plan is from '{change.device}'{suggestion(change.device, devices)}",
            )
        if change.since is not None and moment_ms(change.since, plan) >= moment_ms(change.at, plan):
            yield (*where, "since"), f"is {change.since}, not before the change ({change.at})"
        for place, name in enumerate(change.series):
            here = (*where, "series", place)
            yield from ((here, what) for _, what in series_problem(here, name, plan.series))
            if name in plan.series and (reason := _not_scalable(plan.series[name], change.device)):
                yield here, f"'{name}' {reason}"


def _not_scalable(series: SeriesPlan, device: str) -> str:
    if [_device(source) for source in series.sources] != [device]:
        return f"is not from {device} alone, so that one factor does not correct it"
    if series.states or series.definition.exogenous:
        return f"is {series.quantity}, which no transformer ratio scales"
    return ""


def scaled(plan: Plan, table: IntervalTable) -> IntervalTable:
    """The table with the stretches that people recorded as wrongly scaled set right.

    An interval that lies across an end of such a stretch is in two measures: its value is missing.
    """
    values = dict(table.values)
    for change in plan.measurement_changes:
        if change.multiply_by is None or change.since is None:
            continue
        since, until = moment_ms(change.since, plan), moment_ms(change.at, plan)
        for name in change.series:
            share = overlap(table, since, until)
            corrected = np.where(share > 0.0, values[name] * change.multiply_by, values[name])
            values[name] = np.where((share > 0.0) & (share < 1.0), np.nan, corrected)
    return replace(table, values=values)


def measurement_events(plan: Plan, table: IntervalTable, signed: SignedFacts | None) -> tuple[MeasurementEvent, ...]:
    """Every change of a plan's devices within its span, with what is done about it, by time.

    ``table`` is as measured: it shows whether a replaced meter's counter could be joined.
    """
    first_ms, end_ms = plan.span_ms
    changes = () if signed is None else signed.changes
    found = [_signed(plan, table, change) for change in changes if first_ms <= change.time_ms < end_ms]
    answered = {event.record for event in found}
    found += [_recorded(plan, change) for change in plan.measurement_changes if change.id not in answered]
    return tuple(sorted(found, key=lambda event: (event.time_ms, event.device, event.setting, event.after)))


def _signed(plan: Plan, table: IntervalTable, change: Change) -> MeasurementEvent:
    series = tuple(_affected(plan, change))
    record = next((one for one in plan.measurement_changes if _answers(plan, one, change)), None)
    effect = _effect(table, change, series, record)
    return MeasurementEvent(
        time_ms=change.time_ms,
        device=change.device,
        setting=change.setting,
        before=change.before,
        after=change.after,
        series=series,
        effect=effect,
        record=None if record is None else record.id,
        recorded_by=None if record is None else record.recorded_by,
        statement=_STATEMENTS[effect],
    )


def _recorded(plan: Plan, change: MeasurementChange) -> MeasurementEvent:
    effect: Effect = "corrected" if change.treatment == "scale" else "confirmed"
    names = change.series or tuple(_of_device(plan, change.device))
    return MeasurementEvent(
        time_ms=moment_ms(change.at, plan),
        device=change.device,
        setting=change.what,
        before="",
        after="" if change.multiply_by is None else f"x {change.multiply_by:g}",
        series=names,
        effect=effect,
        record=change.id,
        recorded_by=change.recorded_by,
        statement=_STATEMENTS[effect],
    )


def _answers(plan: Plan, record: MeasurementChange, change: Change) -> bool:
    late_ms = change.time_ms - moment_ms(record.at, plan)
    return record.device == change.device and -DAY_MS <= late_ms <= NOTICE_MS


def _effect(table: IntervalTable, change: Change, series: Iterable[str], record: MeasurementChange | None) -> Effect:
    counters = [name for name in series if table.series[name].definition.aggregation is Aggregation.INCREMENT]
    if change.setting in _METER:
        if not counters:
            return "noted"
        across = np.flatnonzero(table.time_ms <= change.time_ms)[-1:]
        known = all(bool(np.isfinite(table.values[name][across]).all()) for name in counters)
        return "joined" if known and across.size else "gap"
    if not series or not (change.setting in RATIO_SETTINGS or change.setting.startswith(_SERIES)):
        return "noted"
    if record is None:
        return "uncorrected"
    return "corrected" if record.treatment == "scale" else "confirmed"


def _affected(plan: Plan, change: Change) -> Iterator[str]:
    """The plan's series whose values the change concerns."""
    named = change.setting.removeprefix(_SERIES) if change.setting.startswith(_SERIES) else None
    for name in _of_device(plan, change.device):
        series = plan.series[name]
        sources = [source for source in series.sources if _device(source) == change.device]
        if named is not None:
            if any(source.rsplit("/", 1)[1] == named for source in sources):
                yield name
        elif not (series.states or series.definition.exogenous):
            yield name


def _of_device(plan: Plan, device: str) -> Iterator[str]:
    for name, series in plan.series.items():
        if any(_device(source) == device for source in series.sources):
            yield name


def _device(source: str) -> str:
    return source.rsplit("/", 1)[0]
