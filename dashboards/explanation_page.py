"""Results in words on the pages: which language of an explanation is written where. The words are `evidence`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dashboards.errors import UnknownFigureError
from dashboards.language import Catalogue

Json = Mapping[str, Any]


def explanation_view(dossier: Json, text: Catalogue, kpi_id: str | None = None) -> dict[str, Any]:
    """What `explanation.html` writes: of the project as a whole, or of one of its KPIs.

    Raises `UnknownFigureError` for a KPI that the project does not have.
    """
    explanation, project = dossier["explanation"], dossier["project"]
    told = explanation if kpi_id is None else _of_kpi(explanation, project["id"], kpi_id)
    return {
        **{key: project[key] for key in ("id", "enterprise", "boundary", "zone")},
        "path": quote(project["id"], safe=""),
        "name": None if kpi_id is None else told["name"][text.language],
        "kpi": kpi_id,
        "standing": told.get("standing"),
        "sentence": told["sentence"][text.language],
        "paragraph": told["paragraph"][text.language],
        "sections": [
            {
                "name": section["name"],
                "title": section["title"][text.language],
                "statements": [statement[text.language] for statement in section["statements"]],
            }
            for section in told["page"]
        ],
    }


def paragraph_view(told: Json, text: Catalogue) -> dict[str, str]:
    """A KPI in one paragraph, as the project page shows it."""
    return {
        "id": told["id"],
        "path": quote(told["id"], safe=""),
        "name": told["name"][text.language],
        "paragraph": told["paragraph"][text.language],
    }


def _of_kpi(explanation: Json, project_id: str, kpi_id: str) -> Json:
    for one in explanation["kpis"]:
        if one["id"] == kpi_id:
            return dict(one)
    raise UnknownFigureError(f"the plan of {project_id} has no KPI '{kpi_id}'")
