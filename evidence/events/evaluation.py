"""Energy figures with and without recorded events, and everything else that is said about events of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import time as clock_time
from typing import TYPE_CHECKING

from scipy import stats

from evidence import reasons
from evidence.demand import DemandKpi
from evidence.events import reasons as event_reasons
from evidence.events.estimate import estimated_parts
from evidence.events.measurement_changes import measurement_events
from evidence.events.recorded import PERIODS, NonRoutineEvent, modelling_kpi
from evidence.events.search import searches
from evidence.events.treatment import Part, left_out_days, stated_parts, treated
from evidence.kpi import KpiPlan
from evidence.output_kpi import OutputKpi
from evidence.ratio_kpi import RatioKpi
from evidence.result import (
    EventFigures,
    EventQuantity,
    Events,
    EventSearch,
    EventVariant,
    KpiResult,
    MeasurementEvent,
    Reason,
    RecordedEvent,
)
from evidence.saving_kpi import SavingKpi
from evidence.table import DAY_MS, IntervalTable, local_date
from evidence.verdict import Verdict, decide

if TYPE_CHECKING:
    from evidence.plan import Plan
    from evidence.signed_facts import SignedFacts

_PERIODS_ZH = {"baseline": "基准期", "reporting": "报告期"}


@dataclass(frozen=True)
class Judged:
    """The results of a plan's KPIs with its events in them, and what is said about the events."""

    kpis: tuple[KpiResult, ...]
    events: Events


def judge_with_events(plan: Plan, table: IntervalTable, measured: IntervalTable, signed: SignedFacts | None) -> Judged:
    """Evaluate every KPI of ``plan`` with its recorded events taken out, and without.

    ``table`` is what figures are made of, ``measured`` the same before anything was held impossible. Without events in
    the plan the results are those of the KPIs alone.
    """
    quantified = _Quantified.of(_with_days_of(plan, table), table)
    bare = [kpi.evaluate(plan, table) for kpi in plan.kpis]
    found = searches(quantified.plan, table, bare)
    changed = measurement_events(plan, measured, signed)
    results, figures = [], []
    for kpi, as_measured in zip(plan.kpis, bare, strict=True):
        result = as_measured
        if isinstance(kpi, OutputKpi | SavingKpi) and (events := quantified.of_series(kpi.names())):
            result, figure = _with_and_without(plan, kpi, as_measured, quantified, events)
            figures.append(figure)
        result = _with_reasons(result, _candidate_reasons(found, kpi.id))
        results.append(_blocked(result, _change_reasons(plan, kpi, changed)))
    recorded = tuple(quantified.described(event) for event in plan.non_routine_events)
    return Judged(
        tuple(results), Events(searches=found, recorded=recorded, figures=tuple(figures), measurement=changed)
    )


def tables_of_figures(plan: Plan, table: IntervalTable) -> dict[str, IntervalTable]:
    """The table that the figure of each KPI (by id) is made of: without recorded events where it compares energy."""
    quantified = _Quantified.of(_with_days_of(plan, table), table)
    return {
        kpi.id: quantified.without(quantified.of_series(kpi.names()))
        if isinstance(kpi, OutputKpi | SavingKpi)
        else table
        for kpi in plan.kpis
    }


def _with_days_of(plan: Plan, table: IntervalTable) -> Plan:
    """The plan with the days of its table: a table of days has its production days made, labelled at midnight."""
    return plan.model_copy(update={"day_start": clock_time(0)}) if table.step_ms == DAY_MS else plan


