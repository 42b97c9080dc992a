"""The verdict of a KPI in one sentence, from its numbers.

A KPI result is a mapping with the keys `kind`, `change`, `interval`, `confidence`, `target`, `verdict` and `reasons`,
as `evidence.evaluate` writes it. Changes and targets are fractions, negative for a decrease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.figures import percent, percent_digits
from dashboards.kpi_names import kpi_name, kpi_topic
from dashboards.language import Catalogue

MET = "met"
NOT_MET = "not_met"
NOT_DISTINGUISHABLE = "not_distinguishable"
INSUFFICIENT_DATA = "insufficient_data"
VERDICTS = (MET, NOT_MET, NOT_DISTINGUISHABLE, INSUFFICIENT_DATA)

NOT_PROVEN = "not_proven"
NO_TARGET = "no_target"
BY_RULE = "verdict_by_rule"


def standing(kpi: Mapping[str, Any], *, proven: bool) -> str:
    """What a reader may take from the KPI: its verdict, `not_proven` when the records behind it do not stand, or
    `no_target` when there is a comparison but nothing that was to be reached."""
    if not proven:
        return NOT_PROVEN
    required = kpi.get("model", {}).get("required")
    if kpi["target"] is None and required is None and kpi["verdict"] != INSUFFICIENT_DATA:
        return NO_TARGET
    return str(kpi["verdict"])


def by_rule(kpi: Mapping[str, Any]) -> bool:
    """Whether the figures were compared as they are: there is a verdict, but no interval."""
    return kpi["interval"] is None and kpi["verdict"] != INSUFFICIENT_DATA


def verdict_sentence(kpi: Mapping[str, Any], text: Catalogue, *, proven: bool) -> str:
    """One sentence with number, interval, confidence and target.

    Without proof it says so and concludes nothing: the computed value is then named for fault-finding only.
    """
    change, interval, target, verdict = kpi["change"], kpi["interval"], kpi["target"], str(kpi["verdict"])
    subject, topic = kpi_topic(kpi["kind"], text), kpi_name(kpi["kind"], text)
    if verdict == INSUFFICIENT_DATA:
        return _insufficient(kpi, topic, text)
    if by_rule(kpi) or change is None or interval is None:
        return _by_rule(kpi, topic, text, proven=proven)
    digits = percent_digits((change, *interval), target)
    values = {
        "change": direction(change, text, digits),
        "range": range_text(interval, text, digits),
        "confidence": confidence_text(kpi["confidence"]),
    }
    if not proven:
        return text("sentence.not_proven", topic=topic, finding=text("sentence.with_interval", **values))
    if target is None:
        return text("sentence.without_target", subject=subject, **values)
    return text(f"sentence.{verdict}", subject=subject, target=direction(target, text, digits), **values)


def _by_rule(kpi: Mapping[str, Any], topic: str, text: Catalogue, *, proven: bool) -> str:
    """A verdict without an interval: the comparison of the figures, and why there is no interval."""
    if not proven:
        return text("sentence.not_proven_by_rule", topic=topic)
    told = [reason for reason in kpi["reasons"] if reason["level"] == "finding" or reason["code"] == BY_RULE]
    return text("sentence.by_rule", topic=topic, reasons=reasons_text(told, text))


def direction(change: float, text: Catalogue, digits: int) -> str:
    """A change in words: `下降 11.8 %`, `an increase of 2.0 %`, or unchanged when it rounds to nothing."""
    size = percent(abs(change), digits)
    if size == percent(0.0, digits):
        return text("sentence.unchanged")
    return text("sentence.decrease" if change < 0 else "sentence.increase", size=size)


def range_text(interval: Sequence[float], text: Catalogue, digits: int) -> str:
    """An interval of changes in words, to be read aloud: without signs, `下降 9.6 % 至 13.9 %`."""
    low, high = interval
    if low < 0 < high:
        return text("sentence.range_mixed", fall=percent(-low, digits), rise=percent(high, digits))
    small, large = sorted((abs(low), abs(high)))
    key = "sentence.range_decrease" if high <= 0 else "sentence.range_increase"
    return text(key, small=percent(small, digits), large=percent(large, digits))


def reasons_text(reasons: Sequence[Mapping[str, str]], text: Catalogue) -> str:
    """The reasons in the reader's language, joined."""
    return text("sentence.reason_separator").join(reason[text.language] for reason in reasons)


def confidence_text(confidence: float) -> str:
    """A confidence level, without digits that it does not have: `90 %`, `97.5 %`."""
    return percent(confidence, 0 if round(confidence * 100, 6).is_integer() else 1)


def _insufficient(kpi: Mapping[str, Any], topic: str, text: Catalogue) -> str:
    blocking = [reason for reason in kpi["reasons"] if reason["level"] == "blocking"]
    reasons = reasons_text(blocking or kpi["reasons"], text) or text("sentence.no_reason")
    change = kpi["change"]
    if change is None:
        return text("sentence.insufficient_data", topic=topic, reasons=reasons)
    written = direction(change, text, percent_digits((change,), kpi["target"]))
    return text("sentence.insufficient_data_with_change", topic=topic, reasons=reasons, change=written)
