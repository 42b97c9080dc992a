"""An explanation as a typed document: what the command, the pages and programs show."""

from __future__ import annotations

from enum import StrEnum

from evidence.result import KpiResult, ResultModel, Wording
from evidence.verdict import Verdict


class Standing(StrEnum):
    """What a reader may take from a KPI: its verdict, or that there is none to be taken."""

    MET = "met"
    NOT_MET = "not_met"
    NOT_DISTINGUISHABLE = "not_distinguishable"
    INSUFFICIENT_DATA = "insufficient_data"
    NOT_PROVEN = "not_proven"
    """未证实: the records behind the figure do not stand."""
    NO_TARGET = "no_target"
    """未设目标: there is a comparison, but nothing that was to be reached."""


class Section(ResultModel):
    """A part of the page: heading, and statements that each stand on their own."""

    name: str
    title: Wording
    statements: tuple[Wording, ...]


class KpiExplanation(ResultModel):
    """A KPI in one sentence, one paragraph and one page."""

    id: str
    kind: str
    name: Wording
    standing: Standing
    standing_name: Wording
    sentence: Wording
    paragraph: Wording
    page: tuple[Section, ...]


class Explanation(ResultModel):
    """A result in words: the project as a whole, then each KPI in the order of the plan."""

    project: str
    plan_hash: str
    sentence: Wording
    paragraph: Wording
    page: tuple[Section, ...]
    kpis: tuple[KpiExplanation, ...]


def standing(kpi: KpiResult, *, proven: bool) -> Standing:
    """What a reader may take from ``kpi``, given whether the records behind it are ``proven``."""
    if not proven:
        return Standing.NOT_PROVEN
    required = getattr(kpi.model, "required", None)
    if kpi.target is None and required is None and kpi.verdict is not Verdict.INSUFFICIENT_DATA:
        return Standing.NO_TARGET
    return Standing(kpi.verdict.value)
