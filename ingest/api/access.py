"""Who may use which route: a scope a route, and gateways that are not the reader's do not exist for him."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from ingest.api.problems import ApiProblemError, not_found, unauthenticated
from store.readers import READER_KEY, Reader, Scope

_described = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="A token made with `shopfloor ingest token create`. Not needed where the server listens on loopback.",
)


def reader_of(request: Request, _: Annotated[object, Depends(_described)]) -> Reader:
    """Who asks. Raises the problem of somebody whom nobody has let in."""
    found = request.scope.get(READER_KEY)
    if not isinstance(found, Reader):
        raise unauthenticated()
    return found


AnyReader = Annotated[Reader, Depends(reader_of)]


def needs(scope: Scope) -> Callable[[Reader], Reader]:
    """The dependency of a route that needs ``scope``: the reader, who has it."""

    def reader(found: AnyReader) -> Reader:
        if not found.may(scope):
            raise ApiProblemError(
                HTTPStatus.FORBIDDEN, "scope-missing", f"this needs a token with the scope {scope}; make one with it"
            )
        return found

    return reader


def check_gateway(reader: Reader, gateway: str) -> None:
    """Raise the problem of a gateway that the reader may not see."""
    if not reader.sees(gateway):
        raise not_found(f"gateway {gateway}")
