"""The list of all projects: what each comes to, in a few lines.

Few projects are evaluated and proven as the list is asked for. Of more than are held in memory, those whose plan has
not changed show what the last refresh computed, with its time and without a proof: nobody waits for hundreds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dashboards.dossier import KEPT_DOSSIERS, Dossier, DossierLibrary
from dashboards.figures import iso_time
from dashboards.language import Catalogue
from dashboards.project_page import failed_summary_view, summary_view
from store.database import transaction
from store.errors import StoreError
from store.projects import Project, projects
from store.results import ProjectResult, project_results
from wire.errors import ShopfloorError

StateView = Callable[[Dossier], list[dict[str, str]]]


def project_list(library: DossierLibrary, text: Catalogue, state_of: StateView) -> list[dict[str, Any]]:
    """One view a project, by id. ``state_of`` makes the lights of one that is evaluated now. Raises
    `store.errors.StoreError`; what is wrong with a single project stands in its view."""
    with transaction(library.connections) as connection:
        registered = projects(connection)
        kept = project_results(connection) if len(registered) > KEPT_DOSSIERS else {}
    return [
        _kept_view(result, text)
        if (result := kept.get(project.id)) is not None and _is_of(result, project)
        else _view(library, project.id, text, state_of)
        for project in registered
    ]


def _is_of(result: ProjectResult, project: Project) -> bool:
    """Whether a document was computed, and under the plan in force."""
    if result.document is None:
        return result.problem is not None
    hash_: str = json.loads(result.document)["plan"]["hash"]
    return hash_ == project.plan_hash.hex()


def _kept_view(result: ProjectResult, text: Catalogue) -> dict[str, Any]:
    if result.document is None or result.computed_ms is None:
        return failed_summary_view(result.project, result.problem or "")
    document = json.loads(result.document)
    at = iso_time(result.computed_ms, document["project"]["timezone"])
    view = summary_view(document, text) | {"state": [], "computed": text("index.computed", at=at)}
    if result.problem is not None:
        view["computed"] += " " + text("index.not_refreshed", problem=result.problem)
    return view


def _view(library: DossierLibrary, project_id: str, text: Catalogue, state_of: StateView) -> dict[str, Any]:
    try:
        dossier = library.load(project_id)
        return summary_view(dossier.to_json(), text) | {"state": state_of(dossier), "computed": ""}
    except StoreError:
        raise
    except ShopfloorError as error:
        return failed_summary_view(project_id, str(error))
