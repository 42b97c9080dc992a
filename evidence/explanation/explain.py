"""A result becomes its explanation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from evidence.explanation.document import Explanation, KpiExplanation, Standing
from evidence.explanation.event_statements import candidate_statements, recorded_statements
from evidence.explanation.paragraph import kpi_paragraph
from evidence.explanation.phrases import Fact, listed, say, together
from evidence.explanation.sections import (
    anomalies,
    boundary,
    first_and_last,
    kpi_page,
    screen_counts,
    screens,
    sections,
    sites,
)
from evidence.explanation.sentence import verdict_sentence
from evidence.explanation.subject import Subject
from evidence.plan import Plan
from evidence.result import Evaluation, Wording


def explain(plan: Plan, evaluation: Evaluation, *, proven: bool | None) -> Explanation:
    """Explain ``evaluation``, which is of ``plan``.

    ``proven``: whether the records behind the figures were checked and hold; None where the data were a table, of which
    nobody knows. Deterministic: the same result gives the same words.
    """
    subjects = [
        Subject(plan, evaluation, kpi, result, proven) for kpi, result in zip(plan.kpis, evaluation.kpis, strict=True)
    ]
    kpis = tuple(_kpi(subject) for subject in subjects)
    sentence = _sentence(plan, kpis, proven)
    return Explanation(
        project=plan.project,
        plan_hash=plan.hash,
        sentence=sentence,
        paragraph=together(_paragraph(plan, evaluation, sentence, kpis)),
        page=sections(_page(plan, evaluation, sentence, kpis, proven)),
        kpis=kpis,
    )


def _kpi(subject: Subject) -> KpiExplanation:
    where = subject.standing
    return KpiExplanation(
        id=subject.result.id,
        kind=subject.result.kind,
        name=subject.description.name,
        standing=where,
        standing_name=say(f"standing.{where.value}"),
        sentence=verdict_sentence(subject.result, subject.description, proven=subject.proven is not False),
        paragraph=kpi_paragraph(subject),
        page=kpi_page(subject),
    )


def _sentence(plan: Plan, kpis: tuple[KpiExplanation, ...], proven: bool | None) -> Wording:
    facts: dict[str, Fact] = {"boundary": plan.boundary, "count": len(kpis)}
    if proven is False:
        return say("project.not_proven", **facts)
    counted = [(where, sum(kpi.standing is where for kpi in kpis)) for where in Standing]
    counts = [
        say("project.counted", count=count, standing=_inside(say(f"standing.{where.value}")))
        for where, count in counted
        if count
    ]
    return say("project.sentence", counts=listed(counts), **facts)


def _inside(name: Wording) -> Wording:
    """A name inside a sentence."""
    return Wording(en=name.en[:1].lower() + name.en[1:], zh=name.zh)


def _periods(plan: Plan) -> Wording:
    (first, last), (first_after, last_after) = first_and_last(plan.baseline), first_and_last(plan.reporting)
    return say("project.periods", first=first, last=last, first_after=first_after, last_after=last_after)


def _proof(proven: bool | None) -> Wording:
    return say({True: "project.proven", False: "project.unproven", None: "project.unsigned"}[proven])


def _paragraph(
    plan: Plan, evaluation: Evaluation, sentence: Wording, kpis: tuple[KpiExplanation, ...]
) -> Iterator[Wording]:
    yield sentence
    yield _periods(plan)
    told = [kpi for kpi in kpis if kpi.standing is not Standing.NO_TARGET] or list(kpis)
    yield from (kpi.sentence for kpi in told)
    if len(told) < len(kpis):
        yield say("project.others", count=len(kpis) - len(told))
    found = anomalies(evaluation)
    if found:
        yield say("project.anomalies", titles=listed(one.title for one in found))
    else:
        yield say("project.no_anomalies", count=len(evaluation.screens), **screen_counts(evaluation))


def _page(
    plan: Plan,
    evaluation: Evaluation,
    sentence: Wording,
    kpis: tuple[KpiExplanation, ...],
    proven: bool | None,
) -> Iterator[tuple[str, Iterator[Wording]]]:
    asked = say("question.project", boundary=plan.boundary, enterprise=plan.enterprise, count=len(kpis))
    yield "question", iter([asked])
    yield "answer", iter([sentence])
    yield "results", (say("project.figure", id=kpi.id, sentence=kpi.sentence) for kpi in kpis)
    yield "boundary", boundary(plan)
    yield "proof", iter([_proof(proven)])
    yield "events", chain(recorded_statements(plan, evaluation), candidate_statements(evaluation))
    yield "screens", screens(evaluation)
    yield "limits", iter([say("limits.general", last=first_and_last(plan.reporting)[1])])
    yield "on_site", sites(plan, evaluation, proven)
