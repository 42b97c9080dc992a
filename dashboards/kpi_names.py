"""What the pages call a KPI: the name that its description gives it, in the reader's language."""

from __future__ import annotations

from dashboards.language import Catalogue
from evidence.kpi_description import KpiDescription
from evidence.kpis import KPIS

_DESCRIPTIONS: dict[str, KpiDescription] = {kind.description.kind: kind.description for kind in KPIS}


def kpi_name(kind: str, text: Catalogue) -> str:
    """The name of a kind of KPI."""
    name = _DESCRIPTIONS[kind].name
    return name.zh if text.language == "zh" else name.en
