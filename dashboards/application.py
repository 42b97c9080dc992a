"""The web application: its addresses, and what each answers. Every page is a GET; nothing is changed here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from dashboards.documents_page import (
    document_bytes,
    document_csv,
    document_page_view,
    documents_view,
    read_document_page,
)
from dashboards.dossier import Dossier, DossierLibrary
from dashboards.errors import AssetsMissingError, UnknownFigureError, UnknownProjectError
from dashboards.explanation_page import explanation_view
from dashboards.exports import CSV_TYPE, JSON_TYPE, csv_bytes, json_bytes
from dashboards.field_book import STORED_COLUMNS, FieldBook, load_field_book
from dashboards.field_view import field_view
from dashboards.incidents_page import IncidentState, incidents_view, read_incidents
from dashboards.language import COOKIE, Catalogue, catalogue, choose_language
from dashboards.live_page import LiveBoard, gateway_view, live_view
from dashboards.project_list import project_list
from dashboards.project_page import project_view
from dashboards.project_state import project_state, state_view
from dashboards.security import SecurityHeaders
from evidence.schema import schema_text
from store.database import pool, snapshot, transaction
from store.imports import imported_documents
from store.migrations import check_migrated
from store.projects import projects
from store.readers import READER_KEY
from wire.errors import ShopfloorError

FOLDER = Path(__file__).resolve().parent
DEFAULT_TIMEZONE = "Asia/Shanghai"
COOKIE_SECONDS = 365 * 24 * 3600
YAML_TYPE = "application/yaml; charset=utf-8"
SCHEMA_TYPE = "application/schema+json"
NOT_FOUND, UNUSABLE, BROKEN, UNAVAILABLE = 404, 422, 500, 503
_ADVICE = {NOT_FOUND: "not_found", UNAVAILABLE: "unavailable"}
SURROUNDINGS = 3
"""`exit_code` of errors that lie in the surroundings: the reader may try again."""


class Pages:
    """Renders templates in the reader's language."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(
        self, request: Request, template: str, *, section: str = "", status: int = 200, **values: Any
    ) -> Response:
        """The page as an answer; remembers the language when the address asked for it."""
        text = language_of(request)
        body = self._environment.get_template(template).render(
            t=text,
            section=section,
            other_language="en" if text.language == "zh" else "zh",
            reader=request.scope.get(READER_KEY),
            **values,
        )
        headers = {"vary": "Accept-Language, Cookie", "content-language": text.html_language}
        response = HTMLResponse(body, status_code=status, headers=headers)
        if request.query_params.get("lang") == text.language:
            secure = request.url.scheme == "https"
            response.set_cookie(
                COOKIE, text.language, max_age=COOKIE_SECONDS, secure=secure, httponly=True, samesite="lax"
            )
        return response


def language_of(request: Request) -> Catalogue:
    """The texts in the language that this request is answered in."""
    return catalogue(
        choose_language(
            request.query_params.get("lang"), request.cookies.get(COOKIE), request.headers.get("accept-language")
        )
    )


