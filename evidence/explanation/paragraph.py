"""A KPI in one paragraph: its values, its range, its target, what the range means, and the main doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evidence.explanation.changes import direction, target_text
from evidence.explanation.document import Standing
from evidence.explanation.phrases import say, together
from evidence.explanation.sentence import blocking_text, by_rule, rule_text, wording
from evidence.explanation.subject import ADJUSTED, NORMALISED, Subject
from evidence.figures import confidence_text
from evidence.grade import EvidenceGrade
from evidence.result import Reason, Wording

WEIGHT = (
    "model_not_of_plan",
    "verdict_depends_on_events",
    "placebo_above_nominal",
    "above_one_",
    "mean_outside_",
    "specifications",
    "no_specification",
    "extrapolation_",
    "baseline_shorter_than_year",
    "placebo_not_determinable",
    "weak_variable_",
)
"""Which warning counts most for a reader, by the beginning of its code. Those not named stand before the last two: a
code that is new here is likely to be about this very project. What holds of every such figure comes last."""
HOLDS_OF_ALL = ("verdict_by_rule", "ratio_not_adjusted", "cannot_tell")


def kpi_paragraph(subject: Subject) -> Wording:
    """The paragraph on a KPI."""
    return together(_sentences(subject))


def main_doubt(reasons: Sequence[Reason]) -> Reason | None:
    """The warning that counts most; None without any."""
    warnings = [reason for reason in reasons if reason.level == "warning"]
    return min(warnings, key=lambda reason: _rank(reason.code), default=None)


def hits_of_hundred(confidence: float) -> str:
    """Of 100 intervals, how many hold the truth."""
    return f"{100 * confidence:g}"


def _rank(code: str) -> int:
    if code in HOLDS_OF_ALL:
        return len(WEIGHT) + 1 + HOLDS_OF_ALL.index(code)
    named = [place for place, start in enumerate(WEIGHT) if code.startswith(start)]
    return named[0] if named else len(WEIGHT) - 2


def _sentences(subject: Subject) -> Iterator[Wording]:
    result, where = subject.result, subject.standing
    if result.baseline is not None and result.reporting is not None and not by_rule(result):
        yield _values(subject)
    if where is Standing.NOT_PROVEN:
        yield say("paragraph.not_proven")
        return
    if where is Standing.INSUFFICIENT_DATA:
        yield say("paragraph.insufficient_data", reasons=blocking_text(result))
        return
    if by_rule(result):
        yield rule_text(result)
        if result.change is not None:
            yield say("paragraph.by_rule", change=direction(result.change, subject.digits))
    elif result.interval is not None:
        confidence = confidence_text(result.confidence)
        yield say("paragraph.interval", confidence=confidence, range=subject.range(result.interval))
        if result.target is None:
            yield say("paragraph.no_target")
        else:
            yield say(f"paragraph.{where.value}", target=target_text(result.target, subject.digits))
        yield say("paragraph.meaning", hits=hits_of_hundred(result.confidence))
    if result.grade is EvidenceGrade.IMPORTED_DOCUMENT:
        yield say("paragraph.imported")
    doubt = main_doubt([one for one in result.reasons if not (by_rule(result) and one.code == HOLDS_OF_ALL[0])])
    if doubt is not None:
        yield say("paragraph.doubt", doubt=wording(doubt))


def _values(subject: Subject) -> Wording:
    result = subject.result
    values = {"baseline": subject.baseline, "reporting": subject.reporting}
    if result.change is None:
        return say("paragraph.values", **values)
    before, after = subject.used_days
    key = {ADJUSTED: "adjusted", NORMALISED: "normalised"}.get(result.kind, "compared")
    return say(f"paragraph.{key}", n=before, m=after, change=direction(result.change, subject.digits), **values)
