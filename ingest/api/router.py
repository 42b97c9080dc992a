"""All routes of the read API, and the document that describes them."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from ingest.api.access import AnyReader
from ingest.api.answers import PROBLEM_RESPONSES
from ingest.api.catalogue import add_catalogue
from ingest.api.descriptors import Descriptors
from ingest.api.intervals import add_intervals
from ingest.api.oddities import add_oddities
from ingest.api.problems import ApiProblemError, ParameterFault, Problem, ProblemRoute
from ingest.api.records import add_records
from ingest.api.samples import add_samples
from store.database import Pool

PREFIX = "/api/v1"
_DESCRIPTION = """\
Signed records of shop-floor gateways and what is computed from them, read only.

Times are ISO 8601 with a zone; those in answers are UTC. Ranges are half-open: from <= time < to. Every value stands
beside its unit. Lists come in pages: follow `next`, or the header `Link`. Failures are problem details (RFC 9457).
"""


def read_api(connections: Pool) -> APIRouter:
    """The routes under `PREFIX`, over a pool that the caller closes after the last request.

    Whoever serves them puts a `store.readers.Reader` into the scope of each request that may be answered.
    """
    router = APIRouter(prefix=PREFIX, route_class=ProblemRoute, responses=PROBLEM_RESPONSES)
    descriptors = Descriptors()
    add_catalogue(router, connections, descriptors)
    add_samples(router, connections, descriptors)
    add_intervals(router, connections, descriptors)
    add_records(router, connections)
    add_oddities(router, connections)

    @cache
    def document() -> dict[str, Any]:
        return openapi_document(router)

    @router.get("/openapi.json", include_in_schema=False)
    def openapi(_: AnyReader) -> JSONResponse:
        """The OpenAPI 3.1 document."""
        return JSONResponse(document())

    @router.get("/{path:path}", include_in_schema=False)
    def nothing(path: Annotated[str, Path()], _: AnyReader) -> None:
        """Whatever else is asked for."""
        raise ApiProblemError(
            HTTPStatus.NOT_FOUND, "not-found", f"there is no {PREFIX}/{path}; see {PREFIX}/openapi.json"
        )

    return router


def openapi_document(router: APIRouter) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes of `read_api`."""
    document = get_openapi(
        title="Shop-floor evidence: read API",
        version=version("shopfloor-evidence"),
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=router.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (Problem, ParameterFault):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    return document
