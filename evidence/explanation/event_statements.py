"""What happened beside the retrofit, in words: found, recorded, and what the figure is without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from evidence.explanation.changes import direction, value_text
from evidence.explanation.phrases import say
from evidence.explanation.subject import Subject
from evidence.plan import Plan
from evidence.result import Evaluation, EventSearch, MeasurementEvent, RecordedEvent, Wording


def event_statements(subject: Subject) -> Iterator[Wording]:
    """Yield what was looked for and found on the residuals of a KPI, what is recorded, and the figure without it."""
    events, plan = subject.evaluation.events, subject.plan
    for search in events.searches:
        if search.kpi == subject.result.id:
            yield from _search(search)
    yield from recorded_statements(plan, subject.evaluation)
    for figures in events.figures:
        if figures.kpi != subject.result.id or not subject.concludes:
            continue
        for variant in figures.variants:
            if variant.events == "none" and variant.change is not None:
                verdict = say(f"standing.{variant.verdict.value}")
                yield say("events.without", change=direction(variant.change, subject.digits), verdict=verdict)


def recorded_statements(plan: Plan, evaluation: Evaluation) -> Iterator[Wording]:
    """Yield the events that people recorded, and the changes of meters."""
    recorded = evaluation.events.recorded
    yield from (_recorded(event, plan) for event in recorded)
    yield from (_measurement(event, plan) for event in evaluation.events.measurement)
    if not recorded:
        yield say("events.none_recorded")


def candidate_statements(evaluation: Evaluation, kpi: str | None = None) -> Iterator[Wording]:
    """Yield the days that stand apart for ``kpi`` (or any) and that no record explains: what to ask about on site."""
    told: set[tuple[date, date]] = set()
    for search in evaluation.events.searches:
        for candidate in search.candidates if kpi in (None, search.kpi) else ():
            days = (candidate.first, candidate.end)
            if not candidate.recorded and days not in told:
                told.add(days)
                yield say("on_site.candidate", first=str(candidate.first), last=_last(candidate.end))


def _search(search: EventSearch) -> Iterator[Wording]:
    yield say(f"events.search_{search.period}", finding=search.finding)
    for candidate in search.candidates:
        yield say(
            "events.candidate",
            first=str(candidate.first),
            last=_last(candidate.end),
            level=value_text(candidate.level, f"{candidate.unit}/d"),
            statement=candidate.statement,
        )


def _recorded(event: RecordedEvent, plan: Plan) -> Wording:
    return say(
        "events.recorded",
        what=event.what,
        start=_local(event.start_ms, plan),
        end=_local(event.end_ms, plan),
        treatment=say(f"events.treatment.{event.treatment}"),
        recorded_by=event.recorded_by,
        recorded=str(event.recorded),
    )


def _measurement(event: MeasurementEvent, plan: Plan) -> Wording:
    facts = {"device": event.device, "setting": event.setting, "before": event.before, "after": event.after}
    return say("events.measurement", time=_local(event.time_ms, plan), statement=event.statement, **facts)


def _last(end: date) -> str:
    return str(end - timedelta(days=1))


def _local(time_ms: int, plan: Plan) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(plan.timezone))
    return moment.strftime("%Y-%m-%d %H:%M")
