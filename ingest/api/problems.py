"""Answers that say no, as problem details (RFC 9457): which parameter, what is wrong with it, and what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from ingest.errors import IngestError
from store.errors import StoreError
from wire.document import suggestion

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_log = logging.getLogger(__name__)


class ParameterFault(BaseModel):
    """What is wrong with one parameter."""

    parameter: str = Field(description="Name of the parameter in the path, the query or the header.")
    detail: str = Field(description="What is wrong with it, and what to give instead.")


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="Stable name of the kind of problem: urn:shopfloor:problem:<kind>.")
    title: str = Field(description="The kind of problem in words; the same for all problems of one type.")
    status: int = Field(description="The HTTP status code.", ge=400, le=599)
    detail: str = Field(description="What happened, and what to do.")
    errors: list[ParameterFault] = Field(default_factory=list, description="The parameters that are wrong, if any.")


class ApiProblemError(IngestError):
    """A request that gets a problem for an answer."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        errors: Sequence[ParameterFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


def wrong_parameter(parameter: str, detail: str) -> ApiProblemError:
    """A parameter that can be read and makes no sense (422)."""
    return _wrong([ParameterFault(parameter=parameter, detail=detail)])


def not_found(what: str) -> ApiProblemError:
    """Something that is not there, or that this reader may not see: both look alike (404)."""
    return ApiProblemError(HTTPStatus.NOT_FOUND, "not-found", f"{what} is not there, or not for this reader to see")


def unauthenticated() -> ApiProblemError:
    """Nobody knows who asks (401)."""
    return ApiProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unauthenticated",
        "send a valid token in the header 'Authorization: Bearer ...'",
        headers={"www-authenticate": 'Bearer realm="shopfloor"'},
    )


def problem_response(problem: ApiProblemError) -> Response:
    """The answer that tells of ``problem``."""
    body = Problem(
        type=f"urn:shopfloor:problem:{problem.kind}",
        title=problem.kind.replace("-", " ").capitalize(),
        status=problem.status,
        detail=str(problem),
        errors=list(problem.errors),
    )
    content = json.dumps(body.model_dump(), ensure_ascii=False).encode("utf-8")
    return Response(content, problem.status, {"cache-control": "no-store", **problem.headers}, PROBLEM_TYPE)


def of_exception(error: Exception) -> ApiProblemError | None:
    """The problem that an exception stands for, None for one that nobody expects."""
    if isinstance(error, ApiProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return _wrong([_fault(item) for item in error.errors()])
    if isinstance(error, StoreError):
        _log.error("%s", error)
        return ApiProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "unavailable",
            "the database does not answer now; try again in a moment, or ask for less at once",
            headers={"retry-after": str(RETRY_SECONDS)},
        )
    if isinstance(error, HTTPException):
        return ApiProblemError(HTTPStatus(error.status_code), "refused", str(error.detail), headers=error.headers)
    return None


class ProblemRoute(APIRoute):
    """A route whose failures are problem details, in whatever application it stands; it knows its parameters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its failures turned into answers."""
        handler = super().get_route_handler()
        known = [field.alias for field in self.dependant.query_params]

        async def answer(request: Request) -> Response:
            try:
                _refuse_unknown(request, known)
                return await handler(request)
            except Exception as error:
                problem = of_exception(error)
                if problem is None:
                    _log.exception("%s %s failed", request.method, request.url.path)
                    problem = ApiProblemError(
                        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is our mistake; it is in the server's log"
                    )
                return problem_response(problem)

        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a method that the route does not have with a problem, too."""
        methods = sorted(self.methods or ())
        if methods and scope["method"] not in methods:
            allow = ", ".join(methods)
            refusal = ApiProblemError(
                HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", f"use {allow}", headers={"allow": allow}
            )
            await problem_response(refusal)(scope, receive, send)
            return
        await super().handle(scope, receive, send)


def _refuse_unknown(request: Request, known: list[str]) -> None:
    """A mistyped parameter that is passed over would answer another question than was asked."""
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        faults = [
            ParameterFault(parameter=name, detail=f"is not a parameter of this{suggestion(name, known)}")
            for name in unknown
        ]
        raise _wrong(faults)


def _wrong(faults: Sequence[ParameterFault]) -> ApiProblemError:
    text = "; ".join(f"{fault.parameter}: {fault.detail}" for fault in faults)
    return ApiProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-parameter", text, errors=faults)


def _fault(item: Mapping[str, Any]) -> ParameterFault:
    place = [str(part) for part in item["loc"][1:]] or ["request"]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        message = "is missing; add it"
    return ParameterFault(parameter=".".join(place), detail=message[:1].lower() + message[1:])