@dataclass(frozen=True)
class _Quantified:
    """The recorded events of a plan: what is taken out of which period, and what the model would have taken."""

    plan: Plan
    table: IntervalTable
    parts: dict[str, tuple[Part, ...]]
    estimates: dict[str, tuple[Part, ...]]

    @classmethod
    def of(cls, plan: Plan, table: IntervalTable) -> _Quantified:
        parts: dict[str, tuple[Part, ...]] = {}
        estimates: dict[str, tuple[Part, ...]] = {}
        events = plan.non_routine_events
        for event in events:
            if event.treatment == "adjust":
                parts[event.id] = stated_parts(plan, table, event)
        for series in dict.fromkeys(event.series for event in events):
            kpi = next((one for one in plan.kpis if one.id == modelling_kpi(plan, series)), None)
            if not isinstance(kpi, SavingKpi):
                continue
            of_series = [event for event in events if event.series == series]
            modelled = [event for event in of_series if event.treatment == "model"]
            others = [event for event in of_series if event.treatment != "model"]
            parts |= _by_event(modelled, estimated_parts(plan, _table(plan, table, others, parts), kpi, modelled))
            estimates |= {event.id: parts[event.id] for event in modelled}
            for event in others:
                rest = [one for one in others if one is not event]
                estimated = estimated_parts(plan, _table(plan, table, rest, parts), kpi, [event, *modelled])
                estimates |= _by_event([event], estimated)
        return cls(plan, table, parts, estimates)

    def of_series(self, names: Iterable[str]) -> list[NonRoutineEvent]:
        """The events of these series."""
        known = set(names)
        return [event for event in self.plan.non_routine_events if event.series in known]

    def without(self, events: Sequence[NonRoutineEvent], *, wrong: str | None = None) -> IntervalTable:
        """The table with ``events`` taken out, the quantities of source ``wrong`` one standard uncertainty higher."""
        parts = {
            event.id: tuple(
                replace(part, rate=part.rate + part.uncertainty) if part.source == wrong else part
                for part in self.parts.get(event.id, ())
            )
            for event in events
        }
        return _table(self.plan, self.table, events, parts)

    def undetermined(self, event: NonRoutineEvent) -> bool:
        """Whether the event is to be taken out of a period in which its quantity is not known."""
        if event.treatment == "exclude":
            return False
        periods = {period for period in PERIODS if event.inside(self.plan, period) is not None}
        return periods != {part.period for part in self.parts.get(event.id, ())}

    def described(self, event: NonRoutineEvent) -> RecordedEvent:
        """The event as the result shows it."""
        start_ms, end_ms = event.span_ms(self.plan)
        return RecordedEvent(
            id=event.id,
            what=event.what,
            start_ms=start_ms,
            end_ms=end_ms,
            series=event.series,
            factor=event.factor,
            recorded_by=event.recorded_by,
            recorded=event.recorded,
            recorded_before_reporting=event.recorded < self.plan.reporting.start,
            recorded_after_reporting=event.recorded >= self.plan.reporting.to,
            evidence=tuple((one.file, one.sha256) for one in event.evidence),
            treatment=event.treatment,
            basis=event.basis,
            unit=self.plan.series[event.series].unit,
            taken_out=_quantities(self.parts.get(event.id, ())),
            estimated=_quantities(self.estimates.get(event.id, ())),
        )


def _by_event(events: Sequence[NonRoutineEvent], parts: Sequence[Part]) -> dict[str, tuple[Part, ...]]:
    return {event.id: tuple(part for part in parts if part.event == event.id) for event in events}


def _table(
    plan: Plan, table: IntervalTable, events: Sequence[NonRoutineEvent], parts: dict[str, tuple[Part, ...]]
) -> IntervalTable:
    taken = [part for event in events for part in parts.get(event.id, ())]
    return treated(table, left_out_days(plan, table, events), taken)


def _quantities(parts: Sequence[Part]) -> tuple[EventQuantity, ...]:
    return tuple(
        EventQuantity(
            period=part.period,
            energy=part.rate * part.length,
            standard_uncertainty=part.uncertainty * part.length,
            days=part.days,
        )
        for part in parts
    )


def _with_and_without(
    plan: Plan,
    kpi: OutputKpi | SavingKpi,
    as_measured: KpiResult,
    quantified: _Quantified,
    events: Sequence[NonRoutineEvent],
) -> tuple[KpiResult, EventFigures]:
    """The KPI with all events taken out, and every other way to treat them beside it."""
    alone = kpi.evaluate(plan, quantified.without(events))
    # What a figure can be trusted for is said of the plan's; variants have their value, interval and verdict.
    bare = kpi.without_doubt() if isinstance(kpi, SavingKpi) else kpi
    effects = {
        source: other.change - alone.change
        for source in dict.fromkeys(part.source for event in events for part in quantified.parts.get(event.id, ()))
        if (other := bare.evaluate(plan, quantified.without(events, wrong=source))).change is not None
        and alone.change is not None
    }
    sources = {event.id: [part.source for part in quantified.parts.get(event.id, ())] for event in events}
    result = _widened(kpi, alone, list(effects.values()))
    result = _blocked(
        result, [event_reasons.event_not_quantified(one.id) for one in events if quantified.undetermined(one)]
    )
    variants = [_variant(result, "all")]
    if len(events) > 1:
        for event in events:
            rest = [one for one in events if one is not event]
            other = _widened(
                kpi,
                bare.evaluate(plan, quantified.without(rest)),
                [effect for source, effect in effects.items() if source not in sources[event.id]],
            )
            other = _blocked(
                other, [event_reasons.event_not_quantified(one.id) for one in rest if quantified.undetermined(one)]
            )
            variants.append(_variant(other, "without", event.id))
    variants.append(_variant(as_measured, "none"))
    depends = len({variant.verdict for variant in variants}) > 1
    told = [
        event_reasons.with_and_without(
            len(events), result.verdict, result.change, as_measured.verdict, as_measured.change
        )
    ]
    if depends:
        told.append(event_reasons.verdict_depends_on_events([_named(variant) for variant in variants]))
    if result.interval is not None and alone.interval is not None and result.interval != alone.interval:
        widths = [(interval[1] - interval[0]) / 2.0 for interval in (alone.interval, result.interval)]
        told.append(event_reasons.event_uncertainty(*widths))
    told += [
        event_reasons.event_recorded_late(event.id, event.recorded, plan.reporting.to)
        for event in events
        if event.recorded >= plan.reporting.to
    ]
    figures = EventFigures(kpi=kpi.id, unit=result.unit, variants=tuple(variants), verdict_depends=depends)
    return _with_reasons(result, told), figures


