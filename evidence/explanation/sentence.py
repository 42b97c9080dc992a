"""The verdict of a KPI in one sentence: number, interval, confidence and target, and never more than the verdict."""

from __future__ import annotations

from evidence.explanation.changes import change_digits, direction, range_text, target_text
from evidence.explanation.phrases import Fact, say, together
from evidence.figures import confidence_text
from evidence.kpi_description import KpiDescription
from evidence.result import KpiResult, Reason, Wording
from evidence.verdict import Verdict

BY_RULE = "verdict_by_rule"


def by_rule(kpi: KpiResult) -> bool:
    """Whether the figures were compared as they are: there is a verdict, but no interval."""
    return kpi.interval is None and kpi.verdict is not Verdict.INSUFFICIENT_DATA


def verdict_sentence(kpi: KpiResult, description: KpiDescription, *, proven: bool) -> Wording:
    """One sentence on ``kpi``.

    Without proof it says so and concludes nothing: the computed value is then named for fault-finding only.
    """
    topic = description.name
    if kpi.verdict is Verdict.INSUFFICIENT_DATA:
        return _insufficient(kpi, topic)
    if kpi.change is None or kpi.interval is None:
        if not proven:
            return say("sentence.not_proven_by_rule", topic=topic)
        return say("sentence.by_rule", topic=topic, reasons=rule_text(kpi))
    digits = change_digits(kpi)
    values: dict[str, Fact] = {
        "change": direction(kpi.change, digits),
        "range": range_text(kpi.interval, digits),
        "confidence": confidence_text(kpi.confidence),
    }
    if not proven:
        return say("sentence.not_proven", topic=topic, finding=say("sentence.with_interval", **values))
    subject = say("sentence.topic", topic=description.topic or topic)
    if kpi.target is None:
        return say("sentence.without_target", subject=subject, **values)
    target = target_text(kpi.target, digits)
    return say(f"sentence.{kpi.verdict.value}", subject=subject, target=target, **values)


def rule_text(kpi: KpiResult) -> Wording:
    """A verdict without an interval: the comparison of the figures, and why there is no interval."""
    return reasons_text([one for one in kpi.reasons if one.level == "finding" or one.code == BY_RULE])


def blocking_text(kpi: KpiResult) -> Wording:
    """Why there is no conclusion."""
    blocking = [one for one in kpi.reasons if one.level == "blocking"] or list(kpi.reasons)
    return reasons_text(blocking) if blocking else say("sentence.no_reason")


def reasons_text(reasons: list[Reason]) -> Wording:
    """Reasons one after the other."""
    return together(wording(reason) for reason in reasons)


def wording(reason: Reason) -> Wording:
    """The words of a reason."""
    return Wording(en=reason.en, zh=reason.zh)


def _insufficient(kpi: KpiResult, topic: Wording) -> Wording:
    reasons = blocking_text(kpi)
    if kpi.change is None:
        return say("sentence.insufficient_data", topic=topic, reasons=reasons)
    change = direction(kpi.change, change_digits(kpi))
    return say("sentence.insufficient_data_with_change", topic=topic, reasons=reasons, change=change)