def create_application(database_url: str, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The dashboards of one database, whose tables must be there already; ``routers`` are served before the pages.

    Raises `AssetsMissingError` when the browser libraries were not installed, and `store.errors.StoreError` when the
    database does not answer.
    """
    if not (FOLDER / "static" / "vendor" / "echarts.min.js").is_file():
        raise AssetsMissingError("the browser libraries are missing: run `python dashboards/build_assets.py` first")
    connections = pool(database_url)
    try:
        with transaction(connections) as connection:
            check_migrated(connection)
    except BaseException:
        connections.close()
        raise
    library = DossierLibrary(connections)
    board = LiveBoard(connections, DEFAULT_TIMEZONE)
    pages = Pages()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        connections.close()

    application = FastAPI(
        title="Shop-floor evidence", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    application.state.connections = connections
    application.state.library = library
    application.add_middleware(SecurityHeaders)
    for router in routers:
        application.include_router(router)
    application.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    _add_pages(application, pages, library, board)
    _add_documents(application, pages, library)
    _add_data(application, library, board)
    _add_errors(application, pages)
    return application


def _add_pages(application: FastAPI, pages: Pages, library: DossierLibrary, board: LiveBoard) -> None:
    @application.get("/")
    def index(request: Request) -> Response:
        text = language_of(request)
        summaries = project_list(library, text, lambda dossier: _state_view(library, dossier, text))
        state = board.read()
        gateways = [gateway_view(gateway, text) for gateway in state["gateways"]]
        return pages.render(
            request, "index.html", section="projects", projects=summaries, gateways=gateways, zone=state["zone"]
        )

    @application.get("/projects/{project_id}")
    def project_page(request: Request, project_id: str) -> Response:
        text = language_of(request)
        dossier = library.load(project_id)
        view = project_view(dossier.to_json(), text)
        field = field_view(_field_book(library, dossier).to_json(), text)
        state = _state_view(library, dossier, text)
        with snapshot(library.connections) as connection:
            documents = documents_view(imported_documents(connection, project_id), dossier.plan.timezone, text)
        return pages.render(
            request, "project.html", section="projects", view=view, field=field, state=state, documents=documents
        )

    @application.get("/projects/{project_id}/explanation")
    def explanation_page(request: Request, project_id: str) -> Response:
        view = explanation_view(library.load(project_id).to_json(), language_of(request))
        return pages.render(request, "explanation.html", section="projects", view=view)

    @application.get("/projects/{project_id}/kpis/{kpi_id}/explanation")
    def kpi_explanation_page(request: Request, project_id: str, kpi_id: str) -> Response:
        view = explanation_view(library.load(project_id).to_json(), language_of(request), kpi_id)
        return pages.render(request, "explanation.html", section="projects", view=view)

    @application.get("/live")
    def live(request: Request) -> Response:
        return pages.render(request, "live.html", section="live", view=live_view(board.read(), language_of(request)))

    @application.get("/incidents")
    def incidents(
        request: Request,
        state: IncidentState = IncidentState.OPEN,
        gateway: str | None = None,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    ) -> Response:
        with snapshot(library.connections) as connection:
            found = read_incidents(connection, state, DEFAULT_TIMEZONE, gateway=gateway, before=before)
        view = incidents_view(found, language_of(request))
        return pages.render(request, "incidents.html", section="live", view=view)


def _add_documents(application: FastAPI, pages: Pages, library: DossierLibrary) -> None:
    @application.get("/projects/{project_id}/documents/{document_id:int}.csv")
    def document_rows(project_id: str, document_id: int) -> Response:
        with snapshot(library.connections) as connection:
            document, values = read_document_page(connection, project_id, document_id)
        return _attachment(f"{document.file_name}.csv", document_csv(document, values), CSV_TYPE)

    @application.get("/projects/{project_id}/documents/{document_id:int}/original")
    def document_original(project_id: str, document_id: int) -> Response:
        with snapshot(library.connections) as connection:
            name, content = document_bytes(connection, project_id, document_id)
        # What somebody handed in is never shown by the browser as a page of this server.
        return _attachment(name, content, "application/octet-stream")

    @application.get("/projects/{project_id}/documents/{document_id:int}")
    def document_page(request: Request, project_id: str, document_id: int) -> Response:
        with snapshot(library.connections) as connection:
            document, values = read_document_page(connection, project_id, document_id)
        view = document_page_view(document, values, language_of(request))
        return pages.render(request, "document.html", section="projects", view=view)


def _add_data(application: FastAPI, library: DossierLibrary, board: LiveBoard) -> None:
    @application.get("/projects/{project_id}/evidence.json")
    def evidence(project_id: str) -> Response:
        return _json(library.load(project_id).to_json())

    @application.get("/projects/{project_id}/explanation.json")
    def explanation(project_id: str) -> Response:
        return _json(library.load(project_id).to_json()["explanation"])

    @application.get("/projects/{project_id}/coverage.json")
    def coverage(project_id: str) -> Response:
        return _json(library.load(project_id).to_json()["coverage"])

    @application.get("/projects/{project_id}/field.json")
    def field_book(project_id: str) -> Response:
        return _json(_field_book(library, library.load(project_id)).to_json())

    @application.get("/projects/{project_id}/stored.csv")
    def stored_csv(project_id: str) -> Response:
        rows = _field_book(library, library.load(project_id)).stored_rows()
        return _csv(f"{project_id}-stored", [(name, "") for name in STORED_COLUMNS], rows)

    @application.get("/projects/{project_id}/plan.yaml")
    def plan(project_id: str) -> Response:
        return Response(library.load(project_id).plan_text.encode("utf-8"), media_type=YAML_TYPE)

    @application.get("/projects/{project_id}/kpis/{kpi_id}/days.csv")
    def days_csv(project_id: str, kpi_id: str) -> Response:
        table = library.load(project_id).days_table(kpi_id)
        return _csv(f"{project_id}-{kpi_id}-days", table.columns(), table.rows())

    @application.get("/projects/{project_id}/kpis/{kpi_id}/days.json")
    def days_json(project_id: str, kpi_id: str) -> Response:
        dossier = library.load(project_id)
        head = {"project": project_id, "kpi": kpi_id, "timezone": dossier.plan.timezone}
        return _json(head | dossier.days_table(kpi_id).to_json())

    @application.get("/projects/{project_id}/series/{name}.csv")
    def series_csv(project_id: str, name: str) -> Response:
        dossier = library.load(project_id)
        rows = dossier.series_rows(name)
        columns = [("time", ""), (name, dossier.plan.series[name].unit), ("coverage", "")]
        return _csv(f"{project_id}-{name}", columns, rows)

    @application.get("/projects/{project_id}/series/{name}.json")
    def series_json(project_id: str, name: str) -> Response:
        dossier = library.load(project_id)
        rows = [{"time": time, "value": value, "coverage": share} for time, value, share in dossier.series_rows(name)]
        head = {"project": project_id, "series": name, "timezone": dossier.plan.timezone}
        return _json(head | {"unit": dossier.plan.series[name].unit, "step_ms": dossier.table.step_ms, "rows": rows})

    @application.get("/schema/{kind}.json")
    def schema(kind: Literal["result", "plan"]) -> Response:
        return Response(schema_text(kind), media_type=SCHEMA_TYPE)

    @application.get("/live.json")
    def live_state() -> Response:
        return _json(board.read())

    @application.get("/healthz")
    def health() -> Response:
        with transaction(library.connections) as connection:
            return _json({"status": "ok", "projects": len(projects(connection))})


def _field_book(library: DossierLibrary, dossier: Dossier) -> FieldBook:
    with snapshot(library.connections) as connection:
        return load_field_book(connection, dossier)


def _state_view(library: DossierLibrary, dossier: Dossier, text: Catalogue) -> list[dict[str, str]]:
    with snapshot(library.connections) as connection:
        return state_view(project_state(connection, dossier), text)


def _json(value: object) -> Response:
    return Response(json_bytes(value), media_type=JSON_TYPE)


def _csv(name: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> Response:
    return _attachment(f"{name}.csv", csv_bytes(columns, rows), CSV_TYPE)


def _attachment(name: str, content: bytes, media_type: str) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return Response(content, media_type=media_type, headers={"content-disposition": disposition})


def _add_errors(application: FastAPI, pages: Pages) -> None:
    def answer(request: Request, status: int, message: str | None) -> Response:
        text = language_of(request)
        path = request.url.path
        if path.endswith((".json", ".csv", ".yaml")) or path == "/healthz":
            return JSONResponse(
                {"error": message or text("error.not_found" if status == NOT_FOUND else "error.title")},
                status_code=status,
            )
        title = text("error.not_found") if status == NOT_FOUND else text("error.title")
        advice = text(f"error.advice.{_ADVICE.get(status, 'other')}")
        return pages.render(request, "error.html", status=status, title=title, advice=advice, message=message or "")

    @application.exception_handler(ShopfloorError)
    def failed(request: Request, error: ShopfloorError) -> Response:
        if isinstance(error, UnknownProjectError | UnknownFigureError):
            return answer(request, NOT_FOUND, str(error))
        return answer(request, UNAVAILABLE if error.exit_code == SURROUNDINGS else UNUSABLE, str(error))

    @application.exception_handler(Exception)
    def broken(request: Request, _: Exception) -> Response:
        return answer(request, BROKEN, None)

    @application.exception_handler(RequestValidationError)
    def unreadable(request: Request, error: RequestValidationError) -> Response:
        return answer(request, UNUSABLE, "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()))

    @application.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, None if error.status_code == NOT_FOUND else str(error.detail))