def _named(variant: EventVariant) -> tuple[str, str, Verdict]:
    en, zh = {
        "all": ("all taken out", "全部扣除"),
        "none": ("none taken out", "均不扣除"),
        "without": (f"all but '{variant.event}' taken out", f"除“{variant.event}”外全部扣除"),
    }[variant.events]
    return en, zh, variant.verdict


def _variant(result: KpiResult, events: str, event: str | None = None) -> EventVariant:
    return EventVariant.model_validate(
        {
            "events": events,
            "event": event,
            "baseline": result.baseline,
            "reporting": result.reporting,
            "change": result.change,
            "interval": result.interval,
            "verdict": result.verdict,
            "coverage": result.coverage,
        }
    )


def _widened(kpi: OutputKpi | SavingKpi, result: KpiResult, effects: Sequence[float]) -> KpiResult:
    """The result with an interval that holds the uncertainty of quantities, too.

    ``effects`` are changes of the change for one standard uncertainty of each independent quantity (GUM, 5.1.3 note 2,
    finite differences); they join the half widths by the sum of squares, times the t of the model or the normal
    quantile.
    """
    spread = math.sqrt(sum(effect**2 for effect in effects))
    if result.interval is None or result.change is None or spread == 0.0:
        return result
    t = getattr(result.model, "t", None) or float(stats.norm.ppf(0.5 + kpi.confidence / 2.0))
    low, high = result.interval
    low = result.change - math.hypot(result.change - low, t * spread)
    high = result.change + math.hypot(high - result.change, t * spread)
    verdict = decide((low, high), kpi.target_change)
    said = reasons.finding(verdict, (low, high), kpi.target_change, kpi.confidence)
    others = tuple(reason for reason in result.reasons if reason.level != "finding")
    wider = (high - low) / (result.interval[1] - result.interval[0]) if result.interval[1] > result.interval[0] else 1.0
    of_model = {
        field: value * wider
        for field in ("half_width", "standard_error")
        if isinstance(value := getattr(result.model, field, None), float)
    }
    return result.model_copy(
        update={
            "interval": (low, high),
            "verdict": verdict,
            "reasons": (said, *others),
            "model": result.model.model_copy(update=of_model),
        }
    )


def _with_reasons(result: KpiResult, found: Sequence[Reason]) -> KpiResult:
    """The result with further reasons, behind those that it has."""
    return result.model_copy(update={"reasons": (*result.reasons, *found)}) if found else result


def _blocked(result: KpiResult, found: Sequence[Reason]) -> KpiResult:
    """The result without a verdict when there are blocking reasons."""
    if not found:
        return result
    others = tuple(reason for reason in result.reasons if reason.level != "finding")
    of_model = {"half_width": None} if hasattr(result.model, "half_width") else {}
    return result.model_copy(
        update={
            "interval": None,
            "verdict": Verdict.INSUFFICIENT_DATA,
            "reasons": (*found, *others),
            "model": result.model.model_copy(update=of_model),
        }
    )


def _candidate_reasons(found: Sequence[EventSearch], kpi_id: str) -> list[Reason]:
    return [
        event_reasons.candidates_found(
            len(search.candidates),
            sum(not candidate.recorded for candidate in search.candidates),
            search.period,
            _PERIODS_ZH[search.period],
        )
        for search in found
        if search.kpi == kpi_id and search.candidates
    ]


def _change_reasons(plan: Plan, kpi: KpiPlan, changed: Sequence[MeasurementEvent]) -> list[Reason]:
    """Why a KPI of amounts of energy or power has no verdict: a series of its own changed its measure."""
    if not isinstance(kpi, RatioKpi | SavingKpi | DemandKpi):
        return []
    names = set(kpi.names())
    found = [
        event_reasons.measurement_changed(event.device, event.setting, local_date(event.time_ms, plan.zone))
        for event in changed
        if event.effect == "uncorrected" and names & set(event.series)
    ]
    return list({reason.en: reason for reason in found}.values())
