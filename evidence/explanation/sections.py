"""A KPI on one page: question, data, method, certainty, doubts, what to look at on site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from evidence.explanation.changes import value_text
from evidence.explanation.document import Section
from evidence.explanation.event_statements import candidate_statements, event_statements
from evidence.explanation.paragraph import hits_of_hundred
from evidence.explanation.phrases import Fact, listed, phrases, plain, say, unit_wording
from evidence.explanation.sentence import verdict_sentence, wording
from evidence.explanation.subject import ADJUSTED, NORMALISED, Subject
from evidence.figures import confidence_text, number, percent
from evidence.grade import EvidenceGrade
from evidence.kpi_description import Better
from evidence.origin import GRADE_NAMES
from evidence.plan import Period, Plan
from evidence.result import Evaluation, PeriodUse, ScreenResult, Wording
from evidence.verdict import Verdict

DAYS_NAMED = 5
"""Days listed by date; the others are counted."""
DAYS_ASKED = 3
"""Days of the reporting period that lie farthest from the model, which a reviewer should ask about."""
OWN_SECTION = ("placebo", "minimum_detectable", "specifications", "no_specification")
"""Reasons that stand in a section of their own, by the beginning of their codes."""

Statements = Iterator[Wording]


def kpi_page(subject: Subject) -> tuple[Section, ...]:
    """The sections on a KPI; those that have nothing to say are left out."""
    makers: dict[str, Callable[[Subject], Statements]] = {
        "question": _question,
        "answer": _answer,
        "boundary": lambda one: boundary(one.plan),
        "data": _data,
        "model": _model,
        "uncertainty": _uncertainty,
        "placebo": lambda one: _reasons(one, "placebo"),
        "detectable": lambda one: _reasons(one, "minimum_detectable"),
        "specifications": lambda one: _reasons(one, "specifications", "no_specification"),
        "events": event_statements,
        "screens": lambda one: screens(one.evaluation),
        "doubts": _doubts,
        "limits": _limits,
        "on_site": _on_site,
        "formula": _formula,
    }
    return sections((name, maker(subject)) for name, maker in makers.items())


def sections(parts: Iterator[tuple[str, Statements]]) -> tuple[Section, ...]:
    """Named statements as sections; those without any are left out."""
    found = [(name, tuple(statements)) for name, statements in parts]
    return tuple(Section(name=name, title=say(f"section.{name}"), statements=said) for name, said in found if said)


def boundary(plan: Plan) -> Statements:
    """Yield what is compared with what."""
    yield say("boundary.what", enterprise=plan.enterprise, boundary=plan.boundary)
    for name, period in (("baseline", plan.baseline), ("blackout", plan.blackout), ("reporting", plan.reporting)):
        if period is not None:
            first, last = first_and_last(period)
            yield say(f"boundary.{name}", first=first, last=last, days=(period.to - period.start).days)
    yield say("boundary.day", start=plan.day_start.strftime("%H:%M"), zone=plan.timezone)
    yield say("boundary.plan", hash=plan.hash)


def first_and_last(period: Period) -> tuple[str, str]:
    """First and last day of a half-open period, as people name it."""
    return period.start.isoformat(), (period.to - timedelta(days=1)).isoformat()


def screens(evaluation: Evaluation) -> Statements:
    """Yield what the screens found, and what that does not mean."""
    for screen in anomalies(evaluation):
        yield say("screens.anomaly", statement=screen.statement, title=screen.title, finding=screen.finding)
    yield say("screens.clear", **screen_counts(evaluation))
    yield say("screens.none")


def screen_counts(evaluation: Evaluation) -> dict[str, int]:
    """How many screens found nothing, and how many could not be made."""
    return {state: sum(one.state == state for one in evaluation.screens) for state in ("clear", "not_checked")}


def anomalies(evaluation: Evaluation) -> list[ScreenResult]:
    """The screens that found something to be checked on site."""
    return [screen for screen in evaluation.screens if screen.state == "anomaly"]


def sites(plan: Plan, evaluation: Evaluation, proven: bool | None) -> Statements:
    """Yield what a reviewer should look at whatever the figure is."""
    grades = {one.grade for kpi in evaluation.kpis for one in kpi.inputs}
    if EvidenceGrade.IMPORTED_DOCUMENT in grades:
        yield say("on_site.documents")
    if proven is not None:
        yield from _devices(plan)
    for name, series in plan.series.items():
        if series.definition.production:
            yield say("on_site.production", name=name)
    for screen in anomalies(evaluation):
        if not screen.places:
            yield say("on_site.anomaly", title=screen.title, meaning=screen.meaning)
            continue
        place = screen.places[0]
        start = datetime.fromtimestamp(place.start_ms / 1000, UTC).astimezone(ZoneInfo(plan.timezone))
        yield say(
            "on_site.place",
            title=screen.title,
            start=start.strftime("%Y-%m-%d %H:%M"),
            series=listed(place.series),
            meaning=screen.meaning,
        )
    if plan.blackout is not None:
        first, last = first_and_last(plan.blackout)
        yield say("on_site.retrofit", first=first, last=last)
    else:
        yield say("on_site.other_changes")


def _devices(plan: Plan) -> Statements:
    """Yield what to look at on each device; readings of a load come from a meter with its transformers."""
    meters: dict[str, bool] = {}
    for series in plan.series.values():
        for source in series.sources:
            device = source.rsplit("/", 1)[0]
            meters[device] = meters.get(device, False) or not series.definition.exogenous
    for device, is_meter in meters.items():
        yield say("on_site.device" if is_meter else "on_site.signal", device=device)


def question(subject: Subject) -> Wording:
    """What the KPI was to answer."""
    result, description = subject.result, subject.description
    facts: dict[str, Fact] = {"boundary": subject.plan.boundary, "name": description.name}
    rises = description.better is Better.HIGHER
    required = subject.model.get("required")
    if required is not None:
        size = value_text(required, result.unit)
        return say("question.at_least" if rises else "question.at_most", size=size, **facts)
    if result.target is None:
        return say("question.open", **facts)
    if (result.target < 0) == rises or result.target == 0:
        return say("question.no_worse", **facts)
    return say("question.rise" if rises else "question.fall", size=percent(abs(result.target), subject.digits), **facts)


def _question(subject: Subject) -> Statements:
    yield question(subject)


def _answer(subject: Subject) -> Statements:
    yield verdict_sentence(subject.result, subject.description, proven=subject.proven is not False)


def _data(subject: Subject) -> Statements:
    days = subject.result.model.days
    yield say(
        "data.used",
        used=days.baseline.used,
        days=days.baseline.days,
        share=percent(subject.result.coverage.baseline),
        used_after=days.reporting.used,
        days_after=days.reporting.days,
        share_after=percent(subject.result.coverage.reporting),
    )
    excluded = _excluded(days.baseline, days.reporting)
    if excluded:
        named, more = listed(map(str, excluded[:DAYS_NAMED])), len(excluded) - DAYS_NAMED
        yield say("data.excluded_more", days=named, more=more) if more > 0 else say("data.excluded", days=named)
    yield say("data.rule")
    for one in subject.result.inputs:
        facts: dict[str, Fact] = {
            "name": one.series,
            "unit": unit_wording(subject.plan.series[one.series].unit),
            "first": str(one.first),
            "last": str(one.end - timedelta(days=1)),
            "grade": GRADE_NAMES[one.grade],
        }
        if one.sources:
            yield say("data.input", sources=listed(one.sources), **facts)
        else:
            yield say("data.input_of_table", **facts)


def _excluded(*periods: PeriodUse) -> list[date]:
    return [one.day for period in periods for one in period.excluded]


def _model(subject: Subject) -> Statements:
    model, kind = subject.model, subject.result.kind
    before, after = subject.used_days
    values = {"baseline": subject.baseline, "reporting": subject.reporting}
    if kind == ADJUSTED:
        if subject.result.baseline is not None:
            yield say("model.adjusted", kind=subject.kind_of_model, n=before, m=after, **values)
        yield from _saving(model)
        yield from _coefficients(model)
        yield from _goodness(model)
    elif kind == NORMALISED:
        if subject.result.baseline is not None:
            yield say("model.normalised", kind=subject.kind_of_model, normal=model["normal_days"], **values)
        yield from _saving(model)
        of_both = model["r2_of_periods"]
        if None not in of_both:
            yield say("model.goodness_of_both", before=percent(of_both[0]), after=percent(of_both[1]))
    else:
        compared = "model.rule" if model["kind"] == "compared_as_measured" else "model.ratio"
        yield say(compared, formula=subject.description.formula)
        for name, (first, second) in model.get("sums", {}).items():
            yield say("model.sum", name=name, before=number(first), after=number(second))
        yield say("model.no_model")


def _saving(model: Mapping[str, Any]) -> Statements:
    saving, half, unit = model["saving"], model["half_width"], model["energy_unit"]
    if saving is None:
        return
    if half is None:
        yield say("model.saving_alone", saving=value_text(saving, unit))
    else:
        yield say("model.saving", saving=value_text(saving, unit, half), half=value_text(half, unit, half))


def _coefficients(model: Mapping[str, Any]) -> Statements:
    for one in model.get("coefficients", ()):
        error = one["standard_error"]
        value, spread = (value_text(number, one["unit"], error) for number in (one["value"], error))
        if one["name"] == "intercept":
            yield say("model.intercept", value=value, error=spread)
        else:
            yield say("model.coefficient", name=one["name"], value=value, error=spread)


def _goodness(model: Mapping[str, Any]) -> Statements:
    r2, cv, p = model.get("r2"), model.get("cv_rmse"), model.get("p")
    if cv is None:
        return
    facts: dict[str, Fact] = {"row": say(f"row.{model['granularity']}"), "cv": percent(cv), "p": str(p)}
    if r2 is None or p == 1:
        yield say("model.goodness_alone", **facts)
    else:
        yield say("model.goodness", r2=percent(r2), **facts)


def _uncertainty(subject: Subject) -> Statements:
    result, model = subject.result, subject.model
    if result.interval is None or not subject.concludes:
        yield say("uncertainty.none")
        return
    confidence = confidence_text(result.confidence)
    yield say("uncertainty.interval", confidence=confidence, range=subject.range(result.interval))
    yield say("uncertainty.meaning", hits=hits_of_hundred(result.confidence))
    yield say("uncertainty.method", method=_method(subject.description.interval.value))
    rho, effective = model.get("rho"), model.get("n_effective")
    if rho is not None and effective is not None and rho > 0:
        rows, worth = number(model["n"], 0), number(effective, 0)
        yield say("uncertainty.dependent", rho=number(rho, 2), n=rows, effective=worth)
    if model.get("replicates") and model.get("blocks"):
        yield say("uncertainty.bootstrap", seed=str(model["seed"]), replicates=number(model["replicates"], 0))
    for one in model.get("alternative_intervals", ()):
        if one["interval"] is not None:
            low, high = one["interval"]
            yield say("uncertainty.alternative", method=_method(one["method"]), range=subject.range((low, high)))


def _method(name: str) -> Wording:
    return phrases().get(f"method.{name}", plain(name))


def _reasons(subject: Subject, *starts: str) -> Statements:
    if subject.concludes:
        yield from (wording(reason) for reason in subject.result.reasons if reason.code.startswith(starts))


def _doubts(subject: Subject) -> Statements:
    """Yield every blocking reason and warning that has no section of its own; what the KPI cannot tell has one."""
    for reason in subject.result.reasons:
        elsewhere = reason.code.startswith(OWN_SECTION) or reason.code == "cannot_tell"
        if reason.level != "finding" and not elsewhere:
            yield wording(reason)


def _limits(subject: Subject) -> Statements:
    yield subject.description.cannot_tell
    if subject.result.verdict is not Verdict.INSUFFICIENT_DATA:
        yield say("limits.general", last=first_and_last(subject.plan.reporting)[1])


def _on_site(subject: Subject) -> Statements:
    yield from _days_to_ask_about(subject)
    yield from candidate_statements(subject.evaluation, subject.result.id)
    excluded = _excluded(subject.result.model.days.baseline, subject.result.model.days.reporting)
    if excluded:
        yield say("on_site.excluded", days=listed(map(str, excluded[:DAYS_NAMED])))
    yield from sites(subject.plan, subject.evaluation, subject.proven)


def _days_to_ask_about(subject: Subject) -> Statements:
    days = [one for one in subject.model.get("daily", ()) if one["period"] == "reporting" and "residual" in one]
    farthest = sorted(days, key=lambda one: (-abs(one["residual"]), one["day"]))[:DAYS_ASKED]
    unit = subject.model.get("energy_unit", "")
    for one in farthest:
        measured, expected = (value_text(one[name], unit) for name in ("measured", "adjusted_baseline"))
        yield say("on_site.day", day=one["day"], measured=measured, model=expected)


def _formula(subject: Subject) -> Statements:
    description = subject.description
    yield say("formula.formula", formula=description.formula, unit=unit_wording(subject.result.unit))
    yield say("formula.better_higher" if description.better is Better.HIGHER else "formula.better_lower")
    yield say("formula.source", source=description.source)
    for one in subject.model.get("factors", ()):
        facts = {"series": one["series"], "value": f"{one['value']:g}", "unit": one["unit"]}
        yield say("formula.factor", year=str(one["year"]), citation=one["citation"], **facts)
