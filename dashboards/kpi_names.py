"""What the pages call a KPI: the name that its description gives it, in the reader's language."""

from __future__ import annotations

from dashboards.language import Catalogue
from evidence.kpi_description import KpiDescription
from evidence.kpis import KPIS
from evidence.result import Wording

_DESCRIPTIONS: dict[str, KpiDescription] = {kind.description.kind: kind.description for kind in KPIS}


def kpi_name(kind: str, text: Catalogue) -> str:
    """The name of a kind of KPI."""
    return _in(_DESCRIPTIONS[kind].name, text)


def kpi_topic(kind: str, text: Catalogue) -> str:
    """How a sentence on the change of such a KPI begins."""
    description = _DESCRIPTIONS[kind]
    return text("sentence.topic", topic=_in(description.topic or description.name, text))


def _in(words: Wording, text: Catalogue) -> str:
    return words.zh if text.language == "zh" else words.en
